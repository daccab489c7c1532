"""assemble() against graphs written down by hand."""

import subprocess
import sys
import time

import msgspec
import pytest
from support.naive_model import agree
from support.streams import edges, names, net, of

from recorder import EventStream, StreamError, assemble
from recorder.events import Derived, Enter, Event, Grad, Leave, Member, Module, Op, Output, Tensor, TensorMeta
from recorder.testing import StreamBuilder


def test_residual() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        h = build.op("conv", "Conv2d", [x], (2, 4), weight=(4, 4))
        h = build.op("bn", "BatchNorm2d", [h], (2, 4))
        y = build.op(None, "add", [h, x], (2, 4))
        call.outputs = [y]
    graph = agree(build.stream)
    assert edges(graph) == ["conv -> bn", "bn -> add"]
    assert names(of(graph, "conv").inputs) == ["input", "conv.weight"]
    assert names(of(graph, "add").inputs) == ["bn:0", "input"]
    assert names(graph.inputs) == ["input"]
    assert names(graph.outputs) == ["add:0"]
    assert names(graph.initializers) == ["conv.weight"]


def test_one_module_called_thrice() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        for _ in range(3):
            x = build.op("fc", "Linear", [x], (1, 4), weight=(4, 4))
        call.outputs = [x]
    graph = agree(build.stream)
    assert [(node.name, node.fqn, node.call) for node in graph.nodes] == [
        ("fc", "fc", 0),
        ("fc#1", "fc", 1),
        ("fc#2", "fc", 2),
    ]
    assert edges(graph) == ["fc -> fc#1", "fc#1 -> fc#2"]
    (weight,) = graph.initializers
    assert [(node.name, position) for node, position in weight.uses] == [("fc", 1), ("fc#1", 1), ("fc#2", 1)]


def test_recursion_counts_the_outer_call_first() -> None:
    """The innermost call holds nothing, so it is a node: the first thing recorded, and yet the third call."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with (
        build.call("", "Net", [x]) as root,
        build.call("cell", "Cell", [x]) as outer,
        build.call("cell", "Cell", [x]) as middle,
        build.call("cell", "Cell", [x]) as inner,
    ):
        for call in (root, outer, middle, inner):
            call.outputs = [x]
    graph = agree(build.stream)
    (node,) = graph.nodes
    assert (node.name, node.call) == ("cell#2", 2)
    assert [(scope.name, scope.call) for scope in graph.scopes] == [("Net", 0), ("cell", 0), ("cell#1", 1)]
    assert [scope.parent for scope in graph.scopes] == [None, *graph.scopes[:-1]]
    assert node.scope is graph.scopes[-1]


def test_shared_weights_are_one_initializer_with_two_uses() -> None:
    build = StreamBuilder()
    tokens = build.tensor((5,), dtype="int64")
    weight = build.tensor((100, 8), name="embed.weight")
    for number, fqn in enumerate(("embed", "head"), 10):
        build.append(Module(number, fqn, "Linear", "torch.nn.Linear", True, parameters=(Member("weight", weight),)))
    with net([tokens], build=build) as call:
        h = TensorMeta((5, 8), "float32", "cpu", storage=70)
        y = TensorMeta((5, 100), "float32", "cpu", storage=71)
        build.append(Op("Linear", 10, 20, module=10, call=50, inputs=(tokens,), outputs=(Output(70, h),)))
        build.append(Op("Linear", 30, 40, module=11, call=51, inputs=(70,), outputs=(Output(71, y),)))
        call.outputs = [71]
    graph = agree(build.stream)
    assert edges(graph) == ["embed -> head"]
    (initializer,) = graph.initializers
    assert initializer.name == "embed.weight"
    assert [(node.name, position) for node, position in initializer.uses] == [("embed", 1), ("head", 1)]


def test_an_exception_in_the_middle() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    error = "RuntimeError: no"
    with net([x], build=build) as call:
        call.error = error
        h = build.op("fc1", "Linear", [x], (1, 4))
        with build.call("block", "Block", [h]) as block:
            block.error = error
            build.op("block.fc", "Linear", [h], error=error)
    y = build.tensor((1, 4))
    with net([y], build=build) as call:
        call.outputs = [build.op("fc1", "Linear", [y], (1, 4))]
    graph = agree(build.stream)
    assert edges(graph) == ["fc1 -> block.fc"]
    assert [(node.name, node.error) for node in graph.nodes] == [("fc1", None), ("block.fc", error), ("fc1#1", None)]
    assert [(scope.name, scope.error) for scope in graph.scopes] == [("Net", error), ("block", error), ("Net#1", None)]
    assert names(graph.inputs) == ["input", "input_1"]
    assert names(graph.outputs) == ["fc1#1:0"]


def test_a_parameter_may_be_named_like_what_a_node_makes() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        call.outputs = [build.op("fc", "Linear", [x], (2, 4), **{"fc:0": (4, 4)})]
        build.tensor((1,), name="fc:0")
    graph = assemble(build.stream)
    graph.lint()
    assert names(of(graph, "fc").outputs) == ["fc:0"]
    assert names(graph.initializers) == ["fc.fc:0_", "fc:0_"]


def test_no_tensor_at_all() -> None:
    build = StreamBuilder()
    with net(build=build), build.call("clock", "Clock"):
        pass
    graph = agree(build.stream)
    assert [(node.name, node.inputs, node.outputs) for node in graph.nodes] == [("clock", (), ())]
    assert (graph.inputs, graph.outputs, graph.initializers) == ([], [], [])


def test_a_nested_call_that_never_returned() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        block, empty = build.module("block", "Block"), build.module("empty", "Empty")
        build.append(Enter(70, block, 10, (x,)))
        h = build.op("fc", "Linear", [x], (1, 4))
        build.append(Enter(71, empty, 20, (h,)))
        call.outputs = [h]
    graph = agree(build.stream)
    assert [(s.name, s.error) for s in graph.scopes] == [("Net", None), ("block", "did not return")]
    assert [(n.name, n.error) for n in graph.nodes] == [("fc", None), ("empty", "did not return")]
    assert edges(graph) == ["fc -> empty"]
    assert names(graph.outputs) == ["fc:0"]


def test_calls_that_never_returned_do_not_hold_the_next_outermost_one() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    build.append(Enter(70, build.module("", "Net"), 10, (x,), outermost=True))
    build.op("fc", "Linear", [x], (1, 4))
    with net([x], build=build) as call:
        call.outputs = [build.op("fc", "Linear", [x], (1, 4))]
    graph = agree(build.stream)
    assert [(s.name, s.parent, s.error) for s in graph.scopes] == [
        ("Net", None, "did not return"),
        ("Net#1", None, None),
    ]
    assert len(graph.inputs) == 1


def test_recomputed_calls_are_no_calls_of_their_own() -> None:
    """Checkpointing stops the recomputation half-way, so that its last calls never return; training goes on."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        h = build.op("fc", "Linear", [x], (1, 4))
        call.outputs = [h]
    block = build.module("block", "Block")
    build.append(Enter(70, block, 10, (x,), recomputed=True))
    build.append(Op("add", 11, 12, inputs=(x,), outputs=(Output(90, TensorMeta((1, 4), "float32", "cpu")),)))
    build.append(Grad(70, "arrive", 13))
    with net([x], build=build) as call:
        kept = build.op(None, "mul", [x, 90], (1, 4))
        call.outputs = [kept]
    graph = agree(build.stream)
    assert [node.name for node in graph.nodes] == ["fc", "Net#1.mul"]
    _, stray = of(graph, "Net#1.mul").inputs
    assert (stray.role, stray.producer) == ("activation", None)


def test_what_was_derived_unseen_has_the_makers_of_its_sources() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        a = build.op("a", "Linear", [x], (1, 4))
        b = build.op("b", "Linear", [x], (1, 4))
        first = build.tensor((1, 4))
        build.append(Derived(first, (a, b)))
        build.write("zero_", a)  # too late to matter to what was computed before
        second = build.tensor((1, 4))
        build.append(Derived(second, (first,)))
        build.op("c", "Linear", [second], (1, 4))
        build.write("relu_", second)
        call.outputs = [build.op("d", "Linear", [second], (1, 4))]
    graph = agree(build.stream)
    assert edges(graph) == ["a -> zero_", "a -> c", "b -> c", "a -> relu_", "b -> relu_", "relu_ -> d"]
    assert names(graph.inputs) == ["input"]


def test_an_input_told_by_keyword_is_an_input_even_if_a_view_of_it_was_written() -> None:
    """Before a call torch tells only positional arguments, so its keywords are known when it ends."""
    build = StreamBuilder()
    x = build.tensor((2, 4))
    build.append(Enter(70, build.module("", "Net"), 10, (), outermost=True))
    row = build.view("select", x, (4,))
    build.write("zero_", row)
    y = build.op(None, "sum", [x], ())
    build.append(Leave(70, 90, (x,), (y,)))
    graph = agree(build.stream)
    assert edges(graph) == ["select -> zero_", "zero_ -> sum"]
    assert names(graph.inputs) == ["input"]
    assert graph.inputs[0] is of(graph, "select").inputs[0]


def test_backward_is_timed_from_arrival_to_departure_and_summed_over_passes() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:  # its number is 0; those of its layers are 1 and 2
        h = build.op("a", "Linear", [x], (1, 4))
        call.outputs = [build.op("b", "Linear", [h], (1, 4))]
    for call_number, phase, ns, backward in [
        (2, "arrive", 1000, 0),
        (2, "leave", 1010, 0),
        (1, "arrive", 1020, 0),
        (1, "leave", 1050, 0),
        (2, "arrive", 2000, 1),
        (2, "leave", 2005, 1),
    ]:
        build.append(Grad(call_number, phase, ns, backward))
    graph = agree(build.stream)
    assert {node.name: node.backward_ns for node in graph.nodes} == {"a": 30, "b": 15}
    assert [scope.backward_ns for scope in graph.scopes] == [None]  # without autograd's numbers, nobody knows


META = TensorMeta((1,), "float32", "cpu")


DESCRIBED = Module(0, "", "Net", "models.Net")


@pytest.mark.parametrize(
    "events",
    [
        [Op("relu", 0, 1, inputs=(7,))],
        [Op("relu", 0, 1, writes=(7,))],
        [Op("Linear", 0, 1, module=7, call=0)],
        [Enter(0, 7, 0)],
        [Leave(7, 0)],
        [DESCRIBED, Enter(0, 0, 0), Leave(0, 1), Leave(0, 2)],
        [DESCRIBED, Enter(0, 0, 0), Leave(0, 1, inputs=(7,))],
        [DESCRIBED, Enter(0, 0, 0), Leave(0, 1, outputs=(7,))],
        [DESCRIBED, Enter(0, 0, 0, inputs=(7,))],
        [DESCRIBED, Enter(0, 0, 0, inputs=(7,), outermost=True)],
        [Module(0, "", "Net", "models.Net", parameters=(Member("weight", 7),)), Enter(0, 0, 0)],
        [Tensor(0, META), Derived(0, (7,))],
        [Derived(7, ())],
    ],
)
def test_what_no_event_introduced_is_refused(events: list[Event]) -> None:
    with pytest.raises(StreamError, match=r"event \d+ .*refers to"):
        assemble(EventStream(events))


def test_assembling_needs_no_torch() -> None:
    """Nor any package of an output format: a stream saved on a cluster is read on a laptop."""
    code = """
import sys
import recorder
from recorder.testing import sample_graphs
graphs = sample_graphs()
for graph in graphs.values():
    graph.lint()
    recorder.collapse(graph, 1).lint()
    recorder.loads(recorder.dumps(graph))
assert len(graphs) > 5
print([name for name in ("torch", "numpy", "pydot", "onnx", "rich", "click", "google.protobuf") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_attributes_are_the_node_s_own() -> None:
    """Equal attributes may be one object in a stream."""
    attributes = {"dim": 1}
    module = Module(0, "fc", "Linear", "torch.nn.Linear", leaf=True, attributes=attributes)
    events: list[Event] = [module, Op("relu", 0, 1, attributes=attributes), Op("relu", 1, 2, attributes=attributes)]
    events += [Op("Linear", 2, 3, module=0, call=call) for call in (0, 1)]
    stream = EventStream(events)
    for number, node in enumerate(assemble(stream).nodes):
        assert node.attributes == {"dim": 1}
        node.attributes["dim"] = number
    assert all(node.attributes == {"dim": 1} for node in assemble(stream).nodes)


@pytest.mark.slow
def test_assembling_is_linear_enough() -> None:
    """Twice the events cost twice the time, not four times."""

    def seconds(length: int) -> float:
        build = StreamBuilder()
        x = build.tensor((1, 8))
        with net([x], build=build) as call:
            for layer in range(length):
                x = build.op(f"{layer}", "Linear", [x], (1, 8))
            call.outputs = [x]
        start = time.process_time()
        assemble(build.stream)
        return time.process_time() - start

    seconds(1_000)
    assert min(seconds(40_000) for _ in range(2)) < 3 * min(seconds(20_000) for _ in range(2)) + 0.5


def test_one_tensor_that_a_leaf_returns_twice_is_one_output_and_the_next_is_counted_on() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        build.op("pool", "Pool", [x], (2, 4), (2, 1))
        last = build.stream._events.pop()
        assert isinstance(last, Op)
        first, second = last.outputs
        twice = msgspec.structs.replace(last, outputs=(first, first, second), output_names=("a", "b", "c"))
        build.append(twice)
        call.outputs = [first.tensor, first.tensor, second.tensor]
    graph = assemble(build.stream)
    pool = of(graph, "pool")
    assert names(pool.outputs) == ["pool:0", "pool:1"]
    assert [value.shape for value in pool.outputs] == [(2, 4), (2, 1)]
    assert pool.output_names == ("a", "c")
    assert names(graph.outputs) == names(graph.scopes[0].outputs) == ["pool:0", "pool:0", "pool:1"]
