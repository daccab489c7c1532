"""How much of a graph there is room for: `readable` chooses a view by the number of nodes that it may have."""

from collections import Counter

from recorder.graph.core import Graph, Scope
from recorder.views.bundles import bundled
from recorder.views.collapse import collapse
from recorder.views.ellipsis import abridged
from recorder.views.fold import fold
from recorder.views.housekeeping import housekept
from recorder.views.matching import Where, is_module, levels

__all__ = ["ROOM", "drawn", "narrowed", "readable", "uncrowded"]

ROOM = 50
"""Nodes that a reader takes in, and for which a drawing has room by default: by looking at drawings of many models."""

FEWEST, LARGER = 8, 90
"""A drawing of fewer nodes says too little of a model that has more: rather than that it may be so large. Of another
room these are the same shares.
"""

CROWD = 5
"""Edges for each node that there is room for: of more, none can be followed, and a layout takes its time."""


def readable(graph: Graph, nodes: int = ROOM) -> Graph:
    """A view that can be read: the graph itself if it is small enough and there is nothing else to be left out.

    If it is not, repetitions are folded, and modules that call no other module are shown as one node: a normalization
    or an activation that is written out in functions is news to nobody. If that is not enough, it is collapsed as deep
    as there is room for. Where that leaves next to nothing, it is opened one level more, and of siblings of one type
    the first and the last are shown and, between, one node with their number: ``Linear × 54, unlike``. Where nothing is
    like that, there is more room, and where even that is too little, the ends of long rows are shown and an ellipsis
    between. Many inputs of the same nodes are one, and so are many outputs of one node, and what hooks around a module
    call.

    Args:
        graph: any graph, views too.
        nodes: how many there is room for. Those that only accumulate a parameter's gradient are not counted, since
            drawings show the parameter instead. An autograd graph that is larger even with every scope closed stays
            larger.
    """
    graph = housekept(graph)
    return bundled(uncrowded(graph if drawn(graph) <= nodes else narrowed(fold(graph), nodes), nodes))


def narrowed(graph: Graph, nodes: int) -> Graph:
    """The second half of `readable`: all but folding and bundling."""
    holders = {id(scope.parent) for scope in graph.scopes} | {
        id(node.scope) for node in graph.nodes if node.kind == "module"
    }
    view = collapse(graph, where=lambda scope: scope.parent is not None and id(scope) not in holders)
    fewest, larger = FEWEST * nodes // ROOM, LARGER * nodes // ROOM
    if drawn(view) < fewest:  # modules that only call functions are all that there is
        view = graph
    if drawn(view) <= nodes:
        return view
    for counts in (_is_no_container, is_module):
        level = levels(view.scopes, counts)
        depth = _deepest(view, nodes, level, counts)
        found = _closed(view, level, counts, depth or 0)
        if depth is not None and drawn(found) >= fewest:
            return found
    # From next to nothing to hundreds in one step, or hundreds even if all is closed: the ends of what those are.
    opened = found if depth is None else _closed(view, level, counts, depth + 1)
    has_rows = all(node.kind != "autograd" for node in opened.nodes)
    if has_rows and fewest <= drawn(grouped := abridged(opened, nodes, rows=False)) <= nodes:
        return grouped
    if drawn(opened) <= larger or not has_rows:
        return opened
    return abridged(opened, nodes)


def uncrowded(view: Graph, nodes: int) -> Graph:
    """A view with fewer of the siblings of one type, if there are so many edges that nobody could follow one."""
    room = nodes
    thinner = view
    while room >= 2 * FEWEST and sum(1 for _ in thinner.edges()) > CROWD * nodes:
        thinner = abridged(view, room, rows=False)
        room //= 2
    return thinner if drawn(thinner) >= FEWEST else view


def _closed(view: Graph, level: dict[int, int], counts: Where, depth: int) -> Graph:
    """A view with all scopes that count closed from a level on."""
    closed = {scope.name for scope in view.scopes if counts(scope) and level[id(scope)] >= depth}
    return collapse(view, where=lambda scope: scope.name in closed)


def drawn(graph: Graph) -> int:
    """The nodes that a drawing shows."""
    return sum(node.op_type != "AccumulateGrad" for node in graph.nodes)


def _is_no_container(scope: Scope) -> bool:
    """Whether a scope is one that a reader thinks in. A Sequential only holds blocks together: were it to count, the
    blocks in one would be closed where a block beside it is open.
    """
    return is_module(scope) and scope.op_type != "Sequential"


def _deepest(graph: Graph, nodes: int, level: dict[int, int], counts: Where) -> int | None:
    """The greatest level at which to close scopes so that at most so many nodes are left; None if there is none."""
    opened: Counter[int] = Counter()  # by depth, the nodes that are shown from there on
    closed: Counter[int] = Counter()  # by depth, the scopes that are one node just there
    held: set[int] = set()
    for node in graph.nodes:
        scope = node.scope
        around = 0 if scope is None else level[id(scope)] + counts(scope)
        opened[around] += node.op_type != "AccumulateGrad"
        while scope is not None and id(scope) not in held:
            held.add(id(scope))
            if counts(scope):
                closed[level[id(scope)]] += 1
            scope = scope.parent
    found, shown = None, 0
    for depth in range(max(opened, default=0) + 1):
        shown += opened[depth]
        if shown + closed[depth] <= nodes:
            found = depth
    return found
