"""Hooks on autograd nodes, put on when a backward begins: an evaluation has none, and no backward is missed."""

import threading
from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import pytest
import torch
from support.models import Block, Net, linear, same, x
from torch import Tensor
from torch.autograd import Variable

from recorder import Recorder
from recorder.capture import backward_begins
from recorder.capture.awaited_nodes import AwaitedNodes
from recorder.events import Grad


def layers() -> Net:
    block = Block(lambda block, x: block.a(x).relu(), a=linear())
    return Net(lambda net, x: net.last(net.keep(net.block(net.first(x)))), first=linear(), block=block, last=linear())


def kept() -> Net:
    """A model that keeps what its block returns."""
    net = layers()
    net.feature = None

    def keep(tensor: Tensor) -> Tensor:
        net.feature = tensor
        return tensor

    net.keep = keep
    return net


def reached(r: Recorder) -> list[tuple[str | None, str]]:
    """Calls and phases, in the order in which backward came to them."""
    names = {place.fqn: place for place in (*r.graph.nodes, *r.graph.scopes) if place.fqn is not None}
    order = [(place.meta["backward"]["order"], fqn) for fqn, place in names.items() if "backward" in place.meta]
    return [(fqn, names[fqn].op_type) for _, fqn in sorted(order)]


INNER = [("block", "Block"), ("block.a", "Linear"), ("first", "Linear")]
WHOLE = [("", "Net"), ("last", "Linear"), *INNER]


def hooks_on(tensor: Tensor) -> list[str]:
    """The names of the autograd nodes behind a tensor that have a hook: registering another one shows its dict."""
    found, pending, seen = [], [tensor.grad_fn], set[Any]()
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for register in (node.register_prehook, node.register_hook):
            handle = register(lambda *_: None)
            found += [node.name()] * (len(handle.hooks_dict_ref()) - 1)
            handle.remove()
        pending += [after for after, _ in node.next_functions]
    return found


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"gradients": "on"}])
def test_forward_hooks_what_it_returns_and_nothing_else(options: dict[str, Any]) -> None:
    net = kept()
    with Recorder(net, **options):
        out = net(x())
        assert hooks_on(out) == ["MmBackward0"]
        out.sum().backward(retain_graph=True)
        assert len(hooks_on(out)) > 5
    assert hooks_on(out) == []


def backward(loss: Tensor) -> None:
    loss.backward()


def engine(loss: Tensor) -> None:
    """As C++ code does it: nobody is told."""
    run = Variable._execution_engine.run_backward  # type: ignore[attr-defined]
    run((loss,), (torch.ones(()),), False, False, (), allow_unreachable=True, accumulate_grad=True)


def elsewhere(loss: Tensor) -> None:
    thread = threading.Thread(target=loss.backward)
    thread.start()
    thread.join()


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("run", [backward, engine, elsewhere])
def test_a_backward_is_seen_whoever_runs_it(run: Callable[[Tensor], None], functions: bool) -> None:
    net, copy, batch = kept(), kept(), x()
    copy.load_state_dict(net.state_dict())
    with Recorder(net, functions=functions) as r:
        for _ in range(2):
            net.zero_grad()
            run(net(batch).sum())
    assert reached(r) == WHOLE
    copy(batch).sum().backward()
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert {event.backward for event in r.events if isinstance(event, Grad)} == {0, 1}


@pytest.mark.parametrize("functions", [True, False])
def test_a_backward_from_the_middle_and_then_from_the_end(functions: bool) -> None:
    net = kept()
    with Recorder(net, functions=functions) as r:
        out = net(x())
        net.feature.mean().backward(retain_graph=True)
        # Backward comes to `Net` from inside.
        assert reached(r) == [("", "Net"), *INNER]
        out.sum().backward()
    passes = {n.fqn: n.meta["backward"]["passes"] for n in (*r.graph.nodes, *r.graph.scopes) if "backward" in n.meta}
    assert passes["last"] == 1
    assert passes["block"] == passes["first"] == 2


def test_what_others_changed_of_a_gradient_is_seen_as_it_came() -> None:
    def changed(net: Net) -> Tensor:
        out = net.first(x())
        node: Any = out.grad_fn
        node.register_prehook(lambda gradients: (gradients[0] * 3,))
        node.register_hook(lambda given, _: tuple(None if g is None else g * 5 for g in given))
        return out.sum()

    net = kept()
    with Recorder(net, gradients="stats") as r:
        changed(net).backward()
    (told,) = (node.meta["backward"] for node in r.graph.nodes if node.fqn == "first")
    assert told["arrived"][0]["largest"] == 1.0


def test_torch_has_its_own_function_back() -> None:
    own = backward_begins._run
    net = kept()
    with Recorder(net), Recorder(net):
        net(x())
        assert torch.autograd._engine_run_backward is not own
        backward_begins.pause()
        assert torch.autograd._engine_run_backward is torch.autograd.graph._engine_run_backward is own
        backward_begins.resume()
        assert torch.autograd._engine_run_backward is not own
    assert torch.autograd._engine_run_backward is torch.autograd.graph._engine_run_backward is own


def test_graphs_that_live_are_still_awaited_when_it_is_crowded(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a loss that nobody knows of, or by a tensor that the model keeps."""
    monkeypatch.setattr("recorder.capture.backward_hooks._CROWD", 20)
    net = kept()
    with Recorder(net, functions=False) as r:
        total: Any = 0
        for _ in range(30):
            total = total + net(x()).mean()
        net(x())
        feature = net.feature
        for _ in range(30):
            net(x())
        waiting = r._session.capture.backward._awaited
        waited = len(waiting)
        for _ in range(300):
            net(x())
        assert len(waiting) < waited + 150
        total.backward()
        feature.mean().backward()
    calls = [n.call for n in r.graph.nodes if n.fqn == "first" and "backward" in n.meta]
    assert calls == [*range(31)]


# Numbers that two threads have given


class Step:
    """What is asked of an autograd node."""

    def __init__(self, number: int, *following: "Step") -> None:
        self.number = number
        self.next_functions = tuple((after, 0) for after in following)
        self.metadata: dict[str, Any] = {}

    def _sequence_nr(self) -> int:
        return self.number


class Other(Step):
    """Another type of node."""


def awaited(*numbers: int) -> AwaitedNodes:
    nodes = AwaitedNodes()
    for number in numbers:
        nodes.fresh.extend((number, Step, number, True, None, number))
    return nodes


def met(nodes: AwaitedNodes, *roots: Step) -> list[Step]:
    return [node for node, _ in nodes.reached(list(roots))]


def test_a_node_is_met_by_number_and_type_once() -> None:
    first = Step(1)
    other = Other(2, first)
    root = Step(3, other)
    nodes = awaited(1, 2, 3)
    assert met(nodes, root) == [root, first]
    assert len(nodes) == 1
    assert met(nodes, root) == []


def test_of_two_nodes_with_one_number_the_one_that_uses_nothing_later_is_ours() -> None:
    ours = Step(5, Step(1))
    later = Step(9, ours)
    theirs = Step(5, later)  # another thread's, which uses what was made here
    assert met(awaited(5), Step(10, theirs, later)) == [ours]


def test_of_two_that_may_both_be_ours_neither_is() -> None:
    nodes = awaited(5, 7)
    root = Step(7, Step(5), Step(5))
    assert met(nodes, root) == [root]
    assert len(nodes) == 1


def run_elsewhere(function: Callable[[], Any]) -> Any:
    """What a function returns that runs on another thread."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(function()))
    thread.start()
    thread.join()
    return found[0]


def test_a_copy_on_another_thread_is_not_taken_for_the_model() -> None:
    """Its autograd nodes have the same types, and numbers from the same range."""
    net = kept()
    copy = deepcopy(net)
    with Recorder(net) as r:
        net(x())  # of which no backward comes
        (run_elsewhere(partial(copy, x())) + net(x())).sum().backward()
    assert [n.call for n in r.graph.nodes if n.fqn == "first" and "backward" in n.meta] == [1]
    with Recorder(net) as r:
        net(x())
        other = run_elsewhere(partial(copy, x()))
        other.sum().backward()
    assert not any("backward" in node.meta for node in r.graph.nodes)
