"""Places that follow each other as one node: `contracted`.

What follows each other in time may be one node without a cycle, as a closed module is. Such a node is no call: it is of
kind "function", is named after the first and the last of what it stands for, and says so in ``meta["between"]``.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeAlias

from recorder.graph.core import Graph, Node, Scope
from recorder.graph.names import Namespace
from recorder.graph.regions import entering, leaving
from recorder.views.copies import Copies

__all__ = ["Group", "Place", "contracted"]

Place: TypeAlias = Node | Scope


class Group(NamedTuple):
    """Siblings that follow each other, and what the node for them says of all nodes that are in them."""

    places: Sequence[Place]
    words: Callable[[Sequence[Node]], str]


def contracted(graph: Graph, groups: Iterable[Group]) -> Graph:
    """A graph with each group as one node."""
    group_of = {id(place): group for group in groups for place in group.places}
    for scope in graph.scopes:
        if id(scope.parent) in group_of:
            group_of[id(scope)] = group_of[id(scope.parent)]
    members: dict[int, list[Node]] = {}
    names = Namespace()
    for node in graph.nodes:
        if id(node.scope) in group_of:
            group_of[id(node)] = group_of[id(node.scope)]
        members.setdefault(id(group_of.get(id(node), node)), []).append(node)
        if id(node) not in group_of:
            names.unique(node.name)
    returned = {id(value) for value in graph.outputs}
    copies = Copies()
    nodes = []
    for inside in members.values():
        group = group_of.get(id(inside[0]))
        if group is None:
            nodes.append(copies.node(inside[0]))
            continue
        first, last = group.places[0], group.places[-1]
        view = Node(
            names.unique(f"{first.name} … {last.name}"), "function", group.words(inside), "", None, None,
            copies.scope(first.scope if isinstance(first, Node) else first.parent),
            copies.values(entering(inside)), copies.values(leaving(inside, returned)),
            meta={
                "collapsed": sum(_operations(node, group_of) for node in inside),
                "between": [first.name, last.name],
            },
        )  # fmt: skip
        nodes.append(view)
    return copies.graph(graph, nodes, [scope for scope in graph.scopes if id(scope) not in group_of])


def _operations(node: Node, group_of: dict[int, Group]) -> int:
    """For how many operations a node stands, with how often the hidden scopes around it were there."""
    count = int(node.meta.get("collapsed", 1)) * int(node.meta.get("repeats", 1))
    scope = node.scope
    while scope is not None and id(scope) in group_of:
        count *= int(scope.meta.get("repeats", 1))
        scope = scope.parent
    return count
