"""Which nodes of a forward graph a gradient came to.

A recording says so of module calls, with children or without, and where gradients are recorded in functions, of those.
Of other functions it says nothing, and they are judged by what is around them: what a gradient came out of, it went
into before.
"""

from collections import Counter
from collections.abc import Iterator
from math import prod

from recorder.graph.core import Graph, Node, Scope, Value

__all__ = ["backward_reached", "mapped_unseen", "reached_unseen"]


def backward_reached(graph: Graph) -> set[Node]:
    """The nodes that backward reached, as far as a recording tells.

    A function was reached if something that it gave its results to was, or a call that returned them; if it is at the
    end and in no such call, as a loss is, all that it was given has to be, unless gradients were recorded at functions.
    Of functions with no module call around them nothing is known, and they are left out.
    """
    returned = _returned_with_gradient(graph)
    at_functions = any(node.kind == "function" and _seen(node) for node in graph.nodes)
    behind: dict[int, bool | None] = {}  # whether all calls before a node were reached; None if there are none
    for node in graph.nodes:
        if node.kind == "module" or _seen(node):
            behind[id(node)] = _seen(node)
        else:
            behind[id(node)] = _all(
                True if id(value) in returned else behind[id(maker)] for value, maker in _given(node)
            )
    found: set[Node] = set()
    for node in reversed(graph.nodes):
        if node.kind == "module" or _seen(node):
            got = _seen(node)
        elif not _differentiable(node):
            got = False
        else:
            after = [user for v in node.outputs if v.requires_grad for user, _ in v.uses if _differentiable(user)]
            got = any(id(v) in returned for v in node.outputs)
            at_the_end = not after and not at_functions and not _is_told(node)
            got = got or any(user in found for user in after) or (at_the_end and bool(behind[id(node)]))
        if got:
            found.add(node)
    return found


def reached_unseen(graph: Graph) -> set[int]:
    """Values, by their ids, that say that they need no gradient, and got one: what was computed in an
    `torch.autograd.Function` of somebody's own, whose forward runs without gradients. The module call that was given
    such a value handed on a gradient that is for none of its parameters.
    """
    found: set[int] = set()
    for node in graph.nodes:
        told = node.meta.get("backward", {}).get("left", ()) if node.kind == "module" else ()
        left = Counter(prod(gradient["shape"]) for gradient in told if gradient is not None)
        if left:
            left -= Counter(prod(v.shape) for v in node.inputs if v.requires_grad)
            given = [v for v in node.inputs if v.role == "activation" and not v.requires_grad and "float" in v.dtype]
            found |= {id(value) for value in given if left[prod(value.shape)] > 0}
    return found


def mapped_unseen(graph: Graph) -> set[int]:
    """Values, by their ids, that were computed under `torch.vmap` of what requires a gradient outside of it. They say
    that they need none, and whether one came back nobody was told.
    """
    found: set[int] = set()
    for node in graph.nodes:
        if any(value.requires_grad or id(value) in found for value in node.inputs):
            made = (v for v in node.outputs if "examples" in v.meta and not v.requires_grad and "float" in v.dtype)
            found |= {id(value) for value in made}
    return found


def _returned_with_gradient(graph: Graph) -> set[int]:
    """What module calls with children returned, and a gradient came back to. Which gradient is whose is not told: of
    outputs of one shape all have to have one, or as many as were used afterwards.
    """
    found: set[int] = set()
    for scope in graph.scopes:
        told = scope.meta.get("backward", {}).get("arrived", ())
        arrived = Counter(tuple(gradient["shape"]) for gradient in told if gradient is not None)
        if arrived:
            outputs = list({id(v): v for v in scope.outputs if v.requires_grad}.values())
            used = [v for v in outputs if any(not _is_in(user, scope) for user, _ in v.uses)]
            for some in (outputs, used):
                there = Counter(value.shape for value in some)
                found |= {id(value) for value in some if arrived[value.shape] >= there[value.shape]}
    return found


def _is_told(node: Node) -> bool:
    """Whether a call around a node tells of the gradients of what it returned: nothing else in it is at the end."""
    around = () if node.scope is None else node.scope.ancestors()
    return any(scope.meta.get("backward", {}).get("arrived") for scope in around)


def _is_in(node: Node, scope: Scope) -> bool:
    return node.scope is not None and any(around is scope for around in node.scope.ancestors())


def _seen(node: Node) -> bool:
    return node.backward_ns is not None or "backward" in node.meta


def _differentiable(node: Node) -> bool:
    return any(value.requires_grad for value in node.outputs)


def _given(node: Node) -> Iterator[tuple[Value, Node]]:
    """Where a gradient would go on to."""
    return ((v, v.producer) for v in node.inputs if v.requires_grad and v.producer is not None)


def _all(answers: Iterator[bool | None]) -> bool | None:
    known = [answer for answer in answers if answer is not None]
    return all(known) if known else None
