"""The view that an export shows, from the options that every format has."""

from typing import Literal

from recorder.graph.core import Graph
from recorder.views.bundles import bundled
from recorder.views.collapse import collapse
from recorder.views.fold import fold as folded
from recorder.views.hide import hide as hidden
from recorder.views.housekeeping import housekept
from recorder.views.room import drawn, narrowed, uncrowded
from recorder.views.select import select

__all__ = ["arranged"]


def arranged(
    graph: Graph,
    room: int | None = None,
    *,
    depth: int | Literal["auto"] | None = "auto",
    fold: bool | Literal["auto"] = "auto",
    hide: str | None = None,
    scope: str | None = None,
    around: str | None = None,
    radius: int = 1,
    hooks: bool | Literal["auto"] = "auto",
) -> Graph:
    """Apply the views in the order in which they make sense: a part of the graph, without what is hidden, folded, and
    then collapsed.

    Args:
        graph: any graph.
        room: how many nodes there is room for; None if it does not matter.
        depth: how many levels of scopes stay open, every one if None. If ``"auto"``, as many as there is room for.
        fold: whether blocks that repeat are shown once. If ``"auto"``, where there is no room for all of them, unless
            ``depth`` asks for everything.
        hide: kinds of nodes to leave out, with commas: ``identities,views,constants``.
        scope: the name of a module call, of which nothing else is shown.
        around: the name of a node or module call, of which only the neighbourhood is shown.
        radius: how many edges the neighbourhood of ``around`` reaches.
        hooks: whether what hooks around a module's forward call is shown one by one, as of FSDP. If ``"auto"``, it is
            one node where a drawing has little room, unless ``depth`` asks for everything.

    Raises:
        ValueError: there is no such scope, place or kind, or a number is negative.
    """
    if scope is not None:
        graph = select(graph, scope=scope)
    if around is not None:
        graph = select(graph, around=around, radius=radius)
    if hide is not None:
        graph = hidden(graph, [kind.strip() for kind in hide.split(",")])  # type: ignore[misc]
    if hooks is False or (hooks == "auto" and room is not None and depth is not None):
        graph = housekept(graph)
    if fold is True:
        graph = folded(graph)

    def at(graph: Graph) -> Graph:
        return collapse(graph, depth) if isinstance(depth, int) else graph

    view = at(graph)
    if room is None or depth is None:
        return view
    if drawn(view) <= room:
        return bundled(uncrowded(view, room) if depth == "auto" else view)
    if fold == "auto":
        graph = folded(graph)
    return bundled(uncrowded(narrowed(graph, room), room) if depth == "auto" else at(graph))
