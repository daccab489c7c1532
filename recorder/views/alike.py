"""What `fold` draws once, place by place: which calls each node and scope of the view stands for."""

from collections.abc import Mapping, Sequence

from recorder.graph.core import Graph, Node, Scope
from recorder.views.repeats import Runs

__all__ = ["alike_in"]

Places = dict[Node | Scope, tuple[Node | Scope, ...]]


def alike_in(graph: Graph, runs: Runs) -> Places:
    """All that each place that is kept stands for, itself first. They are places of what the graph shows, if it is a
    view itself; of one that is not known there, nothing is told.
    """
    found: dict[Node | Scope, list[Node | Scope]] = {}
    paired: set[int] = set()
    for number, node in enumerate(graph.nodes):
        kept = graph.nodes[runs.blocks.shown(number)]
        if kept is node:
            continue
        found.setdefault(kept, [kept]).append(node)
        # Blocks that are alike are nested alike, up to what holds them both.
        one, other = node.scope, kept.scope
        while one is not None and other is not None and one is not other and id(one) not in paired:
            paired.add(id(one))
            found.setdefault(other, [other]).append(one)
            one, other = one.parent, other.parent
    return _whole(graph, {**found, **_groups(graph, runs, found)})


def _groups(graph: Graph, runs: Runs, found: dict[Node | Scope, list[Node | Scope]]) -> Places:
    """Of each new scope around a sequence, all that is in it and in its repetitions."""
    held: dict[Node | Scope, list[Node | Scope]] = {}
    of_group = {id(group): group for group in runs.groups.values()}
    places: list[Node | Scope] = [*graph.scopes, *graph.nodes]
    for place in places:
        group = runs.groups.get(id(place))
        while group is not None:
            held.setdefault(of_group[id(group)], []).extend(found.get(place) or [place])
            group = runs.groups.get(id(group))
    return {group: tuple(places) for group, places in held.items()}


def _whole(graph: Graph, found: Mapping[Node | Scope, Sequence[Node | Scope]]) -> Places:
    if graph._shown is None:
        return {kept: tuple(places) for kept, places in found.items()}
    _, shown, alike = graph._shown
    whole = dict(alike)
    for kept, places in found.items():
        known = [shown.get(place) for place in places]
        at = shown.get(kept, kept)  # a new scope is its own
        whole[at] = tuple(each for place in known if place is not None for each in alike.get(place, (place,)))
        if None in known:
            whole[at] = ()
    return whole
