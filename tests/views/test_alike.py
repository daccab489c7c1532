"""Figures of what is drawn once for several: of every repetition, whatever views are made of one another."""

import math
import re
from collections.abc import Callable, Iterable

import pytest

import recorder
from recorder import Graph, Node, Scope, assemble, collapse, fold, select
from recorder.figures import FIGURES
from recorder.testing import StreamBuilder

TIMES = 6
MEASURED: dict[str, Callable[[Iterable[float]], float]] = {
    "time": sum, "backward_time": sum, "not_finite": sum, "gradient": max, "value_norm": max, "value_largest": max,
    "zeros": max,
}  # fmt: skip


def stacked(pairs: bool = False) -> Graph:
    """Layers, each with an inner module, whose figures are all different; or two kinds of them that take turns."""
    build = StreamBuilder("Net")
    x = build.tensor((2, 4))
    with build.call("", "Net", [x]) as net:
        for number in range(TIMES):
            shifted = pairs and number % 2
            with build.call(f"layer.{number}", "Layer", [x]) as layer:
                with build.call(f"layer.{number}.mlp", "Mlp", [x]) as mlp:
                    x = build.op(f"layer.{number}.mlp.fc", "Linear", [x], (2, 4), weight=(4, 4))
                    x = build.op(f"layer.{number}.mlp.act", "Tanh" if shifted else "ReLU", [x], (2, 4))
                    mlp.outputs = [x]
                layer.outputs = [x]
        net.outputs = [x]
    graph = assemble(build.stream)
    places: list[Node | Scope] = [*graph.nodes, *graph.scopes]
    for at, place in enumerate(places):
        place.duration_ns, place.backward_ns = 1000 + 7 * at, 10 + at * at
        gradient = {"shape": [2, 4], "dtype": "float32", "norm": 1.0 + (5 * at) % 11, "largest": 1.0, "zeros": 0.0}
        arrived = [{**gradient, "nan": 0, "inf": 0}]
        place.meta["backward"] = {"passes": 1, "pass": 0, "order": at, "arrived": arrived, "left": [None]}
        for value in place.outputs:
            value.meta["stats"] = {
                "norm": 2.0 + at, "largest": 1.0, "mean": 0.0, "nan": 0, "inf": 0, "zeros": 0.01 * at,
            }  # fmt: skip
    return graph


VIEWS = {
    "folded": fold,
    "collapsed": lambda graph: collapse(fold(graph), 1),
    "inner": lambda graph: collapse(fold(graph), 2),
    "part": lambda graph: fold(select(graph, scope="Net")),
    "twice": lambda graph: fold(fold(graph)),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("figure", MEASURED)
def test_a_figure_is_that_of_all_repetitions(view: str, figure: str) -> None:
    graph = stacked()
    places: list[Node | Scope] = [*graph.nodes, *graph.scopes]
    named = {place.name: place for place in places}
    made = VIEWS[view](graph)
    seen = 0
    shown: list[Node | Scope] = [*made.nodes, *made.scopes]
    for place in shown:
        if match := re.fullmatch(r"layer\.0(.*)", place.name):
            each = [FIGURES[figure].value(graph, named[f"layer.{n}{match[1]}"]) for n in range(TIMES)]
            assert FIGURES[figure].of_all(made, place) == MEASURED[figure](value for value in each if value is not None)
            seen += 1
    assert seen


def test_what_is_not_known_of_one_makes_a_sum_unknown_and_no_largest() -> None:
    graph = stacked()
    last = next(node for node in graph.nodes if node.name == f"layer.{TIMES - 1}.mlp.fc")
    last.duration_ns = None
    largest = max(
        node.meta["backward"]["arrived"][0]["norm"]
        for node in graph.nodes
        if node.name.endswith("fc") and node is not last
    )
    del last.meta["backward"]
    view = fold(graph)
    assert FIGURES["time"].of_all(view, view.nodes[0]) is None
    assert FIGURES["gradient"].of_all(view, view.nodes[0]) == largest


def test_one_that_is_not_finite_is_seen() -> None:
    graph = stacked()
    graph.nodes[-2].meta["backward"]["arrived"][0]["nan"] = 1
    view = fold(graph)
    assert math.isnan(FIGURES["gradient"].of_all(view, view.nodes[0]) or 0.0)


def test_pairs_have_the_time_of_both_of_all() -> None:
    graph = stacked(pairs=True)
    layers = [scope for scope in graph.scopes if re.fullmatch(r"layer\.\d", scope.name)]
    view = fold(graph)
    group = next(scope for scope in view.scopes if len(scope.meta.get("repeated", ())) == TIMES)
    assert group.meta["repeats"] == TIMES // 2
    assert FIGURES["time"].of_all(view, group) == sum(layer.duration_ns or 0 for layer in layers)


def test_a_loaded_view_does_not_know_of_the_others() -> None:
    view = recorder.loads(recorder.dumps(fold(stacked()), timing=True))
    assert FIGURES["time"].of_all(view, view.nodes[0]) is None
    assert FIGURES["parameters"].said(view, view.scopes[-1]) is not None


@pytest.mark.parametrize(
    ("colour_by", "told"),
    [("time", "sum of all repetitions"), ("gradient", "largest of the repetitions"), ("parameters", "of each")],
)
def test_a_legend_says_whose_figures_they_are(colour_by: str, told: str) -> None:
    graph = stacked()
    assert told in str(recorder.export(graph, "dot", colour_by=colour_by, fold=True))
    assert told not in str(recorder.export(graph, "dot", colour_by=colour_by, fold=False, depth=None))
