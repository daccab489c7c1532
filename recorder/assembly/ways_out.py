"""By which nodes gradients leave a scope: those that use what was made outside of it."""

from collections import defaultdict
from collections.abc import Mapping, Sequence

from recorder.graph.core import Node, Scope

__all__ = ["ways_out"]


def ways_out(nodes: Sequence[Node]) -> Mapping[int, set[int]] | None:
    """The `id` of each such node, by that of the scope. None where functions were not recorded, as it seems: any
    of them may use anything.

    Parameters are no way out: their gradients stay.
    """
    if all(node.kind == "module" for node in nodes):
        return None
    found: defaultdict[int, set[int]] = defaultdict(set)
    around: dict[int, dict[int, Scope]] = {}
    for node in nodes:
        mine = _around(node, around)
        for value in node.inputs if mine else ():
            if value.requires_grad and value.role != "parameter":
                makers = {} if value.producer is None else _around(value.producer, around)
                for scope in mine:
                    if scope not in makers:
                        found[scope].add(id(node))
    return found


def _around(node: Node, known: dict[int, dict[int, Scope]]) -> dict[int, Scope]:
    """The scopes around a node, by their `id`."""
    if node.scope is None:
        return {}
    scopes = known.get(id(node.scope))
    if scopes is None:
        scopes = known[id(node.scope)] = {id(scope): scope for scope in node.scope.ancestors()}
    return scopes
