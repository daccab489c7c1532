"""What looks like a fault and is none is silent: sums that cancel out, kinks, near ties, large means, fused layers."""

import copy
from typing import Any

import pytest
import torch
from support.models import Net
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from recorder import Graph, Recorder, diverge


def recorded(net: nn.Module, *inputs: Tensor) -> Graph:
    with torch.no_grad(), Recorder(net, values="digest") as r:
        net(*inputs)
    return r.graph


def normalized() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 4, 3),
    )  # fmt: skip


def images(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(8, 3, 12, 12, generator=torch.Generator().manual_seed(1)).to(dtype)


def trained(net: nn.Module, dtype: torch.dtype = torch.float32, scale: float = 1.0, steps: int = 1) -> Graph:
    net = copy.deepcopy(net).to(dtype)
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with Recorder(net, values="digest", gradients="digest") as r:
        for _ in range(steps):
            optimizer.zero_grad()
            (net(images(dtype)).pow(2).mean() * scale).backward()
            optimizer.step()
    return r.graph


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_bias_whose_gradient_cancels_out_and_a_kink_are_no_faults(dtype: torch.dtype) -> None:
    net = normalized()
    found = diverge(trained(net), trained(net, dtype))
    assert not found, found.why
    assert any(row.phase == "backward" for row in found.rows)


def test_a_bias_whose_gradient_is_wrong_is_a_fault() -> None:
    net = normalized()
    before = trained(net)
    bias = net[6].bias
    assert isinstance(bias, Tensor)
    bias.register_hook(lambda gradient: gradient * 1.1)
    found = diverge(before, _hooked(net))
    assert found.first is not None
    assert found.first.fqn == "6"


def _hooked(net: nn.Sequential) -> Graph:
    with Recorder(net, values="digest", gradients="digest") as r:
        net(images()).pow(2).mean().backward()
    return r.graph


def test_an_error_in_backward_comes_before_what_the_next_step_makes_of_it() -> None:
    net = normalized()
    other = copy.deepcopy(net)
    other[3].register_full_backward_hook(lambda module, given, arrived: (given[0] * 1.1,))
    found = diverge(trained(net, steps=2), _two_steps(other))
    first = next(row for row in found.rows if row.first)
    assert first.phase == "backward"


def _two_steps(net: nn.Module) -> Graph:
    optimizer = torch.optim.SGD(net.parameters(), 0.05)
    with Recorder(net, values="digest", gradients="digest") as r:
        for _ in range(2):
            optimizer.zero_grad()
            net(images()).pow(2).mean().backward()
            optimizer.step()
    return r.graph


def test_another_loss_is_said_to_be_one() -> None:
    net = normalized()
    found = diverge(trained(net), trained(net, scale=1.1))
    assert not found
    assert "backward was given other gradients" in found.why


def fused(net: nn.Sequential, factor: float = 1.0) -> nn.Sequential:
    net = copy.deepcopy(net)
    for at in (0, 3):
        conv, norm = net[at], net[at + 1]
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        net[at], net[at + 1] = fuse_conv_bn_eval(conv, norm), nn.Identity()
    weight: Any = net[3].weight
    weight.data *= factor
    return net


def test_a_fused_convolution_is_silent_and_a_wrong_one_is_named() -> None:
    net = normalized()
    net(images())
    before = recorded(net.eval(), images())
    after = recorded(fused(net), images())
    assert not diverge(before, after)
    assert not diverge(after, before)
    wrong = recorded(fused(net, 1.01), images())
    found, back = diverge(before, wrong).first, diverge(wrong, before).first
    assert found is not None
    assert found.fqn == "3"
    assert back is not None


def test_what_is_nearly_equal_may_be_chosen_otherwise() -> None:
    net = Net(lambda net, x: torch.topk(x * net.scale, 3).indices)
    net.scale = 1.0
    x = torch.ones(4, 16) + 1e-3 * torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    before = recorded(net, x)
    assert not diverge(before, recorded(net, x.bfloat16()))
    assert not diverge(before, recorded(net, x), 0)


def test_a_normalization_of_a_large_mean_amplifies() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16), nn.LayerNorm(16), nn.Linear(16, 16))
    bias: Any = net[0].bias
    bias.data += 1000
    x = torch.randn(32, 16)
    before = recorded(net, x)
    assert not diverge(before, recorded(copy.deepcopy(net).double(), x.double()))
    weight: Any = net[1].weight
    weight.data *= 1.01
    assert diverge(before, recorded(net, x))


def test_why_says_what_is_called_otherwise_and_what_was_not_compared() -> None:
    net = nn.Sequential(nn.LayerNorm(16))
    x = torch.randn(4, 16, generator=torch.Generator().manual_seed(0))
    before = recorded(net, x)
    other = nn.Sequential(nn.LayerNorm(16, eps=0.01))
    assert "eps 1e-05 → 0.01" in diverge(before, recorded(other, x)).why
    assert "other shapes" in diverge(before, recorded(net, x[:2])).why
