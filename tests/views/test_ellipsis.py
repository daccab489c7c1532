"""Where one box would stand for all, or hundreds would stand there: something in between."""

import networkx as nx
import pytest
from support.networks import network

from recorder import Graph, assemble, collapse, readable
from recorder.testing import StreamBuilder
from recorder.views.ellipsis import abridged


def experts(number: int, unlike: bool) -> Graph:
    """All use the same tensor, and are added up."""
    build = StreamBuilder("Mixture")
    x = build.tensor((2, 4))
    with build.call("", "Mixture", [x]) as net:
        total = build.op("gate", "Linear", [x], (2, 4), weight=(4, 4))
        for expert in range(number):
            with build.call(f"e.{expert}", "Expert", [x]) as call:
                h = build.op(f"e.{expert}.up", "Linear", [x], (2, 8 + unlike * expert), weight=(8, 4))
                h = build.op(f"e.{expert}.down", "Linear", [h], (2, 4), weight=(4, 8))
                call.outputs = [h]
            total = build.op(None, "add", [total, h], (2, 4))
        net.outputs = [total]
    return assemble(build.stream)


def functions(number: int) -> Graph:
    build = StreamBuilder("Flat")
    x = build.tensor((2, 4))
    with build.call("", "Flat", [x]) as net:
        for _ in range(number):
            x = build.op(None, "mul", [x], (2, 4))
        net.outputs = [x]
    return assemble(build.stream)


@pytest.mark.parametrize("number", [9, 20, 40, 64, 200])
def test_unlike_experts_are_some_boxes_and_not_one(number: int) -> None:
    graph = experts(number, unlike=True)
    view = readable(graph)
    view.lint()
    assert 8 <= len(view.nodes) <= 90
    assert sum(node.meta.get("collapsed", 1) for node in view.nodes) == len(graph.nodes)


def test_what_is_hidden_is_named_and_counted_and_is_no_call() -> None:
    view = readable(experts(200, unlike=True))
    (hidden,) = [node for node in view.nodes if node.op_type.startswith("…")]
    assert (hidden.kind, hidden.fqn, hidden.call) == ("function", None, None)
    assert "Expert" in hidden.op_type
    assert hidden.meta["collapsed"] > 400
    assert view.nodes[0].name == "gate"
    assert view.nodes[-2].op_type == "Expert"


def test_functions_without_any_module_are_the_ends_of_their_row() -> None:
    view = readable(functions(500))
    view.lint()
    assert 8 <= len(view.nodes) <= 50
    assert len(readable(functions(60)).nodes) == 60, "a little more than there is room for is no reason to hide"


@pytest.mark.parametrize("room", [3, 7, 20])
def test_paths_are_the_same_with_an_ellipsis(room: int) -> None:
    graph = collapse(experts(30, unlike=True), 1)
    view = abridged(graph, room)
    view.lint()
    assert len(view.nodes) <= room
    before, after = nx.transitive_closure(network(graph)), nx.transitive_closure(network(view))
    shown = [node.name for node in view.nodes if not node.op_type.startswith("…")]
    assert {(a, b) for a, b in before.edges if a in shown and b in shown} <= set(after.edges)
    assert nx.is_directed_acyclic_graph(network(view))


def test_a_graph_that_fits_is_not_abridged() -> None:
    graph = collapse(experts(5, unlike=True), 1)
    assert abridged(graph, 90) == graph
