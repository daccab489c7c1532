"""Gradients that shrink and grow on the way through a network."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from recorder.analysis.gradient_places import Place, captions, told_of
from recorder.analysis.heads import starts_of
from recorder.graph.core import Graph, Node, Scope

__all__ = ["FACTOR", "LayerGradient", "shrunk_and_grown"]

FACTOR = 1000.0
"""By so much a gradient has to shrink to have vanished, or to grow to have exploded."""


@dataclass(frozen=True)
class LayerGradient:
    """A call whose gradient vanished or exploded: its norm, and that divided by the norm that it began with."""

    call: str
    norm: float
    ratio: float

    def __str__(self) -> str:
        return f"{self.call}: norm {self.norm:.3g}, {self.ratio:.3g} of what backward began with"


def shrunk_and_grown(
    graph: Graph, places: Sequence[Place]
) -> tuple[tuple[LayerGradient, ...], tuple[LayerGradient, ...]]:
    """Those that vanished and those that exploded, of places in the order of backward.

    A gradient has vanished where it stays so: on a side way, as that to the query of an attention or through a branch
    beside a residual, it may be small, and what the network computed before gets its gradient by another way. A
    function is named where no call of a module around it is, of which it is a part; one of weights alone, never.
    """
    of_weights = _of_weights(graph)
    places = [place for place in places if id(place) not in of_weights]
    starts = starts_of(graph, places, _norm)
    ratios: dict[int, float] = {}
    for place in places:
        norm, (order, start) = _norm(place), starts.get(told_of(place)["pass"], (0, 0.0))
        if norm is not None and order <= told_of(place)["order"]:
            ratios[id(place)] = norm / start if start > 0 else 0.0
    stays: dict[int, bool] = {}
    every: Iterable[Place] = chain(graph.nodes, graph.scopes)
    for one in every:  # so that what a node was given is known before it
        small = ratios.get(id(one), 1.0) <= 1 / FACTOR
        stays[id(one)] = small and all(stays[id(before)] for before in _before(one, ratios))
    vanished: list[tuple[int, LayerGradient]] = []
    exploded: list[tuple[int, LayerGradient]] = []
    named: set[int] = set()
    for place in sorted(places, key=_is_function):
        ratio = ratios.get(id(place), 1.0)
        if not (stays[id(place)] or ratio >= FACTOR):
            continue
        if isinstance(place, Scope):
            named.add(id(place))
        elif _is_function(place) and place.scope is not None and not named.isdisjoint(map(id, place.scope.ancestors())):
            continue
        found = vanished if stays[id(place)] else exploded
        found.append((told_of(place)["order"], LayerGradient(place.name, _norm(place) or 0.0, ratio)))
    return _in_order(vanished), _in_order(exploded)


def _of_weights(graph: Graph) -> set[int]:
    """Functions that compute something of weights alone, such as a transposed one: no part of the way."""
    found: set[int] = set()
    for node in graph.nodes:
        if node.kind == "function" and all(
            value.role in ("parameter", "buffer") or (value.producer is not None and id(value.producer) in found)
            for value in node.inputs
        ):
            found.add(id(node))
    return found


def _in_order(found: Iterable[tuple[int, LayerGradient]]) -> tuple[LayerGradient, ...]:
    return tuple(layer for _, layer in sorted(found, key=lambda one: one[0]))


def _before(place: Place, ratios: Mapping[int, float]) -> list[Node]:
    """The nearest nodes with a ratio that the gradient of a place goes on to."""
    found: list[Node] = []
    seen: set[int] = set()
    pending = _makers(place)
    for node in pending:
        if id(node) not in seen:
            seen.add(id(node))
            if id(node) in ratios:
                found.append(node)
            else:
                pending += _makers(node)
    return found


def _makers(place: Place) -> list[Node]:
    return [value.producer for value in place.inputs if value.requires_grad and value.producer is not None]


def _norm(place: Place) -> float | None:
    """Over all gradients that arrived; None where that is no measure: a single number, as a loss is, or not finite."""
    told = [caption for caption in captions(place, "arrived") if "norm" in caption]
    if not told or any(caption["nan"] or caption["inf"] for caption in told):
        return None
    if all(size == 1 for caption in told for size in caption["shape"]):
        return None
    return math.hypot(*(caption["norm"] for caption in told))


def _is_function(place: Place) -> bool:
    return isinstance(place, Node) and place.kind == "function"
