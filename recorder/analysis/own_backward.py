"""What was computed inside a `torch.autograd.Function` of somebody's own, by functions that were recorded.

Its forward runs without gradients, so what is computed there says that it needs none; what it returns does need one
afterwards. Its backward is code of the user's, of which nothing is known.
"""

from collections import Counter
from collections.abc import Collection
from math import prod

from recorder.graph.core import Graph, Node, Value

__all__ = ["made_in_own", "made_perhaps_in_own"]


def made_in_own(graph: Graph, reached: Collection[Node]) -> set[int]:
    """Values, by their ids, that say that they need no gradient, and got one: more gradients came to what a module call
    returned, or left a function, than its tensors that need one account for; or a function whose result needs one was
    given none that does.
    """
    found: set[int] = set()
    for scope in graph.scopes:
        arrived = scope.meta.get("backward", {}).get("arrived", ())
        found |= _beyond(arrived, scope.outputs)
    for node in reached:
        left = node.meta.get("backward", {}).get("left")
        if node.kind != "function":
            continue
        if left is not None and "several" not in node.meta["backward"]:
            found |= _beyond(left, node.inputs)
        elif not any(value.requires_grad for value in node.inputs) and node.op_type != "requires_grad_":
            found |= {id(value) for value in node.inputs if _is_without(value)}
    return found


def made_perhaps_in_own(graph: Graph, reached: Collection[Node]) -> set[int]:
    """Values of which that cannot be told: a function made them without gradients of what needs one, as happens under
    ``torch.no_grad`` too, and another one that backward reached was given them beside what needs one.
    """
    return {
        id(value)
        for node in reached
        if node.kind == "function" and "backward" not in node.meta
        for value in node.inputs
        if _is_without(value)
        and value.producer is not None
        and value.producer.kind == "function"
        and any(given.requires_grad for given in value.producer.inputs)
    }


def _beyond(gradients: object, values: tuple[Value, ...] | list[Value]) -> set[int]:
    """Those of values that need no gradient that got one all the same, as far as sizes tell."""
    if not isinstance(gradients, list):
        return set()
    there = Counter(prod(gradient["shape"]) for gradient in gradients if gradient is not None)
    there -= Counter(prod(value.shape) for value in {id(v): v for v in values}.values() if value.requires_grad)
    return {id(value) for value in values if _is_without(value) and there[prod(value.shape)] > 0}


def _is_without(value: Value) -> bool:
    return value.role == "activation" and not value.requires_grad and value.dtype.startswith(("float", "bfloat"))
