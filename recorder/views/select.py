"""A part of a graph: `select` shows some of it, `hide` leaves out what only hands tensors on."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.views.copies import Copies
from recorder.views.matching import Patterns, any_of, by_name
from recorder.views.steps import derived

__all__ = ["Kind", "hide", "select"]

Place: TypeAlias = str | Node | Scope
"""A node, or everything in a scope; or a pattern of names of nodes and scopes, in which ``*`` is any characters."""

Kind: TypeAlias = Literal["identities", "views", "constants"]
"""What may be hidden; see `hide`."""


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
        scope: everything in a scope.
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


def hide(
    graph: Graph,
    kinds: Kind | Iterable[Kind] | None = None,
    *,
    fqn: Patterns | None = None,
    op_type: Patterns | None = None,
) -> Graph:
    """Leave out nodes that only hand a tensor on: what used theirs uses the tensor that they were given.

    Paths between other nodes are neither added nor lost. So a node that joins tensors is never hidden, whatever was
    asked for, nor one that failed. Scopes in which nothing is left are not shown either.

    Args:
        graph: any graph, views too.
        kinds: some of ``"identities"``, what returned the very tensor that it was given, as Identity and Dropout in
            eval do; ``"views"``, what shows the same elements in another shape or order; ``"constants"``, what depends
            on no input, no parameter and no random number, such as ``arange``. Identities if nothing at all is asked
            for.
        fqn: patterns of the qualified names of other modules to hide.
        op_type: patterns of the types of other modules and functions.

    Raises:
        ValueError: there is no such kind.
    """
    nothing_said = kinds is None and fqn is None and op_type is None
    chosen = ("identities",) if nothing_said else (kinds,) if isinstance(kinds, str) else tuple(kinds or ())
    for kind in chosen:
        if kind not in get_args(Kind):
            raise ValueError(f"{kind!r} is none of the kinds that can be hidden: {', '.join(get_args(Kind))}")
    return derived(graph, _Hide(frozenset(chosen), any_of(fqn, op_type)))


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
        return _part(graph, kept)


@dataclass(frozen=True, slots=True)
class _Hide:
    kinds: frozenset[str]
    named: Callable[[Scope | Node], bool]

    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        returned = {id(value) for value in graph.outputs}
        constant: set[int] = set()  # values that depend on no input and no parameter
        instead: dict[int, Value] = {}  # for an output of a hidden node, what that was given
        gone: set[int] = set()
        without: set[int] = set()  # values of hidden nodes that were given nothing

        for node in graph.nodes:
            data = {id(v): v for v in node.inputs if v.role not in ("parameter", "buffer")}
            is_constant = (
                len(data) == len({id(v) for v in node.inputs})
                and all(v.role == "constant" or id(v) in constant for v in data.values())
                and not RANDOM(node.op_type)
            )
            if is_constant:
                constant |= {id(value) for value in node.outputs}
            if node.error is not None:
                continue
            if is_constant and "constants" in self.kinds and not any(id(v) in returned for v in node.outputs):
                gone.add(id(node))
                without |= {id(value) for value in node.outputs}
            elif len(data) == 1 and node.outputs and self._asked(node):
                (given,) = data.values()
                if id(given) in without:
                    continue
                gone.add(id(node))
                instead |= dict.fromkeys(map(id, node.outputs), instead.get(id(given), given))
        copies = Copies(lambda value: instead.get(id(value), value))
        nodes = []
        for node in graph.nodes:
            if id(node) not in gone:
                copy = copies.node(node)
                copy.inputs = copies.values(value for value in node.inputs if id(value) not in without)
                nodes.append(copy)
        kept = (node for node in graph.nodes if id(node) not in gone)
        return copies.graph(graph, nodes, _left(graph, kept))

    def _asked(self, node: Node) -> bool:
        return (
            ("identities" in self.kinds and _is_identity(node))
            or ("views" in self.kinds and node.op_type in VIEWS)
            or self.named(node)
        )


VIEWS = frozenset({
    "Flatten", "H", "T", "Unflatten", "adjoint", "broadcast_to", "contiguous", "expand", "expand_as", "flatten", "mH",
    "mT", "moveaxis", "movedim", "permute", "ravel", "reshape", "reshape_as", "squeeze", "swapaxes", "swapdims", "t",
    "transpose", "unflatten", "unsqueeze", "view", "view_as",
})  # fmt: skip
"""Functions and modules that show the same elements in another shape or order. What takes elements apart or picks some
of them, such as ``chunk`` and indexing, is none: it matters which."""

RANDOM = re.compile(
    "rand|normal|uniform|bernoulli|multinomial|poisson|exponential|geometric|cauchy|dropout", re.IGNORECASE
).search
"""What draws random numbers, in place or not."""


def _is_identity(node: Node) -> bool:
    """Whether a node returned the very tensor that it was given."""
    return node.op_type == "Identity" or bool(node.outputs and all(v.meta.get("handed_on") for v in node.outputs))


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
        raise ValueError(f"there is no {what} {pattern!r}; among the names are: {_some_names(graph)}")
    return found


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
    entering = {id(v): v for v in used if id(v) in given or (v.producer is not None and v.producer not in kept)}
    leaving = [
        value
        for node in nodes
        for value in node.outputs
        if id(value) in returned or any(user not in kept for user, _ in value.uses)
    ]
    leaving += [value for value in graph.outputs if id(value) in entering]
    copies = Copies()
    for value in entering.values():
        if value.producer is not None:
            copies.value(value).role = "input"
    initializers = [value for value in used if value.role in ("parameter", "buffer") and id(value) not in entering]
    return copies.graph(
        graph,
        [copies.node(node) for node in nodes],
        _left(graph, nodes),
        inputs=entering.values(),
        outputs=leaving,
        initializers=[v for v in graph.initializers if v in set(initializers)],
    )


def _left(graph: Graph, nodes: Iterable[Node]) -> Iterator[Scope]:
    """The scopes that hold some of the nodes."""
    held: set[int] = set()
    for node in nodes:
        scope = node.scope
        while scope is not None and id(scope) not in held:
            held.add(id(scope))
            scope = scope.parent
    return (scope for scope in graph.scopes if id(scope) in held)
