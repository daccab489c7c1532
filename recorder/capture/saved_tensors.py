"""What autograd nodes keep for backward, looked at without touching it: nothing is unpacked, no hook of the user's is
called, no version is checked, nothing lives longer.

A node of torch's own has what it keeps as attributes whose names begin with ``_raw_saved_``, and so has one of a
``torch.autograd.Function``: `torch._C._autograd.SavedTensor`, whose ``data`` is the tensor, or what a pack hook made of
it. What a ``Function`` puts on its ``ctx`` by itself is not among it, nor what C++ extensions keep.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

from recorder.capture.tensor_facts import ACCUMULATES, sequence_of, tensors_in

__all__ = ["CAN_LOOK", "Checkpoints", "kept_by", "made_since", "may_be_number"]

CAN_LOOK = hasattr(torch._C._autograd.SavedTensor, "data")
"""Whether this torch lets one look at what is saved without unpacking it."""


def made_since(tensors: Iterable[Tensor], floor: int, visited: set[int]) -> Iterator[tuple[Any, int]]:
    """The autograd nodes that lead to tensors and have not been visited, with their numbers; none below ``floor``."""
    pending = [node for tensor in tensors if (node := tensor.grad_fn) is not None]
    while pending:
        node = pending.pop()
        number = sequence_of(node)
        if number == ACCUMULATES or number < floor or number in visited:
            continue
        visited.add(number)
        yield node, number
        pending += [after for after, _ in node.next_functions if after is not None]


def kept_by(node: Any) -> list[Tensor] | None:
    """The tensors that a node keeps; None if it does not say."""
    kind: Any = type(node)
    names = _names(kind)
    if not names:
        return None if any(silent in node.name() for silent in _SILENT) else []
    kept: list[Tensor] = []
    for name in names:
        try:
            saved = getattr(node, name)
        except RuntimeError:  # it was freed
            continue
        for one in saved if isinstance(saved, tuple | list) else (saved,):
            if one is not None:
                kept += _tensors_of(one)
    return kept


_SILENT = ("CppNode", "CopySlices")
"""Nodes of C++ extensions, and of writes into tensor views, which hold the node of what was written."""


@cache
def _names(kind: Any) -> tuple[str, ...]:
    return tuple(name for name in dir(kind) if name.startswith("_raw_saved_"))


def _tensors_of(saved: Any) -> list[Tensor]:
    return tensors_in(saved.data)


_OF_NUMBERS = (torch.float64, torch.int64, torch.complex128)


def may_be_number(tensor: Tensor) -> bool:
    """Whether it may be what a number that a function was given is to autograd, of which torch tells no hook either.
    Nobody has met it, then.
    """
    return tensor.dtype in _OF_NUMBERS and not tensor.dim() and tensor.device.type == "cpu"


class Checkpoints:
    """What activation checkpoints keep: the arguments of what they are to run again. ``torch.utils.checkpoint`` has
    them in a frame that the hook knows by which it catches what would be saved inside.
    """

    def __init__(self) -> None:
        self._last: int | None = None

    def begun(self) -> list[Tensor]:
        """What is kept by a checkpoint that has begun since the last time, if one has."""
        hooks: Any = torch._C._autograd._top_saved_tensors_default_hooks(True)
        if hooks is None:
            self._last = None
            return []
        if id(hooks[0]) == self._last:
            return []
        self._last = id(hooks[0])
        frame = _frame(hooks[0])
        kept: list[Tensor] = []
        for argument in getattr(frame, "saved_args", ()):  # torch 2.14
            kept += _tensors_of(argument) if isinstance(argument, torch._C._autograd.SavedTensor) else []
        saver = getattr(frame, "input_saver", None)  # before
        if saver is not None:
            kept += kept_by(saver) or []
        return kept

    @staticmethod
    def selective() -> bool:
        """Whether a policy says in part of the code that runs what is kept beside. Nobody sees it."""
        stack = _get_current_dispatch_mode_stack()
        return any(type(mode).__name__ == "_CachingTorchDispatchMode" for mode in stack)


def _frame(pack: Any) -> Any:
    if getattr(pack, "__module__", None) != "torch.utils.checkpoint":
        return None
    cells = dict(zip(pack.__code__.co_freevars, pack.__closure__ or ()))
    return cells["frame"].cell_contents if "frame" in cells else None
