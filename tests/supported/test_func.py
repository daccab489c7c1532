"""torch.func: the transforms of docs/supported.md, each recorded beside the same run unrecorded."""

import contextlib
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Net, in_words, linear, written, x
from support.twice import run_twice
from torch import Tensor

from recorder import EventStream, Recorder, assemble
from recorder.events import Members

supported = pytest.mark.supported


def with_relu() -> Net:
    return Net(lambda net, x: net.fc(x).relu(), fc=linear())


FC_RELU = written("""
    inputs: input
    Net: fc = Linear(input, fc.weight)
    Net: relu = relu(fc:0)
    outputs: relu:0
""")


@supported("`torch.func.functional_call`")
def test_tensors_in_the_place_of_parameters() -> None:
    def step(net: Net, batch: Tensor, weight: Tensor) -> Any:
        first = torch.func.functional_call(net, {"fc.weight": weight}, batch)
        return first, net(batch), torch.func.functional_call(net, {"fc.weight": weight * 2}, batch)

    graph = run_twice(lambda: (with_relu(), x(), x(4, 4)), step)
    assert in_words(graph) == written("""
        inputs: input
        Net: fc = Linear(input, constant)
        Net: relu = relu(fc:0)
        Net#1: fc#1 = Linear(input, fc.weight)
        Net#1: Net#1.relu = relu(fc#1:0)
        mul = mul(constant)
        Net#2: fc#2 = Linear(input, mul:0)
        Net#2: Net#2.relu = relu(fc#2:0)
        outputs: relu:0 Net#1.relu:0 Net#2.relu:0
    """)


@supported("`torch.func.functional_call`")
def test_a_net_that_makes_the_parameters_of_its_parts(tmp_path: Path) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        made = {"weight": net.make(x[:1]).view(4, 4)}
        try:
            torch.func.functional_call(net.made, {"weight": torch.ones(3, 3)}, x)  # does not fit
        except RuntimeError:
            return torch.func.functional_call(net.made, made, x) + net.made(x)

    make = lambda: Net(forward, make=linear(4, 16), made=linear())  # noqa: E731
    graph = run_twice(lambda: (make(), x()))
    edges = [(edge.source.name, edge.target.name) for edge in graph.edges()]
    assert edges == [
        ("getitem", "make"),
        ("make", "view"),
        ("ones", "made"),
        ("view", "made#1"),
        ("made#1", "add"),
        ("made#2", "add"),
    ]
    uses = {value.name: [node.name for node, _ in value.uses] for value in graph.initializers}
    assert uses == {"make.weight": ["make"], "made.weight": ["made#2"]}

    net = make()
    with Recorder(net) as r:
        net(x())
        net(x())
    loaded = EventStream.load(r.events.save(tmp_path / "run.jsonl"))
    assert loaded == r.events
    assert assemble(loaded) == r.graph
    for part in r.graphs:
        part.lint()
        (weight,) = (node.inputs[1] for node in part.nodes if node.fqn == "made" and node.call == 1)
        assert (weight.producer and weight.producer.op_type) == "view"


@supported("`torch.func.functional_call`")
def test_outermost_calls_inside_a_functional_call_are_graphs_of_their_own() -> None:
    net = with_relu()
    twice = Net(lambda twice, x: twice.net(twice.net(x)), net=net)
    with Recorder(net) as r:
        torch.func.functional_call(twice, {"net.fc.weight": x(4, 4)}, x())
        net(x())
    assert [graph.nodes[0].inputs[1].role for graph in r.graphs] == ["constant", "constant", "parameter"]
    for graph in r.graphs:
        graph.lint()


@supported("`torch.func.functional_call`")
def test_what_another_thread_calls_so_stays_out() -> None:
    net = with_relu()
    with Recorder(net) as r:
        net(x())
        call = partial(torch.func.functional_call, net, {"fc.weight": torch.ones(4, 4)}, x())
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
        net(x())
    assert not any(isinstance(event, Members) for event in r.events)
    assert [node.inputs[1].name for node in r.graph.nodes if node.op_type == "Linear"] == ["fc.weight"] * 2


@supported("`torch.func.functional_call`")
def test_functional_calls_inside_one_another() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        x = torch.func.functional_call(net.fc, {"weight": net.other + 1}, x)
        return net.fc(x)

    def step(net: Net, batch: Tensor, weight: Tensor) -> Any:
        return torch.func.functional_call(net, {"fc.weight": weight}, batch)

    graph = run_twice(lambda: (Net(forward, fc=linear(), other=x(4, 4)), x(), x(4, 4)), step)
    assert [node.inputs[1].name for node in graph.nodes if node.op_type == "Linear"] == ["add:0", "constant"]


@supported("`torch.func.functional_call`")
def test_a_functional_call_under_vmap() -> None:
    def step(net: Net, batch: Tensor, weights: Tensor) -> Any:
        call = torch.func.functional_call
        return torch.func.vmap(lambda weight: call(net, {"fc.weight": weight}, batch))(weights)

    graph = run_twice(lambda: (with_relu(), x(), x(3, 4, 4)), step)
    assert in_words(graph) == FC_RELU.replace("fc.weight", "constant")
    assert graph.nodes[0].inputs[1].shape == (4, 4)


def test_torchs_own_function_is_back_after_the_last_block() -> None:
    before = torch.nn.utils.stateless._reparametrize_module
    net = with_relu()
    for error in (False, True):
        with contextlib.suppress(ZeroDivisionError), Recorder(net):
            with Recorder(net):
                net(x())
            assert torch.nn.utils.stateless._reparametrize_module is not before
            assert 1 / (not error)
        assert torch.nn.utils.stateless._reparametrize_module is before


@supported("`torch.func.vmap`")
def test_vmap() -> None:
    graph = run_twice(lambda: (with_relu(), x(3, 2, 4)), lambda net, x: torch.func.vmap(net)(x))
    assert in_words(graph) == FC_RELU
    assert graph.inputs[0].shape == (2, 4)  # what the net sees: one of the batch


@supported("`torch.func.grad`")
def test_grad() -> None:
    graph = run_twice(lambda: (with_relu(), x()), lambda net, x: torch.func.grad(lambda x: net(x).sum())(x))
    assert in_words(graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        sum = sum(relu:0)
        grad = grad(sum:0, input)
        outputs: relu:0
    """)


@supported("`torch.func.jvp`")
def test_jvp() -> None:
    graph = run_twice(lambda: (with_relu(), x(), x()), lambda net, x, t: torch.func.jvp(net, (x,), (t,)))
    assert in_words(graph).startswith(FC_RELU.rpartition("\n")[0])
    assert [node.name for node in graph.nodes] == ["fc", "relu", "_unpack_dual"]
