"""Tensors that come or go side by side are one box."""

from recorder import Graph, assemble, readable
from recorder.testing import StreamBuilder
from recorder.views.bundles import bundled


def joined(number: int) -> Graph:
    """Many inputs, all joined, and two that are not."""
    build = StreamBuilder("Join")
    many = [build.tensor((1, 1 + i % 3)) for i in range(number)]
    other, mask = build.tensor((1, 7)), build.tensor((1,), dtype="bool")
    with build.call("", "Join", [*many, other, mask]) as net:
        whole = build.op(None, "cat", [*many, mask], (1, 400))
        net.outputs = [build.op(None, "add", [whole, other], (1, 400))]
    return assemble(build.stream)


def split(number: int) -> Graph:
    build = StreamBuilder("Split")
    x = build.tensor((number, 3))
    with build.call("", "Split", [x]) as net:
        first = build.op(None, "unbind", [x], *[(3,)] * number)
        net.outputs = [build.op(None, "exp", [first], (3,)), *range(first + 1, first + number)]
    return assemble(build.stream)


def test_many_inputs_of_one_node_are_one() -> None:
    graph = joined(200)
    view = bundled(graph)
    view.lint()
    many, other, mask = view.inputs
    assert (many.shape, many.meta["repeats"]) == ((1, -1), 200), "sizes that differ are not told"
    assert (other.shape, mask.dtype) == ((1, 7), "bool")
    assert "repeats" not in other.meta
    assert view.input_names[0] == many.name == f"{graph.input_names[0]} … {graph.input_names[199]}"
    assert list(view.nodes[0].inputs) == [many, mask]
    assert len(graph.inputs) == 202, "the graph is as it was"


def test_a_few_are_told_one_by_one() -> None:
    graph = joined(8)
    assert bundled(graph) is graph


def test_many_outputs_of_one_node_are_one() -> None:
    view = readable(split(50))
    view.lint()
    assert len(view.outputs) == 2
    assert (view.outputs[1].shape, view.outputs[1].meta["repeats"], view.output_names[1]) == ((3,), 49, "1 … 49")
