"""Gradients that shrink and grow on the way through a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from recorder.analysis.gradient_places import Place, captions, told_of
from recorder.graph.core import Node

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


def shrunk_and_grown(places: Sequence[Place]) -> tuple[tuple[LayerGradient, ...], tuple[LayerGradient, ...]]:
    """Those that vanished and those that exploded, of places in the order of backward.

    A function is named where no call of a module around it is: it is a part of that.
    """
    starts = _starts(places)
    faults: list[tuple[Place, LayerGradient]] = []
    named: set[int] = set()
    for place in sorted(places, key=_is_function):
        norm = _norm(place)
        begun = starts.get(told_of(place)["pass"])
        if norm is None or begun is None or begun[0] > told_of(place)["order"] or begun[1] == 0:
            continue
        if begun[1] / FACTOR < norm < begun[1] * FACTOR:
            continue
        if _is_function(place) and place.scope is not None:  # type: ignore[union-attr]
            if any(id(scope) in named for scope in place.scope.ancestors()):  # type: ignore[union-attr]
                continue
        elif not isinstance(place, Node):
            named.add(id(place))
        faults.append((place, LayerGradient(place.name, norm, norm / begun[1])))
    faults.sort(key=lambda fault: told_of(fault[0])["order"])
    return (
        tuple(fault for _, fault in faults if fault.ratio < 1),
        tuple(fault for _, fault in faults if fault.ratio > 1),
    )


def _starts(places: Sequence[Place]) -> dict[int, tuple[int, float]]:
    """Where the network ends, for each backward pass: the order of the first call of a module that was reached with
    more than one element, and its norm. What functions do after that is the loss. Where no module was called, it is the
    first function.
    """
    starts: dict[int, tuple[int, float]] = {}
    for place in sorted(places, key=_is_function):
        norm = _norm(place)
        if norm is not None:
            told = told_of(place)
            starts.setdefault(told["pass"], (told["order"], norm))
    return starts


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
