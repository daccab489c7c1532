"""What a drawing says of a graph that shows two, as `recorder.Diff` makes it: what is new, gone, or another.

It stands in ``meta["diff"]`` of nodes and scopes, and of the graph. A file can say anything there.
"""

from recorder import Graph, Node, Scope

__all__ = ["is_of_two", "look_of", "sign_of", "words_of"]

LOOKS = {"added", "removed", "changed", "rewired"}


def is_of_two(graph: Graph) -> bool:
    """Whether a graph shows two: then all that is not marked is context."""
    return graph.meta.get("diff") is True


def look_of(node: Node) -> str:
    """The key into the styles of a node in such a graph."""
    mark = _told(node, "mark")
    return mark if mark in LOOKS else "context"


def sign_of(place: Node | Scope) -> str:
    """What marks a call by more than its colour: ``+ `` before its type. A scope around what differs has none."""
    sign = "" if isinstance(place, Scope) and _told(place, "words") == "inside" else _told(place, "sign")
    return f"{sign} " if len(sign) == 1 else ""


def words_of(node: Node) -> str:
    """What changed in it."""
    return _told(node, "words")


def _told(place: Node | Scope, what: str) -> str:
    told = place.meta.get("diff")
    found = told.get(what) if isinstance(told, dict) else None
    return found if isinstance(found, str) else ""
