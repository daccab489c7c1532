"""The rows of a table: a graph's calls in execution order, a scope before what is in it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from recorder.analysis.metrics import Measured
from recorder.figures import FIGURES, arrived_norm, is_several
from recorder.graph.core import Graph, Metrics, Node, Scope, Value
from recorder.graph.holdings import INSIDE
from recorder.graph.regions import entering, leaving

__all__ = ["Row", "rows_of"]


class Row(NamedTuple):
    """One call of a module, or of a function.

    ``name`` is unique in the graph, and ``label`` what is left of it where the call around it is shown above.
    ``parameters`` counts elements, those of a tensor that is used twice once; ``shared`` says that every one of them
    was in a row before, which neither held this one nor was held by it. ``metrics`` are those of
    `recorder.analysis.metrics`. Durations are in nanoseconds, None where nothing was measured. ``gradient`` is the norm
    of what arrived, NaN if that was not finite, None if it was not measured. A row of a folded table may stand for
    several calls, ``repeats`` of them, and says of the first one what is the same of each; ``of_all`` has, by their
    names, the figures that are not, of all of them: the sum or the largest. ``unregistered``: no recorded model holds
    the module, which was called inside of one.
    """

    depth: int
    name: str
    label: str
    op_type: str
    kind: str
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    attributes: dict[str, Any]
    parameters: int
    shared: bool
    metrics: Metrics
    duration_ns: int | None
    backward_ns: int | None
    gradient: float | None
    error: str | None
    repeats: int = 1
    unregistered: bool = False
    of_all: Mapping[str, float | None] = MappingProxyType({})


def rows_of(graph: Graph, figures: Measured, functions: bool) -> list[Row]:
    """One row for each module call, and for each call of a function if they are wanted."""
    inside: dict[int, list[Node]] = {}
    order: list[Scope | Node] = []
    for node in graph.nodes:
        around = [] if node.scope is None else [*node.scope.ancestors()]
        for scope in reversed(around):
            if id(scope) not in inside:
                inside[id(scope)] = []
                order.append(scope)
            inside[id(scope)].append(node)
        order.append(node)
    returned = {id(value) for value in graph.outputs}
    counted: set[int] = set()
    rows = []
    for place in order:
        nodes = [place] if isinstance(place, Node) else inside[id(place)]
        own = {id(v) for node in nodes for v in node.inputs if v.role == "parameter"}
        if isinstance(place, Scope) or place.kind == "module" or functions:
            shared = bool(own) and own <= counted
            rows.append(
                _row(place, nodes, returned, figures.of[id(place)], shared)._replace(of_all=_of_all(graph, place))
            )
        if isinstance(place, Node):
            counted |= own
    return rows


def _row(place: Scope | Node, nodes: list[Node], returned: set[int], metrics: Metrics, shared: bool) -> Row:
    around = place.scope if isinstance(place, Node) else place.parent
    inputs, outputs = _ends(place, nodes, returned)
    return Row(
        depth=0 if around is None else sum(1 for _ in around.ancestors()),
        name=place.name,
        label=_label(place, around) + (f" × {repeats}" if (repeats := place.meta.get("repeats", 1)) != 1 else ""),
        op_type=place.op_type,
        kind=place.kind if isinstance(place, Node) else "module",
        inputs=inputs,
        outputs=outputs,
        attributes=place.attributes,
        parameters=int(metrics.get("parameters", 0)),
        shared=shared,
        metrics=metrics,
        duration_ns=place.duration_ns,
        backward_ns=place.backward_ns,
        gradient=arrived_norm(place),
        error=place.error,
        repeats=repeats,
        unregistered=place.meta.get("unregistered") == INSIDE,
    )


def _of_all(graph: Graph, place: Scope | Node) -> dict[str, float | None]:
    if not is_several(place):
        return {}
    return {name: figure.of_all(graph, place) for name, figure in FIGURES.items() if figure.repeated != "each"}


def _ends(place: Scope | Node, nodes: list[Node], returned: set[int]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """What a call was given and returned, in its order. Where a scope does not tell, as of an older recording, what
    crossed its border.
    """
    if isinstance(place, Scope) and (place.inputs or place.outputs):
        return place.inputs, place.outputs
    given = tuple(v for v in entering(nodes) if v.role not in ("parameter", "buffer"))
    return given, place.outputs if isinstance(place, Node) else tuple(leaving(nodes, returned))


def _label(place: Scope | Node, around: Scope | None) -> str:
    """What is left of a name where the call around it is shown above: ``0`` of ``critic.0#1`` in ``critic#1``."""
    if around is None or place.fqn is None:
        return place.name if around is None or around.fqn == "" else place.name.removeprefix(f"{around.name}.")
    label = place.fqn.removeprefix(f"{around.fqn}.") if around.fqn else place.fqn or place.name
    return label if place.call == around.call or not place.fqn else f"{label}#{place.call}"
