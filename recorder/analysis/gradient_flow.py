"""Which nodes of a forward graph a gradient came to.

A recording says so of module calls, and of functions where gradients were asked for. Else functions are judged by what
is around them: what a gradient came out of, it went into before.
"""

from collections.abc import Iterator

from recorder.graph.core import Graph, Node, Scope

__all__ = ["backward_reached"]


def backward_reached(graph: Graph) -> set[Node]:
    """The nodes that backward reached, as far as a recording tells.

    A function was reached if something that it gave its results to was, or if the call of a module was that returned
    them; if it is at the end, as a loss is, all calls before it have to be, unless gradients were recorded at
    functions. Of functions with no call around them nothing is known, and they are left out.
    """
    returned = set(filter(None, map(_returned_by, graph.scopes)))
    at_functions = any(node.kind == "function" and _seen(node) for node in graph.nodes)
    behind: dict[int, bool | None] = {}  # whether all calls before a node were reached; None if there are none
    for node in graph.nodes:
        if node.kind == "module" or _seen(node) or id(node) in returned:
            behind[id(node)] = _seen(node) or id(node) in returned
        else:
            behind[id(node)] = _all(behind[id(maker)] for maker in _makers(node))
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if node.kind == "module" or _seen(node) or id(node) in returned:
            got = _seen(node) or id(node) in returned
        elif not _differentiable(node):
            got = False
        else:
            after = [user for v in node.outputs if v.requires_grad for user, _ in v.uses if _differentiable(user)]
            got = any(user in found for user in after) if after else not at_functions and bool(behind[id(node)])
        if got:
            found.add(node)
    return found


def _returned_by(scope: Scope) -> int | None:
    """The `id` of the node that made all that a scope returned, if a gradient arrived at it. Of several nodes, not each
    need have been reached.
    """
    makers = {id(v.producer) for v in scope.outputs if v.requires_grad and v.producer is not None}
    return makers.pop() if len(makers) == 1 and scope.meta.get("backward", {}).get("arrived") else None


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
