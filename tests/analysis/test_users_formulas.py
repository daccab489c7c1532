"""Formulas that the user has registered, for kernels that take none otherwise or are unknown."""

from collections.abc import Iterator
from math import prod
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net, linear
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula
from torchvision.models import mobilenet_v3_small
from torchvision.ops import StochasticDepth

from recorder import Recorder

ATEN = torch.ops.aten
TIMES = {
    ATEN.gelu: 8, ATEN.native_layer_norm: 7, ATEN.hardswish: 6, ATEN._softmax: 5, ATEN.tanh: 3, ATEN.relu: 1,
    ATEN._fft_r2c: 50, ATEN.linalg_inv_ex: 20, ATEN.grid_sampler_2d: 11, ATEN.native_batch_norm: 4,
    ATEN._cdist_forward: 13,
}  # fmt: skip


@pytest.fixture(autouse=True)
def formulas() -> Iterator[None]:
    for packet, times in TIMES.items():

        def formula(given: Any, *args: Any, out_shape: Any = None, times: int = times, **others: Any) -> int:
            return times * prod(given)

        register_flop_formula(packet)(formula)
    yield
    for packet in TIMES:
        del flop_registry[packet]


NETS: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "layers": (nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.LayerNorm(8), nn.Tanh(), nn.Softmax(-1)), (2, 8)),
    "functions": (Net(lambda net, x: F.gelu(net.a(x)).softmax(-1) + torch.tanh(x) + x.relu(), a=linear(8, 8)), (2, 8)),
    "unknown otherwise": (
        Net(lambda net, x: torch.fft.rfft(net.a(x)).abs().sum() + x.inverse(), a=linear(8, 8)),
        (8, 8),
    ),
    "a sampler": (Net(lambda net, x: F.grid_sample(x, torch.zeros(1, 3, 3, 2), align_corners=False)), (1, 2, 4, 4)),
    "what hands on": (
        nn.Sequential(nn.Linear(8, 8), nn.Dropout(), StochasticDepth(0.5, "row"), nn.GELU()).eval(),
        (2, 8),
    ),
    "distances": (Net(lambda net, x: torch.cdist(x, net.a(x)), a=linear(8, 8)), (4, 8)),
    "dropout": (nn.Sequential(nn.Linear(8, 8), nn.Dropout(0.1), nn.GELU()), (2, 8)),
}


@pytest.mark.parametrize("name", NETS)
def test_a_users_formula_counts_what_takes_none_otherwise(name: str) -> None:
    net, shape = NETS[name]
    batch = torch.randn(*shape)
    with FlopCounterMode(display=False) as witness:
        net(batch)
    with Recorder(net) as r:
        net(batch)
    assert witness.get_total_flops() > 0
    assert (r.summary().total["flops"], dict(r.summary().unknown)) == (witness.get_total_flops(), {})


def test_a_kernel_that_depends_on_training_is_unknown_and_what_writes_in_place_is_not() -> None:
    net = mobilenet_v3_small().train()
    with Recorder(net) as r:
        net(torch.randn(2, 3, 32, 32))
    assert set(r.summary().unknown) == {"BatchNorm2d"}
    assert "at least" in str(r.summary())
