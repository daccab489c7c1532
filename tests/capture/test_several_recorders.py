"""Several recorders at once: each gets exactly its own events, as if it were alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import permutations
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, same, x
from torch import Tensor, nn

from recorder import Graph, Recorder
from recorder.events import ParameterGrad

THREADS = 8


def build() -> Net:
    torch.manual_seed(0)
    block = Block(lambda block, x: block.fc(x).relu() + x, fc=linear())
    return Net(lambda net, x: net.head(net.block(net.stem(x)).tanh()), stem=linear(), block=block, head=linear())


def train(net: nn.Module, batch: Tensor) -> Tensor:
    loss: Tensor = net(batch).pow(2).sum()
    loss.backward()
    return loss


def seen(r: Recorder) -> tuple[str, list[Any]]:
    """Everything in a recording but its times."""
    graph = r.graph
    graph.lint()
    return in_words(graph), [gradients(graph), len(r.events), [type(event).__name__ for event in r.events]]


def gradients(graph: Graph) -> list[Any]:
    return [(node.name, node.backward_ns is None) for node in graph.nodes]


def alone(part: str, steps: int = 1, **options: Any) -> tuple[str, list[Any]]:
    net = build()
    with Recorder(net.get_submodule(part), **options) as r:
        for _ in range(steps):
            train(net, x())
    return seen(r)


# One after another into the block


@pytest.mark.parametrize("outer", ["", "block"])
@pytest.mark.parametrize("inner", ["", "block"])
@pytest.mark.parametrize("functions", [(True, True), (True, False), (False, True), (False, False)], ids=str)
def test_one_inside_the_other(outer: str, inner: str, functions: tuple[bool, bool]) -> None:
    net = build()
    with (
        Recorder(net.get_submodule(outer), functions=functions[0]) as one,
        Recorder(net.get_submodule(inner), functions=functions[1]) as other,
    ):
        train(net, x())
    assert seen(one) == alone(outer, functions=functions[0])
    assert seen(other) == alone(inner, functions=functions[1])


@pytest.mark.parametrize("left", list(permutations(range(3))), ids=str)
def test_overlapping_in_any_order(left: tuple[int, ...]) -> None:
    """Entered one after another and left in any order, with a training step between any two of these."""
    net = build()
    parts = ["", "block", ""]
    steps = [0, 0, 0]
    with ExitStack() as stack:
        recorders = [Recorder(net.get_submodule(part)) for part in parts]
        inside: list[int] = []
        blocks = []
        for number, r in enumerate(recorders):
            blocks.append(stack.enter_context(ExitStack()))
            blocks[-1].enter_context(r)
            inside.append(number)
            train(net, x())
            for i in inside:
                steps[i] += 1
        for number in left:
            blocks[number].close()
            inside.remove(number)
            train(net, x())
            for i in inside:
                steps[i] += 1
    assert sorted(steps) == sorted([3 - n + left.index(n) for n in range(3)])
    for r, part, count in zip(recorders, parts, steps, strict=True):
        assert seen(r) == alone(part, count)


def test_one_that_is_left_while_another_has_a_module_of_torch_in_progress() -> None:
    net = build()
    first, second = Recorder(net), Recorder(net)
    with first:
        second.__enter__()
        hook = net.head.register_forward_pre_hook(lambda *_: second.__exit__(None, None, None))
        net(x())
        hook.remove()
        net(x()).exp()
    assert [n.name for n in second.graph.nodes] == ["stem", "block.fc", "block.relu", "block.add", "tanh", "head"]
    assert [n.name for n in first.graph.nodes][-2:] == ["head#1", "exp"]


# Side by side in threads


@contextmanager
def kernel_threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def together(work: Callable[[int], None]) -> None:
    """Run the same in eight threads, and raise what one of them raised."""
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            work(number)
        except BaseException as error:
            errors.append(error)
            START.abort()

    START.reset()
    threads = [threading.Thread(target=guarded, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


START = threading.Barrier(THREADS)
"""All threads meet here before each step, so that the steps run side by side."""


@pytest.mark.parametrize("kernels", [1, 2])
@pytest.mark.parametrize("gradients", ["calls", "on", "stats"])
@pytest.mark.parametrize("shared", [True, False], ids=["one net", "eight nets"])
def test_eight_threads(shared: bool, gradients: Any, kernels: int) -> None:
    one = build()
    nets = [one if shared else build() for _ in range(THREADS)]
    recorders = [Recorder(net, gradients=gradients) for net in nets]

    def work(number: int) -> None:
        with recorders[number]:
            START.wait()
            for _ in range(3):
                train(nets[number], x())
            START.wait()

    with kernel_threads(kernels):
        together(work)
        expected = alone("", 3, gradients=gradients)
    for r in recorders:
        assert seen(r) == expected


@pytest.mark.parametrize("recorded", ["calls", "on"])
def test_threads_that_only_run_backward(recorded: Any) -> None:
    net = build()
    batches = [x() for _ in range(THREADS)]
    losses: list[Tensor] = []
    with Recorder(net, gradients=recorded) as r:
        losses += [net(batch).pow(2).sum() for batch in batches]
        together(lambda number: losses[number].backward())
    accumulated = [p.grad for p in net.parameters()]
    net.zero_grad()
    for batch in batches:
        train(net, batch)
    for one, other in zip(accumulated, net.parameters(), strict=True):
        torch.testing.assert_close(one, other.grad)
    graph = r.graph
    graph.lint()
    assert len(graph.nodes) == THREADS * 8
    told = [event for event in r.events if isinstance(event, ParameterGrad)]
    assert len(told) == (THREADS * 3 if recorded == "on" else 0)
    assert not any(node.backward_ns is None for node in graph.nodes if node.kind == "module")


def test_a_thread_without_a_recorder_is_as_ever() -> None:
    net, batch = build(), x()
    expected = net(batch)
    results: list[Tensor] = []

    def work(number: int) -> None:
        START.wait()
        if number:
            results.append(net(batch))
        else:
            with Recorder(net) as r:
                train(net, batch)
            assert len(r.graph.nodes) == 8

    together(work)
    assert all(same(result, expected) for result in results)
