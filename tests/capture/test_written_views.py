"""Outputs that are tensor views and are written in place afterwards: what comes back to the call is seen."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from support.models import Block, Net, linear, same, x
from support.untouched import autograd_of
from torch import Tensor, nn

from recorder import Node, Recorder, Scope

TOLERANCE = 1e-6


def viewing(shape: tuple[int, ...] = (-1, 3)) -> Block:
    """A user's module that ends in a view."""
    return Block(lambda block, x: block.fc(x).view(shape), fc=linear(4, 6))


def twice_written(net: Any, x: Tensor) -> Tensor:
    return net.last(net.part(x).mul_(2).sigmoid_())


def by_another_view(net: Any, x: Tensor) -> Tensor:
    out: Tensor = net.part(x)
    out.view(-1).mul_(3)
    out[0].mul_(2)
    return net.last(out)


def before_and_after(net: Any, x: Tensor) -> Tensor:
    out: Tensor = net.part(x)
    before = out * 2
    out.mul_(3)
    return net.last(out) + net.last(before)


NETS: dict[str, tuple[Callable[[], nn.Module], str, tuple[int, ...]]] = {
    "linear": (lambda: nn.Sequential(linear(), nn.ReLU(inplace=True), linear()), "0", (2, 3, 4)),
    "user's": (lambda: nn.Sequential(viewing(), nn.ReLU(inplace=True), linear(3, 2)), "0", (2, 4)),
    "inside the user's": (lambda: nn.Sequential(viewing(), nn.ReLU(inplace=True), linear(3, 2)), "0.fc", (2, 4)),
    "view of what it was given": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.ReLU(inplace=True), linear(18, 2)), "1", (2, 1, 5, 5)
    ),
    "twice": (lambda: Net(twice_written, part=viewing(), last=linear(3, 2)), "part", (2, 4)),
    "by another view": (lambda: Net(by_another_view, part=viewing(), last=linear(3, 2)), "part", (2, 4)),
    "linear, used before": (lambda: Net(before_and_after, part=linear(), last=linear()), "part", (2, 3, 4)),
}  # fmt: skip
"""Models, the call to look at, and the shape of the input."""


def gradient_at(net: nn.Module, name: str, batch: Tensor) -> Tensor:
    """What a plain tensor hook sees: on the output, whose copy is what is written."""
    seen: list[Tensor] = []

    def hook(module: nn.Module, args: Any, out: Tensor) -> Tensor:
        out.register_hook(seen.append)
        return out.clone()

    handle = net.get_submodule(name).register_forward_hook(hook)
    net(batch).square().sum().backward()
    handle.remove()
    return seen[0]


@pytest.mark.supported("a module's output that is a tensor view, written in place afterwards")
@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("name", NETS)
def test_what_arrives_is_what_a_hook_on_the_output_sees(name: str, functions: bool) -> None:
    make, call, shape = NETS[name]
    torch.manual_seed(0)
    net, batch = make(), torch.randn(shape)
    copy = deepcopy(net)
    expected = gradient_at(deepcopy(net), call, batch)
    plain = copy(batch)
    plain.square().sum().backward()
    with Recorder(net, gradients="stats", functions=functions) as r:
        out = net(batch)
        out.square().sum().backward()
    assert torch.equal(out, plain)
    assert autograd_of(out) == autograd_of(plain)
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    r.graph.lint()
    if not functions and name in ("twice", "by another view"):
        return  # nobody sees the write
    places: list[Node | Scope] = [*r.graph.scopes, *r.graph.nodes]
    place = next(place for place in places if place.name == call)
    (arrived,) = place.meta["backward"]["arrived"]
    assert tuple(arrived["shape"]) == tuple(expected.shape)
    assert arrived["norm"] == pytest.approx(expected.norm().item(), rel=TOLERANCE)
    assert arrived["largest"] == pytest.approx(expected.abs().max().item(), rel=TOLERANCE)
    assert arrived["norm"] > 0
    assert place.backward_ns is not None
    assert not [line for line in r.graph.gradient_report().unknown if "arrived at" in line]


def test_the_layers_flops_of_backward_are_known() -> None:
    net = nn.Sequential(linear(), nn.ReLU(inplace=True), linear())
    with Recorder(net) as r:
        net(x(2, 3, 4)).sum().backward()
    first, _, last = (node for node in r.graph.nodes if node.kind == "module")
    assert first.backward_ns is not None
    assert r.graph.metrics[first].get("flops_backward") is not None
    assert r.graph.metrics[last].get("flops_backward") is not None


def test_a_view_that_some_used_before_it_was_written_has_both_gradients() -> None:
    net = Net(before_and_after, part=viewing(), last=linear(3, 2))
    with Recorder(net, gradients="stats") as r:
        net(x()).square().sum().backward()
    place = next(scope for scope in r.graph.scopes if scope.name == "part")
    assert [caption["shape"] for caption in place.meta["backward"]["arrived"]] == [[4, 3], [4, 3]]


def test_memory_that_is_used_again_is_not_taken_for_what_was_in_it() -> None:
    net = Net(lambda net, x: net.part(x), part=viewing((2, 6)))
    with Recorder(net, gradients="stats") as r:
        for _ in range(20):
            net(x())
        other = torch.randn(2, 6, requires_grad=True) * net(x())
        other.view(-1).mul_(2)
        other.sum().backward()
    told = [scope.call for scope in r.graph.scopes if scope.name.startswith("part") and "backward" in scope.meta]
    assert told == [20]
