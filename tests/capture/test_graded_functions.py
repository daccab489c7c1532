"""Gradients at functions: what arrives is what a tensor hook sees, and nobody pays who did not ask."""

import gc
import threading
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from support.models import Block, Net, linear, same, x
from support.untouched import autograd_of
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recorder import Graph, Recorder, dumps, loads
from recorder.events import BackwardStart, Grad, Op

Tap = Callable[[str, Tensor], Tensor]


def forward(net: Any, x: Tensor, tap: Tap) -> Tensor:
    h = tap("matmul", x @ net.weight)
    h = tap("mul_", h.mul_(2))
    tap("add", h + 1).square().sum().mul(0)  # a part that gets zeros
    values, _ = h.max(dim=1)
    tap("max", values)
    one, other = h.chunk(2, dim=1)
    tap("chunk", one)
    h = tap("cat", torch.cat([other, one], dim=1))
    h = F.dropout(h, 0.5, training=False).contiguous()
    h = tap("view", h.view(2, 2, 2))
    mask = (h > 0).float()
    h = tap("mul_2", h * mask * h.detach().exp())
    h[0] = 1.0
    tap("setitem", h)
    return tap("linear", F.linear(h.flatten(1), net.weight, net.bias)) * values[:, None]


def taps() -> Net:
    torch.manual_seed(0)
    net = Net(lambda net, x: forward(net, x, net.tap))
    net.weight, net.bias = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))
    net.tap = lambda name, tensor: tensor
    return net


def seen_by_hooks(batch: Tensor) -> dict[str, float]:
    norms: dict[str, float] = {}

    def tap(name: str, tensor: Tensor) -> Tensor:
        tensor.register_hook(lambda gradient: norms.__setitem__(name, gradient.norm().item()))
        return tensor

    net = taps()
    net.tap = tap
    net(batch).square().sum().backward()
    return norms


def told(graph: Graph) -> dict[str, Any]:
    return {node.name: node.meta["backward"] for node in graph.nodes if "backward" in node.meta}


def test_what_arrives_at_a_function_is_what_a_hook_on_its_result_sees() -> None:
    batch = x()
    net, copy = taps(), taps()
    plain = copy(batch)
    plain.square().sum().backward()
    state = torch.random.get_rng_state()
    with Recorder(net, gradients="stats") as r:
        out = net(batch)
        out.square().sum().backward()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(out, plain)
    assert autograd_of(out) == autograd_of(plain)
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    found = told(r.graph)
    expected = seen_by_hooks(batch)
    assert expected.keys() >= {"matmul", "mul_", "max", "cat", "view", "setitem", "linear"}
    for name, norm in expected.items():
        if name != "add":  # which is not in the loss
            index = 1 if name == "chunk" and found[name]["arrived"][0] is None else 0
            assert found[name]["arrived"][index]["norm"] == pytest.approx(norm, rel=1e-5), name
    assert all("left" in backward for backward in found.values())
    r.graph.lint()
    assert loads(dumps(r.graph)) == r.graph


def test_what_made_no_autograd_node_has_no_gradient() -> None:
    net = taps()
    with Recorder(net, gradients="on") as r:
        net(x()).sum().backward()
    without = {node.op_type for node in r.graph.nodes if "backward" not in node.meta}
    assert without >= {"dropout", "contiguous", "gt", "float", "detach", "exp", "add", "square"}
    assert "mul" in {node.op_type for node in r.graph.nodes if node.backward_ns is not None}


@pytest.mark.parametrize("options", [{}, {"gradients": "on", "functions": False}])
def test_nobody_pays_who_did_not_ask(options: Any) -> None:
    net = taps()
    with Recorder(net, **options) as r:
        net(x()).sum().backward()
    assert not [event for event in r.events if isinstance(event, BackwardStart)]
    assert not [e for e in r.events if isinstance(e, Op) and e.module is None and e.call is not None]
    assert not [node for node in r.graph.nodes if node.kind == "function" and "backward" in node.meta]


def test_a_view_that_a_function_wrote_is_left_out() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        h: Tensor = net.fc(x)
        part = h[:, :2]
        part.mul_(3)
        return torch.cat([h, part], dim=1)  # what comes by the one is not all that comes to the write

    net = Net(forward, fc=linear())
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    assert "mul_" not in told(r.graph)
    assert "fc" in told(r.graph)


def own_calls(r: Recorder) -> list[str]:
    """The names of what was called, but for the empty tensors that checkpoints of torch 2.8 make."""
    return [node.name for node in r.graph.nodes if node.op_type != "empty"]


@pytest.mark.parametrize("reentrant", [True, False])
def test_what_a_checkpoint_computes_again_is_no_call(reentrant: bool) -> None:
    part = Block(lambda block, x: block.fc(x).relu().exp(), fc=linear())
    net = Net(lambda net, x: checkpoint(net.part, net.fc(x), use_reentrant=reentrant), fc=linear(), part=part)
    copy, batch = deepcopy(net), x()
    copy(batch).sum().backward()
    with Recorder(net, gradients="stats") as r:
        net(batch).sum().backward()
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert own_calls(r) == ["fc", "part.fc", "part.relu", "part.exp", "sum"]
    calls = [event.call for event in r.events if isinstance(event, Op) and event.module is None]
    assert sum(call is not None for call in calls) == (1 if reentrant else 3)


@pytest.mark.parametrize("how", ["leaf", "function"])
@pytest.mark.parametrize("gradients", ["calls", "stats"])
@pytest.mark.parametrize("reentrant", [True, False])
def test_a_checkpoint_directly_round_a_leaf_adds_no_call(
    reentrant: bool, gradients: Literal["calls", "stats"], how: str
) -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        inner: Any = checkpoint(net.leaf if how == "leaf" else torch.sin, net.fc(x), use_reentrant=reentrant)
        return net.last(inner)  # type: ignore[no-any-return]

    net = Net(forward, fc=linear(), leaf=nn.GELU(), last=linear())
    net(x())  # what torch imports with the first checkpoint, it imports now
    with Recorder(net, gradients=gradients) as r:
        net(x()).sum().backward()
    middle = "leaf" if how == "leaf" else "sin"
    assert own_calls(r) == ["fc", middle, "last", "sum"]
    assert r.graph.scopes[0].backward_ns is not None


def test_what_another_thread_does_stays_out() -> None:
    def elsewhere() -> None:
        weights = {name: p.detach().clone().requires_grad_() for name, p in net.named_parameters()}
        batch = x().requires_grad_()
        other = torch.func.functional_call(net, weights, (batch,)).tanh()
        (other * 2).sum().backward()
        seen.append(batch.grad)

    net: Net = Net(lambda net, x: net.fc(x).relu(), fc=linear())
    seen: list[Any] = []
    with Recorder(net, gradients="stats") as r:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        net(x()).sum().backward()
    assert seen[0] is not None
    assert [node.name for node in r.graph.nodes] == ["fc", "relu", "sum"]
    assert {event.backward for event in r.events if isinstance(event, Grad)} == {0}
    assert len([event for event in r.events if isinstance(event, Grad)]) == 2 * 3 + 1
    assert [value.name for value in r.graph.initializers] == ["fc.weight"]
    assert r.graph.meta["backward_starts"][0]["value"] == "sum:0"


def test_nothing_is_kept_and_no_hook_stays() -> None:
    net = taps()
    with Recorder(net, gradients="stats") as r:
        out = net(x())
        out.sum().backward(retain_graph=True)
    before = len(r.events)
    out.sum().backward()
    assert len(r.events) == before
    assert not [hook for hook in gc.get_objects() if type(hook).__name__ == "Graded" and not hook.gone]


def test_a_second_derivative_is_recorded_at_functions_too() -> None:
    def step(net: nn.Module, batch: Tensor) -> None:
        out = net(batch).tanh()
        (gradient,) = torch.autograd.grad(out.sum(), [batch], create_graph=True)
        (out.mean() + (gradient.norm() - 1).square()).backward()

    net, batch = Net(lambda net, x: net.b(net.a(x).sin()), a=linear(), b=linear()), x().requires_grad_()
    copy = deepcopy(net)
    step(copy, batch)
    with Recorder(net, gradients="stats") as r:
        step(net, batch)
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    found = told(r.graph)
    assert (found["sin"]["passes"], found["grad"]["passes"]) == (2, 1)
    assert [start["value"] for start in r.graph.meta["backward_starts"]] == ["sum:0", "add:0"]


def test_what_is_computed_again_in_a_backward_that_nobody_saw_begin_is_no_call() -> None:
    part = Block(lambda block, x: block.fc(x).relu().exp(), fc=linear())
    net = Net(lambda net, x: checkpoint(net.part, net.fc(x), use_reentrant=False), fc=linear(), part=part)
    engine: Any = torch.autograd.Variable._execution_engine
    with Recorder(net, gradients="stats") as r:
        loss = net(x()).sum()
        engine.run_backward((loss,), (torch.ones(()),), False, False, (), allow_unreachable=True, accumulate_grad=True)
    calls = [event.call for event in r.events if isinstance(event, Op) and event.module is None]
    assert sum(call is not None for call in calls) == 3


@pytest.mark.parametrize("source", [False, True])
def test_values_are_measured_beside_gradients(source: bool) -> None:
    net, copy, batch = taps(), taps(), x()
    copy(batch).square().sum().backward()
    with Recorder(net, gradients="stats", values="stats", source=source) as r:
        net(batch).square().sum().backward()
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    linear = next(node for node in r.graph.nodes if node.name == "linear")
    assert linear.outputs[0].meta["stats"]["norm"] > 0
    assert linear.meta["backward"]["arrived"][0]["norm"] > 0
    assert ("source" in linear.meta) is source


def test_a_backward_of_something_else_is_no_part_of_it() -> None:
    net = Net(lambda net, x: net.fc(x).relu(), fc=linear())
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
        other = torch.ones(3, requires_grad=True).exp().sum()
        other.backward()
        torch.autograd.grad(outputs=net(x()).mean(), inputs=list(net.parameters()))
    assert [start["value"] for start in r.graph.meta["backward_starts"]] == ["sum:0", "mean:0"]


def test_what_comes_to_each_of_several_results_is_told_of_one_call() -> None:
    def forward(net: nn.Module, a: Tensor, b: Tensor) -> Tensor:
        one, other = torch.broadcast_tensors(a, b)
        return (one * 2 + other * 3).sum()

    a, b = torch.ones(2, 1, requires_grad=True), torch.ones(3, requires_grad=True)
    with Recorder(net := Net(forward), gradients="stats") as r:
        net(a, b).backward()
    arrived = told(r.graph)["broadcast_tensors"]["arrived"]
    assert sorted(caption["norm"] for caption in arrived) == pytest.approx([2 * 6**0.5, 3 * 6**0.5])


def test_what_is_called_as_a_whole_begins_where_it_begins() -> None:
    """What ran before it, and nobody saw, is none of it."""
    net = linear()
    with Recorder(net, gradients="stats") as r:
        y = net(x())
        with torch._C.DisableTorchFunction():
            unseen = [y.exp() for _ in range(3)]
        mode: Any = r._session.capture._mode
        made = mode.record_opaque(torch.sin, (y,), {}, lambda: torch.sin(y))
        with torch._C.DisableTorchFunction():
            unseen += [y.exp() for _ in range(3)]
        mode.begin(torch.cos, (y,))
        assert mode._began == unseen[-1].grad_fn._sequence_nr() + 1
    sine = next(event for event in r.events if isinstance(event, Op) and event.op_type == "sin")
    assert sine.sequence_nr == made.grad_fn._sequence_nr()
