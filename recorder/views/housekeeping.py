"""What hooks around a module's forward call, as one node: `housekept`.

FSDP gathers a module's parameters there, pruning multiplies them by masks: what a framework does for a module, and not
what the module does. Such calls follow each other, and of a model that is wrapped they outnumber all others.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node
from recorder.views.contraction import Group, contracted
from recorder.views.repeats import children_of
from recorder.views.steps import derived

__all__ = ["housekept"]

FEW = 3
"""So many calls are shown one by one."""


def housekept(graph: Graph) -> Graph:
    """A view in which functions that follow each other and were called by hooks around a forward are one node, of kind
    "function"; the graph itself if there are none.
    """
    return derived(graph, _fold) if any(_groups(graph)) else graph


@collector_held_back()
def _fold(graph: Graph) -> Graph:
    return contracted(graph, list(_groups(graph)))


def _groups(graph: Graph) -> Iterator[Group]:
    if not any("hook" in node.meta for node in graph.nodes):
        return
    for row in children_of(graph).values():
        for in_hook, places in groupby(row, lambda place: isinstance(place, Node) and "hook" in place.meta):
            found = list(places) if in_hook else []
            if len(found) > FEW:
                yield Group(found, _in_words)


def _in_words(members: Sequence[Node]) -> str:
    scope = members[0].scope
    return "hooks" if scope is None else f"hooks of {scope.op_type}"
