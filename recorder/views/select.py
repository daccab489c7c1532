"""A part of a graph: `select` shows it alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from recorder.errors import did_you_mean
from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope
from recorder.graph.regions import entering, holders, leaving
from recorder.views.copies import Copies
from recorder.views.matching import by_name
from recorder.views.steps import derived

__all__ = ["select"]

Place: TypeAlias = str | Node | Scope
"""A node, or everything in a scope; or a pattern of names of nodes and scopes, in which ``*`` is any characters."""


def select(
    graph: Graph,
    *,
    scope: Place | None = None,
    around: Place | None = None,
    radius: int = 1,
    between: tuple[Place, Place] | None = None,
    ancestors: Place | None = None,
    descendants: Place | None = None,
) -> Graph:
    """Show a part of a graph, by one of its arguments; for more than one, select from what was selected.

    Tensors that come from what is not shown become inputs of the view, and those that go there or were returned are its
    outputs. Between nodes that are shown there are the same edges as before. Only with ``around``, a path can leave the
    part and come back; it then ends in an output of the view, and goes on from an input.

    Args:
        graph: any graph, views too.
        scope: everything in a scope, whose name and type the view is called by.
        around: a place, and what is near it.
        radius: for ``around``, how many edges away.
        between: two places, and every path from the first to the second.
        ancestors: a place, and all that it depends on.
        descendants: a place, and all that depends on it.

    Raises:
        ValueError: nothing, or more than one thing, was asked for, or there is no such place.
    """
    asked = {"scope": scope, "around": around, "between": between, "ancestors": ancestors, "descendants": descendants}
    given = [name for name, place in asked.items() if place is not None]
    if len(given) != 1:
        raise ValueError(f"select one part by one of {', '.join(asked)}, not by {' and '.join(given) or 'nothing'}")
    if radius < 0:
        raise ValueError(f"radius is {radius}: it counts edges, from 0")
    named = [scope, around, ancestors, descendants, *(between or ())]
    return derived(graph, _Select(given[0], tuple(_name(place) for place in named if place is not None), radius))


@dataclass(frozen=True, slots=True)
class _Select:
    how: str
    places: tuple[str, ...]
    radius: int

    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        found = [_nodes_at(graph, place, scopes_only=self.how == "scope") for place in self.places]
        if self.how == "around":
            kept = _reached(found[0], lambda node: [*node.predecessors(), *node.successors()], self.radius)
        elif self.how == "ancestors":
            kept = _reached(found[0], Node.predecessors)
        elif self.how == "descendants":
            kept = _reached(found[0], Node.successors)
        elif self.how == "between":
            kept = _reached(found[0], Node.successors) & _reached(found[1], Node.predecessors)
        else:
            kept = set(found[0])
        part = _part(graph, kept)
        if self.how == "scope":
            part.name = _called(graph, self.places[0])
        return part


def _name(place: Place) -> str:
    return place if isinstance(place, str) else place.name


def _nodes_at(graph: Graph, pattern: str, scopes_only: bool) -> list[Node]:
    """The nodes of that name, and those in a scope of that name."""
    fits = by_name(pattern, _names(graph))
    inside: set[int] = set()
    for scope in graph.scopes:
        if fits(scope.name) or (scope.parent is not None and id(scope.parent) in inside):
            inside.add(id(scope))
    found = [
        node
        for node in graph.nodes
        if (node.scope is not None and id(node.scope) in inside)
        or (fits(node.name) and (not scopes_only or "collapsed" in node.meta))
    ]
    if not found:
        what = "scope" if scopes_only else "node or scope"
        near = did_you_mean(pattern, [scope.name for scope in graph.scopes] if scopes_only else _names(graph))
        raise ValueError(f"there is no {what} {pattern!r}{near or f'; among the names are: {_some_names(graph)}'}")
    return found


def _called(graph: Graph, pattern: str) -> str:
    """What a part is called: by the name and the type of the one call that is shown; as the graph, if it is several."""
    fits = by_name(pattern, _names(graph))
    places: list[Scope | Node] = [*graph.scopes, *graph.nodes]
    places = [place for place in places if fits(place.name)]
    if len(places) != 1 or places[0].name == places[0].op_type:
        return graph.name
    return f"{places[0].name} {places[0].op_type}".strip()


def _some_names(graph: Graph) -> str:
    names = _names(graph)
    return ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "") if names else "none"


def _names(graph: Graph) -> list[str]:
    return [scope.name for scope in graph.scopes] + [node.name for node in graph.nodes]


def _reached(start: Iterable[Node], nearby: Callable[[Node], Iterable[Node]], steps: int | None = None) -> set[Node]:
    """All that is up to so many steps away, itself included."""
    reached = set(start)
    border = list(reached)
    while border and steps != 0:
        border = [*dict.fromkeys(near for node in border for near in nearby(node) if near not in reached)]
        reached.update(border)
        steps = None if steps is None else steps - 1
    return reached


def _part(graph: Graph, kept: set[Node]) -> Graph:
    """Some nodes of a graph, and what goes in and out."""
    nodes = [node for node in graph.nodes if node in kept]
    given, returned = {id(v) for v in graph.inputs}, {id(v) for v in graph.outputs}
    used = list({id(v): v for node in nodes for v in node.inputs}.values())
    given |= {id(value) for value in entering(nodes) if value.producer is not None}
    inputs = {id(value): value for value in used if id(value) in given}
    outputs = [*leaving(nodes, returned), *(value for value in graph.outputs if id(value) in inputs)]
    copies = Copies()
    for value in inputs.values():
        if value.producer is not None:
            copies.value(value).role = "input"
    initializers = [value for value in used if value.role in ("parameter", "buffer") and id(value) not in inputs]
    return copies.graph(
        graph,
        [copies.node(node) for node in nodes],
        holders(graph, nodes),
        inputs=inputs.values(),
        outputs=outputs,
        initializers=[v for v in graph.initializers if v in set(initializers)],
    )
