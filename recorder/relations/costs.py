"""What two models cost, side by side: parameters, FLOPs and activations, as far as each recording tells."""

from collections.abc import Iterator
from typing import NamedTuple

from recorder.figures import FIGURES, bytes_in_words, count_in_words
from recorder.graph.core import Graph
from recorder.graph.outline import Outline

__all__ = ["Cost", "costs_of"]


class Cost(NamedTuple):
    """A figure before and after; None is not known. ``lower`` says of each whether it is a lower bound, as where an
    operation has no formula.
    """

    name: str
    a: int | None
    b: int | None
    lower: tuple[bool, bool] = (False, False)

    def __str__(self) -> str:
        words = bytes_in_words if self.name == "activations" else count_in_words
        told = ["unknown" if n is None else f"{'≥ ' * low}{words(n)}" for n, low in zip((self.a, self.b), self.lower)]
        if self.a == self.b:
            return f"{self.name} {told[0]}"
        percent = ""
        if self.a and self.b is not None:
            change = (self.b - self.a) / self.a
            percent = f" ({change:+.1%})" if abs(change) >= 0.0005 else f" ({self.b - self.a:+,})"
        return f"{self.name} {told[0]} → {told[1]}{percent}"


def costs_of(a: Outline, b: Outline) -> Iterator[Cost]:
    """The costs of two architectures, without what happens outside of them, such as a loss."""
    pair = _parameters(a.graph), _parameters(b.graph)
    yield Cost("parameters", *pair)
    for figure, name in (("flops", "FLOPs"), ("activation_bytes", "activations")):
        (one, low), (other, lower) = _sum(a, figure), _sum(b, figure)
        yield Cost(name, one, other, (low, lower))


def _parameters(graph: Graph) -> int:
    total = 0
    for value in graph.initializers:
        if value.role == "parameter":
            elements = 1
            for size in value.shape:
                elements *= size
            total += max(elements, 0)
    return total


def _sum(outline: Outline, figure: str) -> tuple[int | None, bool]:
    """Of all places that stand in nothing, and whether any of it is not known."""
    found = [outline.graph.metrics.get(place, {}) for place in outline.children[None]]
    told = [int(metrics[figure]) for metrics in found if figure in metrics]
    unknown = any(FIGURES[figure].is_least(metrics) for metrics in found)
    if not told and found:
        return None, False
    return sum(told), unknown or len(told) < len(found)
