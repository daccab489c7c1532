"""Outputs of module calls that are tensor views, and may be written in place afterwards.

Then autograd gives the view another grad_fn, and what backward brings never comes by the one that it had when the call
returned. Where the call made what it is a view of, that has a node which stays. Else the node that autograd puts in for
the write, a CopySlices, hands on the gradient with regard to what was there before: it is what arrived at the call.
Both hold for views that show all of their base; of the others nothing is seen once they are written.
"""

from typing import Any

import torch
from torch import Tensor

from recorder.capture.tensor_facts import ADDRESS, Facts, facts, sequence_of, tensors_in

__all__ = ["FOLDED", "VIEWS", "WRITTEN", "OutputViews"]

_KINDS = ("View", "ReshapeAlias", "Transpose", "T", "Permute", "Squeeze", "Unsqueeze", "AsStrided", "Alias")

_functions: Any = torch._C._functions

VIEWS = frozenset(
    node
    for kind in _KINDS
    for number in range(6)
    if (node := getattr(_functions, f"{kind}Backward{number}", None)) is not None
)
"""The types of autograd nodes of views that can show all of their base."""

FOLDED = _functions.UnsafeViewBackward0
"""The type of node that gives a matrix product of more than two dimensions its shape."""

WRITTEN = _functions.AsStridedBackward0
"""The type of node that a view has after a write, and few have before."""

_CROWD = 10_000


class OutputViews:
    """What calls returned, by the memory that it is in."""

    def __init__(self) -> None:
        self._calls: dict[int, list[tuple[int, int, Any]]] = {}  # key, sequence number, shape

    def origin(self, output: Tensor, given: Any) -> Any:
        """The autograd node of what a call made and then returned a view of. None if the call was ``given`` that, or
        the view does not show all of it.
        """
        base = output._base
        if base is None or base.numel() != output.numel():
            return None
        for item in given:
            for tensor in (item,) if type(item) is Tensor else tensors_in(item):
                if tensor is base or tensor._base is base:
                    return None
        return base.grad_fn

    def add(self, output: Tensor, key: int) -> None:
        """Remember a call that returned a view."""
        base = output._base
        if base is None or base.numel() != output.numel() or base.grad_fn is None:
            return
        said = facts(output)
        if len(self._calls) > _CROWD:
            self._calls.clear()
        # Memory is used again: those that returned what was in it before autograd made the base are over.
        made = sequence_of(base.grad_fn)
        calls = [call for call in self._calls.get(said[ADDRESS], ()) if made < call[1]]
        self._calls[said[ADDRESS]] = [*calls, (key, sequence_of(output.grad_fn), said[0])]

    def written(self, tensor: Tensor, said: Facts) -> tuple[Any, list[tuple[int, Any]]]:
        """The node that autograd put in for a write through a view, and keys and shapes of the calls that returned what
        was there right before.
        """
        calls = self._calls.get(said[ADDRESS])
        if not calls or tensor.grad_fn is None:
            return None, []
        node: Any = tensor.grad_fn.next_functions[0][0]
        if type(node).__name__ != "CopySlices" or node.next_functions[0][0] is None:
            return None, []
        before = sequence_of(node.next_functions[0][0])
        return node, [(key, shape) for key, sequence, shape in calls if before < sequence]
