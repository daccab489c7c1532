"""Attention against arithmetic: in all its kernels, forward and backward, on the CPU and without memory."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from recorder import Recorder
from recorder.analysis.metrics import measured

B, H, T, S, E = 2, 4, 6, 9, 8
PRODUCT = 2 * B * H * T * S * E
"""Every query with every key, or the sum of the values."""


def total(net: nn.Module, *inputs: Tensor, backward: bool = False, **keywords: Any) -> dict[str, float]:
    with Recorder(net) as r, torch.set_grad_enabled(backward):
        result = net(*inputs, **keywords)
        if backward:
            (result if isinstance(result, Tensor) else result[0]).sum().backward()
    found = measured(r.graph)
    assert not found.unknown
    return found.total


def heads(device: str, *, keys: int = H, value: int = E, grad: bool = False) -> list[Tensor]:
    shapes = [(B, H, T, E), (B, keys, S, E), (B, keys, S, value)]
    return [torch.randn(*shape, device=device, requires_grad=grad) for shape in shapes]


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "causal": {"is_causal": True},
    "scaled": {"scale": 0.3},
    "dropout": {"dropout_p": 0.1},
    "mask": {"attn_mask": True},
    "grouped": {"enable_gqa": True},
}


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_of_attention(way: str, device: str) -> None:
    """A kernel that keeps no products of queries and keys makes them again in backward: five products, and not four."""
    options = dict(WAYS[way])
    if "attn_mask" in options:
        options["attn_mask"] = torch.ones(T, S, dtype=torch.bool, device=device)
    net = Net(lambda net, q, k, v: F.scaled_dot_product_attention(q, k, v, **options))
    keys = 2 if way == "grouped" else H
    assert total(net, *heads(device, keys=keys))["flops"] == 2 * PRODUCT
    told = total(net, *heads(device, keys=keys, grad=True), backward=True)
    assert told["flops"] == 2 * PRODUCT
    assert told["flops_backward"] in (4 * PRODUCT, 5 * PRODUCT)


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_every_kernel_of_the_cpu(backend: SDPBackend) -> None:
    net = Net(lambda net, q, k, v: F.scaled_dot_product_attention(q, k, v))
    with sdpa_kernel(backend):
        assert total(net, *heads("cpu"))["flops"] == 2 * PRODUCT


def test_values_of_another_size_and_arguments_by_keyword() -> None:
    net = Net(lambda net, q, k, v: F.scaled_dot_product_attention(value=v, key=k, query=q))
    assert total(net, *heads("cpu", value=5))["flops"] == PRODUCT + 2 * B * H * T * S * 5


@pytest.mark.parametrize("device", ["cpu", "meta"])
@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("grad", [True, False])
def test_the_layer(device: str, weights: bool, grad: bool) -> None:
    layer = nn.MultiheadAttention(E, 2, batch_first=True, device=device).train(grad)
    query, key = torch.randn(B, T, E, device=device), torch.randn(B, S, E, device=device)
    projections = 2 * B * (2 * T + 2 * S) * E * E
    told = total(layer, query, key, key, backward=grad, need_weights=weights)
    assert told["flops"] == projections + 2 * (2 * B * T * S * E)
    if grad:  # the inputs need none
        ours = told["flops_backward"] - projections - 2 * B * T * E * E  # what comes out has one for its input, too
        assert ours in (4 * 2 * B * T * S * E, 5 * 2 * B * T * S * E)
    itself = 2 * B * 4 * T * E * E + 2 * (2 * B * T * T * E)
    assert total(layer, query, query, query, backward=grad, need_weights=weights)["flops"] == itself


def test_more_keys_than_were_given() -> None:
    layer = nn.MultiheadAttention(E, 2, kdim=4, vdim=6, add_bias_kv=True, add_zero_attn=True)
    query, key, value = torch.randn(T, B, E), torch.randn(S, B, 4), torch.randn(S, B, 6)
    told = total(layer, query, key, value)
    assert told["flops"] == 2 * B * (2 * T * E + S * 4 + S * 6) * E + 2 * (2 * B * T * (S + 2) * E)


ENCODER = 2 * B * 4 * T * E * E + 2 * (2 * B * T * T * E) + 2 * 2 * B * T * E * 16


@pytest.mark.parametrize("fused", [True, False])
def test_an_encoder_counts_the_same_fused_or_not(fused: bool) -> None:
    layer = nn.TransformerEncoderLayer(E, 2, 16, batch_first=True)
    net = nn.TransformerEncoder(layer, 3).train(not fused)
    assert total(net, torch.randn(B, T, E))["flops"] == 3 * ENCODER


@pytest.mark.parametrize("trained", [True, False])
def test_an_exported_program_counts_what_its_model_counts(trained: bool) -> None:
    net = nn.Sequential(
        nn.TransformerEncoderLayer(E, 2, 16, batch_first=True), nn.LayerNorm(E), nn.Linear(E, 5)
    ).train(trained)  # fmt: skip
    given = torch.randn(B, T, E)
    with torch.no_grad():
        exported = torch.export.export(net, (given,)).module()
    assert total(exported, given)["flops"] == total(net, given)["flops"] == ENCODER + 2 * B * T * E * 5


@pytest.mark.parametrize("backend", [SDPBackend.MATH, SDPBackend.FLASH_ATTENTION])
def test_the_kernel_that_ran_counts_whoever_chose_it(backend: SDPBackend) -> None:
    net = Net(
        lambda self, q, k, v: nn.functional.scaled_dot_product_attention(q, k, v) * self.scale, scale=torch.ones(())
    )
    given = [torch.randn(2, 4, 6, 8, requires_grad=True) for _ in range(3)]
    with sdpa_kernel(backend), Recorder(net) as r:
        net(*given).sum().backward()
    product = 2 * 2 * 4 * 6 * 6 * 8
    (node,) = [node for node in r.graph.nodes if node.op_type == "scaled_dot_product_attention"]
    # torch computes one product of the two again in the backward of its fused kernels.
    assert r.graph.metrics[node]["flops"] == 2 * product
    assert r.graph.metrics[node]["flops_backward"] == (4 if backend is SDPBackend.MATH else 5) * product
