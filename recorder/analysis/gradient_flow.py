"""Which nodes of a forward graph a gradient came to.

A recording says so of module calls. Of functions it says nothing, and they are judged by the calls around them: what
a gradient came out of, it went into before.
"""

from collections.abc import Iterator

from recorder.graph.core import Graph, Node

__all__ = ["backward_reached"]


def backward_reached(graph: Graph) -> set[Node]:
    """The nodes that backward reached, as far as a recording tells.

    A function was reached if something that it gave its results to was; if it is at the end, as a loss is, all calls
    before it have to be. Of functions with no module call around them nothing is known, and they are left out.
    """
    behind: dict[int, bool | None] = {}  # whether all calls before a node were reached; None if there are none
    for node in graph.nodes:
        behind[id(node)] = _seen(node) if node.kind == "module" else _all(behind[id(maker)] for maker in _makers(node))
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if node.kind == "module":
            got = _seen(node)
        elif not _differentiable(node):
            got = False
        else:
            after = [user for v in node.outputs if v.requires_grad for user, _ in v.uses if _differentiable(user)]
            got = any(user in found for user in after) if after else bool(behind[id(node)])
        if got:
            found.add(node)
    return found


def _seen(node: Node) -> bool:
    return node.backward_ns is not None or "backward" in node.meta


def _differentiable(node: Node) -> bool:
    return any(value.requires_grad for value in node.outputs)


def _makers(node: Node) -> Iterator[Node]:
    """Where a gradient would go on to."""
    return (v.producer for v in node.inputs if v.requires_grad and v.producer is not None)


def _all(answers: Iterator[bool | None]) -> bool | None:
    known = [answer for answer in answers if answer is not None]
    return all(known) if known else None
