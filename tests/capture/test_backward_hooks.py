"""Backward: what reaches and leaves each module call, how long it took, and that gradients stay as they were."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, same, written, x
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recorder import Node, Recorder
from recorder.events import Enter, Grad, Module, Op


def two_layers() -> Net:
    block = Block(lambda block, x: block.fc(x).relu(), fc=linear(4, 3))
    return Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=block)


def node(r: Recorder, name: str) -> Node:
    return next(node for node in r.graph.nodes if node.name == name)


def timed(r: Recorder) -> dict[str, bool]:
    """Of each module call, whether backward went through it."""
    calls = [*r.graph.scopes, *(node for node in r.graph.nodes if node.kind == "module")]
    return {call.name: call.backward_ns is not None for call in calls}


def test_each_module_call_has_its_time() -> None:
    net = two_layers()
    with Recorder(net) as r:
        y = net(x())
        assert timed(r) == {"Net": False, "block": False, "fc": False, "block.fc": False}
        y.sum().backward()
    assert timed(r) == {"Net": True, "block": True, "fc": True, "block.fc": True}
    fc, inner = node(r, "fc"), node(r, "block.fc")
    net_scope, block = r.graph.scopes
    for call in (fc, inner, net_scope, block):
        assert call.backward_ns is not None
        assert call.backward_ns > 0
    # What is in a scope is a part of its time.
    assert net_scope.backward_ns > block.backward_ns + fc.backward_ns  # type: ignore[operator]
    assert block.backward_ns > inner.backward_ns  # type: ignore[operator]


def test_no_time_is_told_where_no_gradient_was_seen_to_leave() -> None:
    block = Block(lambda block, x: x.relu())
    net = Net(lambda net, x: net.fc(net.block(x)), fc=linear(), block=block)
    with Recorder(net) as r:
        net(x().requires_grad_()).sum().backward()
    assert timed(r) == {"Net": False, "block": False, "fc": True}
    with Recorder(net, gradients="on") as r:
        net(x().requires_grad_()).sum().backward()
    assert all(timed(r).values())


def test_gradients_arrive_and_leave_in_order_with_their_shapes() -> None:
    net = Net(lambda net, x: net.b(net.a(x)), a=linear(4, 3), b=linear(3, 5))
    with Recorder(net) as r:
        net(x().requires_grad_()).sum().backward()
    modules = {event.module: event.fqn for event in r.events if isinstance(event, Module)}
    calls = {
        event.call: modules[event.module]
        for event in r.events
        if isinstance(event, Enter | Op) and event.call is not None
    }
    grads = [event for event in r.events if isinstance(event, Grad)]
    assert [(calls[event.call], event.phase, event.gradients[0] and event.gradients[0].shape) for event in grads] == [
        ("b", "arrive", (2, 5)),
        ("", "arrive", (2, 5)),
        ("b", "leave", (2, 3)),
        ("a", "arrive", (2, 3)),
        ("a", "leave", (2, 4)),
    ]
    assert [event.ns for event in grads] == sorted(event.ns for event in grads)
    assert {gradient.dtype for event in grads for gradient in event.gradients if gradient} == {"float32"}


def test_frozen_and_detached_parts_have_no_time() -> None:
    net = Net(
        lambda net, x: net.c(net.b(net.a(x)).detach()) + net.unused(x).detach(),
        a=linear(), b=linear(), c=linear(), unused=linear(),
    )  # fmt: skip
    net.a.requires_grad_(requires_grad=False)
    with Recorder(net) as r:
        net(x()).sum().backward()
    assert timed(r) == {
        "Net": False,
        "a": False,
        "b": False,
        "c": True,
        "unused": False,
    }  # what was first in Net is not reached
    with torch.no_grad(), Recorder(net) as r:
        net(x())
    assert not any(timed(r).values())


def test_a_frozen_part_that_passes_gradients_on_has_a_time() -> None:
    net = Net(lambda net, x: net.b(net.a(x)), a=linear(), b=linear())
    net.b.requires_grad_(requires_grad=False)
    with Recorder(net) as r:
        net(x()).sum().backward()
    assert timed(r) == {"Net": True, "a": True, "b": True}


def test_of_two_calls_the_one_that_took_part() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    with Recorder(net) as r:
        net(x())
        net(x()).sum().backward()
    assert timed(r) == {"Net": False, "Net#1": True, "fc": False, "fc#1": True}


def test_two_backward_passes_add_up() -> None:
    net = two_layers()
    with Recorder(net) as r:
        loss = net(x()).sum()
        loss.backward(retain_graph=True)
        once = node(r, "fc").backward_ns
        loss.backward()
    twice = node(r, "fc").backward_ns
    assert once is not None
    assert twice is not None
    assert twice > once
    assert {event.backward for event in r.events if isinstance(event, Grad)} == {0, 1}


def test_autograd_grad_is_a_backward_too() -> None:
    net, batch = two_layers(), x().requires_grad_()
    with Recorder(net) as r:
        (gradient,) = torch.autograd.grad(net(batch).sum(), [batch])
    (expected,) = torch.autograd.grad(net(batch).sum(), [batch])
    assert torch.equal(gradient, expected)
    assert all(timed(r).values())
    r.graph.lint()


def test_a_gradient_penalty() -> None:
    def step(net: Net, batch: Tensor) -> Tensor:
        out = net(batch)
        (gradient,) = torch.autograd.grad(out.sum(), [batch], create_graph=True)
        return out.mean() + (gradient.norm() - 1).square()

    net, batch = Net(lambda net, x: net.b(net.a(x).tanh()), a=linear(), b=linear()), x().requires_grad_()
    copy = deepcopy(net)
    step(copy, batch).backward()
    with Recorder(net) as r:
        step(net, batch).backward()
    r.graph.lint()
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: tanh = tanh(a:0)
        Net: b = Linear(tanh:0, b.weight)
        sum = sum(b:0)
        grad = grad(sum:0, input)
        mean = mean(b:0)
        norm = norm(grad:0)
        sub = sub(norm:0)
        square = square(sub:0)
        add = add(mean:0, square:0)
        outputs: b:0
    """)


def test_in_place_activations_train() -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(18, 1))
    copy, batch = deepcopy(net), x(2, 1, 5, 5)
    copy(batch).sum().backward()
    with Recorder(net) as r:
        net(batch).sum().backward()
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert all(timed(r).values())
    r.graph.lint()


def test_an_exception_in_backward_passes_and_keeps_the_graph() -> None:
    def fail(gradient: Tensor) -> None:
        raise error

    error, net = ValueError("in backward"), two_layers()
    net.fc.weight.register_hook(fail)
    with pytest.raises(ValueError, match="in backward") as caught, Recorder(net) as r:
        net(x()).sum().backward()
    assert caught.value is error
    r.graph.lint()
    assert timed(r)["block.fc"]


def test_a_backward_after_the_block_is_not_recorded() -> None:
    net = two_layers()
    with Recorder(net) as r:
        loss = net(x()).sum()
    loss.backward()
    assert not any(timed(r).values())
    assert net.fc.weight.grad is not None


@pytest.mark.supported("activation checkpointing, reentrant or not")
@pytest.mark.parametrize("reentrant", [True, False])
@pytest.mark.parametrize("functions", [True, False])
def test_activation_checkpointing_adds_no_node(reentrant: bool, functions: bool) -> None:
    def make(recompute: bool) -> Net:
        def forward(net: Net, x: Tensor) -> Tensor:
            run: Callable[..., Any] = net.block
            return net.head(checkpoint(run, net.stem(x), use_reentrant=reentrant) if recompute else run(net.stem(x)))

        torch.manual_seed(0)
        block = Block(lambda block, x: block.c(block.drop(block.b(block.a(x)).relu()).sin()), a=linear(), b=linear())
        block.drop, block.c = nn.Dropout(0.5), linear()
        return Net(forward, stem=linear(), block=block, head=linear())

    batch = x()
    graphs, gradients = [], []
    for recompute, recorded in ((False, True), (True, True), (True, False)):
        net = make(recompute)
        torch.manual_seed(1)
        r = Recorder(net, functions=functions)
        if recorded:
            with r:
                net(batch).sum().backward()
            r.graph.lint()
            graphs.append(in_words(r.graph))
            after = timed(r)
            assert (after["stem"], after["head"]) == (True, True)
        else:
            net(batch).sum().backward()
        gradients.append([p.grad for p in net.parameters()])
    assert same(gradients[1], gradients[2])
    assert same(gradients[0], gradients[1])
    if functions:
        assert [line for line in graphs[1].splitlines() if "block" in line] == [
            line for line in graphs[0].splitlines() if "block" in line
        ]
    assert graphs[1].count("Linear(") == graphs[0].count("Linear(") == 5


def test_checkpointing_without_a_model_around_it() -> None:
    net = two_layers()
    with Recorder(net) as r:
        checkpoint(net, x().requires_grad_(), use_reentrant=False).sum().backward()
        net(x())
    r.graph.lint()
    assert [node.name for node in r.graph.nodes if node.kind == "module"] == ["fc", "block.fc", "fc#1", "block.fc#1"]
