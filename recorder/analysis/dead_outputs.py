"""Activations whose outputs say nothing: zeros alone, or the ends of what they can be. Read off their statistics."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from recorder.graph.core import Graph, Node, Value

__all__ = ["dead", "saturated"]

_FEWEST = 8
"""Of so many elements or more, chance does not make all alike."""

_SATURATED = 0.02
"""Where the mean slope is this part of the greatest one, hardly anything is left of a gradient."""

_RECTIFIERS = frozenset({
    "celu", "gelu", "glu", "hardshrink", "hardsigmoid", "hardswish", "mish", "quickgeluactivation", "relu", "relu6",
    "rrelu", "silu", "softplus", "softshrink", "threshold",
})  # fmt: skip

Stats = Mapping[str, Any]


def _sigmoid(stats: Stats, square: float) -> float:
    """The mean of x(1 - x), which is the slope, as a part of the greatest."""
    return float(stats["mean"] - square) / 0.25


def _tanh(stats: Stats, square: float) -> float:
    """The mean of 1 - x², which is the slope."""
    return 1.0 - square


def _relu6(stats: Stats, square: float) -> float:
    """The mean of x(6 - x), as a part of the greatest."""
    return float(6 * stats["mean"] - square) / 9


_SLOPES: dict[str, Callable[[Stats, float], float]] = {
    "sigmoid": _sigmoid,
    "hardsigmoid": _sigmoid,
    "tanh": _tanh,
    "hardtanh": _tanh,
    "relu6": _relu6,
}
"""How far an activation's values are from their ends; 0 if none is between them."""

_BOUNDS = {"min_val": -1.0, "max_val": 1.0, "arg1": -1.0, "arg2": 1.0}


def dead(graph: Graph) -> tuple[Node, ...]:
    """Activations that made nothing but zeros, whenever they were called, of something else: the first call of each."""
    return _always(graph, _is_dead)


def saturated(graph: Graph) -> tuple[Node, ...]:
    """Activations that made hardly anything but the ends of their range, whenever they were called."""
    return _always(graph, _is_saturated)


def _always(graph: Graph, holds: Callable[[Node], bool | None]) -> tuple[Node, ...]:
    """The first call of each module, and each function, of which something holds in all calls that tell."""
    told: dict[object, list[tuple[Node, bool]]] = {}
    for node in graph.nodes:
        found = holds(node)
        if found is not None:
            told.setdefault(node.name if node.fqn is None else ("", node.fqn), []).append((node, found))
    return tuple(calls[0][0] for calls in told.values() if all(found for _, found in calls))


def _is_dead(node: Node) -> bool | None:
    if _kind(node) not in _RECTIFIERS:
        return None
    _, stats = _output(node)
    if stats is None:
        return None
    return stats["zeros"] == 1 and not _zeros_alone(node.inputs[:1])


def _is_saturated(node: Node) -> bool | None:
    kind = _kind(node)
    slope = _SLOPES.get(kind)
    if slope is None or (
        kind == "hardtanh" and any(node.attributes.get(name, bound) != bound for name, bound in _BOUNDS.items())
    ):
        return None
    value, stats = _output(node)
    if value is None or stats is None or stats["nan"] or stats["inf"]:
        return None
    if kind == "relu6" and stats["zeros"] == 1:
        return False  # that is dead
    square = stats["norm"] ** 2 / math.prod(value.shape)
    return slope(stats, square) < _SATURATED


def _output(node: Node) -> tuple[Value | None, Stats | None]:
    for value in node.outputs:
        if "stats" in value.meta and math.prod(value.shape) >= _FEWEST:
            return value, value.meta["stats"]
    return None, None


def _zeros_alone(values: tuple[Value, ...]) -> bool:
    return any("stats" in value.meta and value.meta["stats"]["zeros"] == 1 for value in values)


def _kind(node: Node) -> str:
    return node.op_type.lower().rstrip("_")
