"""The ends of long rows, with an ellipsis for what is between: `abridged`, for where nothing else makes a graph small.

What follows each other in time may be one node without a cycle, as a closed module is. Such a node is no call: it is of
kind "function", is named after the first and the last of what it stands for, and says of how many.
"""

from dataclasses import dataclass

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope
from recorder.graph.names import Namespace
from recorder.graph.regions import entering, leaving
from recorder.views.copies import Copies
from recorder.views.repeats import children_of
from recorder.views.steps import derived

__all__ = ["abridged"]


KINDS = 3
"""Of what is hidden, so many are named."""


def abridged(graph: Graph, nodes: int) -> Graph:
    """A view of at most so many nodes, if the first and the last of each row are so few: of the siblings in a scope,
    as many are shown at either end as there is room for, and those between are one node.
    """
    return derived(graph, _Abridge(nodes))


@dataclass(frozen=True, slots=True)
class _Abridge:
    nodes: int

    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        rows = children_of(graph)
        longest = max(map(len, rows.values()), default=0)
        low, high = 1, max(1, longest // 2)
        while low < high:
            ends = (low + high + 1) // 2
            low, high = (ends, high) if _shown(rows, ends) <= self.nodes else (low, ends - 1)
        return _contracted(graph, _hidden(rows, low))


Rows = dict[int, list[Node | Scope]]


def _kept(row: list[Node | Scope], ends: int) -> list[Node | Scope]:
    """Both ends of a row; all of it if only one would be hidden."""
    return row if len(row) <= 2 * ends + 1 else [*row[:ends], *row[-ends:]]


def _shown(rows: Rows, ends: int) -> int:
    count = 0
    waiting = [id(None)]
    while waiting:
        row = rows.get(waiting.pop(), [])
        kept = _kept(row, ends)
        count += sum(isinstance(place, Node) for place in kept) + (len(kept) < len(row))
        waiting += [id(place) for place in kept if isinstance(place, Scope)]
    return count


def _hidden(rows: Rows, ends: int) -> dict[int, int]:
    """By the id of a place that is hidden, the number of the node that stands for it."""
    found: dict[int, int] = {}
    waiting = [(id(None), -1)]
    while waiting:
        key, around = waiting.pop()
        row = rows.get(key, [])
        kept = set(map(id, _kept(row, ends)))
        for place in row:
            number = around if around >= 0 else key if id(place) not in kept else -1
            if number >= 0:
                found[id(place)] = number
            if isinstance(place, Scope):
                waiting.append((id(place), number))
    return found


def _contracted(graph: Graph, hidden: dict[int, int]) -> Graph:
    groups: dict[int, list[Node]] = {}
    for node in graph.nodes:
        groups.setdefault(hidden.get(id(node), id(node)), []).append(node)
    names = Namespace()
    for node in graph.nodes:
        if id(node) not in hidden:
            names.unique(node.name)
    copies = Copies()
    returned = {id(value) for value in graph.outputs}
    nodes = []
    for members in groups.values():
        if id(members[0]) not in hidden:
            nodes.append(copies.node(members[0]))
            continue
        row = _outermost(members[0], hidden), _outermost(members[-1], hidden)
        around = row[0].scope if isinstance(row[0], Node) else row[0].parent
        count = sum(_operations(node, hidden) for node in members)
        kinds = dict.fromkeys(_outermost(node, hidden).op_type or "…" for node in members)
        view = Node(
            names.unique(f"{row[0].name} … {row[1].name}"), "function", _in_words(list(kinds)), "", None, None,
            copies.scope(around), copies.values(entering(members)), copies.values(leaving(members, returned)),
            meta={"collapsed": count},
        )  # fmt: skip
        nodes.append(view)
    return copies.graph(graph, nodes, [scope for scope in graph.scopes if id(scope) not in hidden])


def _in_words(kinds: list[str]) -> str:
    """``… getitem, Sequential, mul …``: the first few kinds of what is hidden."""
    return f"… {', '.join(kinds[:KINDS])} …"


def _outermost(node: Node, hidden: dict[int, int]) -> Node | Scope:
    place: Node | Scope = node
    around = node.scope
    while around is not None and id(around) in hidden:
        place, around = around, around.parent
    return place


def _operations(node: Node, hidden: dict[int, int]) -> int:
    """For how many operations a hidden node stands, with how often the hidden scopes around it were there."""
    count = int(node.meta.get("collapsed", 1)) * int(node.meta.get("repeats", 1))
    scope = node.scope
    while scope is not None and id(scope) in hidden:
        count *= int(scope.meta.get("repeats", 1))
        scope = scope.parent
    return count
