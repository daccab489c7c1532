"""Where one box would stand for all, or hundreds would stand there: something in between."""

from collections.abc import Sequence
from random import Random

import networkx as nx
import pytest
from support.networks import network

from recorder import Graph, assemble, collapse, readable
from recorder.graph.document import dumps, loads
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
                width = 8 + unlike * expert
                h = build.op(f"e.{expert}.up", "Linear", [x], (2, width), weight=(width, 4))
                h = build.op(f"e.{expert}.down", "Linear", [h], (2, 4), weight=(4, width))
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
    graph = experts(200, unlike=True)
    view = readable(graph)
    (hidden,) = [node for node in view.nodes if "between" in node.meta]
    assert (hidden.kind, hidden.fqn, hidden.call) == ("function", None, None)
    turns = hidden.meta["collapsed"] // 3
    assert hidden.op_type == f"Expert, add × {turns}, unlike"
    first, last = hidden.meta["between"]
    shown = [node.name for node in view.nodes]
    assert shown[0] == "gate"
    assert int(first.removeprefix("e.")) + turns == 200 - sum(
        name.startswith("e.") for name in shown[shown.index(hidden.name) + 1 :]
    )
    assert last == next(node.name for node in reversed(graph.nodes) if node.op_type == "add" and node.name not in shown)
    assert view.nodes[-2].op_type == "Expert"


def test_functions_without_any_module_are_the_ends_of_their_row() -> None:
    view = readable(functions(500))
    view.lint()
    assert 8 <= len(view.nodes) <= 50
    assert [node.op_type for node in view.nodes if "between" in node.meta] == [f"mul × {500 - len(view.nodes) + 1}"]


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


def chain(kinds: Sequence[str], widths: Sequence[int], fqn: str = "") -> Graph:
    """Modules one after another, each of its own width."""
    build = StreamBuilder("Chain")
    x = build.tensor((1, 2))
    with build.call("", "Chain", [x]) as net:
        for number, (kind, width) in enumerate(zip(kinds, widths, strict=True)):
            x = build.op(f"{fqn}{number}", kind, [x], (1, width), weight=(width, 2))
        net.outputs = [x]
    return assemble(build.stream)


def between(view: Graph) -> list[tuple[str, list[str]]]:
    return [(node.op_type, node.meta["between"]) for node in view.nodes if "between" in node.meta]


def test_siblings_of_one_type_are_a_group_with_their_count_and_the_ends_are_shown() -> None:
    view = readable(chain(["Linear"] * 300, range(3, 303)))
    assert between(view) == [("Linear × 276, unlike", ["12", "287"])]
    assert [node.fqn for node in view.nodes if node.fqn] == [*map(str, range(12)), *map(str, range(288, 300))]
    assert sum(node.meta.get("collapsed", 1) for node in view.nodes) == 300


def test_types_that_take_turns_are_a_group_of_pairs() -> None:
    view = readable(chain(["Linear", "ReLU"] * 60, range(3, 123)))
    assert between(view) == [("Linear, ReLU × 48, unlike", ["12", "107"])]


def test_two_rows_are_two_groups() -> None:
    kinds = ["Linear", "ReLU"] * 40 + ["Conv", "Norm", "Tanh"] * 40
    view = readable(chain(kinds, range(3, 203)))
    assert [words for words, _ in between(view)] == ["Linear, ReLU × 36, unlike", "Conv, Norm, Tanh × 38, unlike"]
    view.lint()


def test_a_row_without_any_order_is_shown_by_its_ends() -> None:
    kinds = ["Linear", "ReLU", "Norm", "Drop", "Tanh"]
    random = Random(0)
    view = readable(chain([random.choice(kinds) for _ in range(300)], range(3, 303)))
    assert 8 <= len(view.nodes) <= 50
    assert any(words.startswith("…") for words, _ in between(view))


def test_modules_of_many_functions_each_are_opened_rather_than_four_boxes() -> None:
    build = StreamBuilder("Few")
    x = build.tensor((2, 4))
    with build.call("", "Few", [x]) as net:
        for block in range(4):
            with build.call(f"b{block}", "Block", [x]) as call:
                for _ in range(30 + block):
                    x = build.op(None, "mul", [build.op(None, "sin", [x], (2, 4)), x], (2, 4))
                call.outputs = [x]
        net.outputs = [x]
    view = readable(assemble(build.stream))
    assert 8 <= len(view.nodes) <= 50
    assert [words for words, _ in between(view)] == [f"sin, mul × {28 + block}" for block in range(4)]


def test_a_view_with_an_ellipsis_comes_back_from_its_file() -> None:
    view = readable(chain(["Linear"] * 300, range(3, 303)))
    assert loads(dumps(view)) == view


def test_of_a_crowd_of_edges_fewer_nodes_are_shown() -> None:
    """Each layer takes what all before it made."""
    build = StreamBuilder("Dense")
    made = [build.tensor((1, 4))]
    with build.call("", "Dense", made) as net:
        for number in range(40):
            made.append(build.op(f"{number}", "Layer", made, (1, 4), weight=(4, 4 * number + 4)))
        net.outputs = [made[-1]]
    graph = assemble(build.stream)
    view = readable(graph)
    view.lint()
    assert sum(1 for _ in graph.edges()) > 700
    assert 8 <= len(view.nodes) <= 40
    assert sum(1 for _ in view.edges()) < 250
    assert between(view) == [
        (f"Layer × {41 - len(view.nodes)}, unlike", view.nodes[len(view.nodes) // 2].meta["between"])
    ]
