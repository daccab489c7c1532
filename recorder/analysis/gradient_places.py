"""Where gradients were seen in a graph, read off ``meta["backward"]``: see `recorder.assembly.backward_marks`.

Each gradient once: a scope tells nothing of its own where what it returns comes from a module call inside, or from a
scope inside.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from recorder.graph.core import Graph, Node, Scope, Value

__all__ = ["Place", "captions", "places", "told_of"]

Place = Node | Scope


def told_of(item: Place | Value) -> dict[str, Any]:
    """What is said of it; nothing if backward was not seen there."""
    told: dict[str, Any] = item.meta.get("backward", {})
    return told


def captions(item: Place | Value, *which: str) -> Iterator[dict[str, Any]]:
    """The gradients that are described there: those that arrived and left, or ``which``; of a parameter, its own."""
    told = told_of(item)
    for name in which or ("arrived", "left"):
        yield from (caption for caption in told.get(name, ()) if caption is not None)
    if not which and told.get("gradient") is not None:
        yield told["gradient"]


def places(graph: Graph) -> list[Place]:
    """Nodes and scopes where gradients were seen, in the order of backward."""
    found: list[Place] = [node for node in graph.nodes if told_of(node)]
    found += _telling_scopes(graph)
    return sorted(found, key=lambda place: told_of(place)["order"])


def _telling_scopes(graph: Graph) -> list[Scope]:
    """Scopes at whose outputs a gradient arrived that nothing inside tells of: what they return a function made, or
    nobody was seen to make.
    """
    found: list[Scope] = []
    inside: defaultdict[int, set[int]] = defaultdict(set)  # what scopes in a scope tell of
    for scope in reversed(graph.scopes):
        if not told_of(scope).get("arrived"):
            continue
        made = {
            id(value)
            for value in scope.outputs
            if value.requires_grad and not (value.producer is not None and _tells(value.producer, scope))
        }
        if made - inside[id(scope)]:
            found.append(scope)
        for around in () if scope.parent is None else scope.parent.ancestors():
            inside[id(around)] |= made
    return found


def _tells(maker: Node, scope: Scope) -> bool:
    """Whether a module call tells what arrives at what it made: one inside a scope, or one whose result the scope only
    hands on.
    """
    within = maker.scope is not None and any(around is scope for around in maker.scope.ancestors())
    return not within or (maker.kind == "module" and "backward" in maker.meta)
