"""Tensors inside of the transforms of ``torch.func``: how many examples one stands for, and whether more is computed.

Under `torch.vmap` a tensor looks like that of one example, and one kernel computes them all. Under `torch.func.jvp`
each kernel that computes a value is followed by those of its tangent, which no function is called for.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

__all__ = ["Transformed", "transformed"]

_functorch: Any = torch._C._functorch


class Transformed(NamedTuple):
    """What stands in the place of an address: such a tensor has no storage of its own to tell."""

    examples: int
    tangents: bool


def transformed(tensor: Tensor) -> Transformed | None:
    """What is to be said of a tensor; None if it is no tensor of a transform, or nothing is out of the ordinary."""
    examples, tangents = 1, False
    while _functorch.is_functorch_wrapped_tensor(tensor):
        inner = _functorch.get_unwrapped(tensor)
        if _functorch.is_batchedtensor(tensor):
            examples *= inner.size(_functorch.maybe_get_bdim(tensor))
        elif _functorch.is_gradtrackingtensor(tensor):
            tangents = tangents or _functorch.maybe_get_level(tensor) in _levels_of_jvp()
        tensor = inner
    return None if examples == 1 and not tangents else Transformed(examples, tangents)


def _levels_of_jvp() -> set[int]:
    stack = _functorch.get_interpreter_stack() or ()
    return {one.level() for one in stack if one.key() == _functorch.TransformType.Jvp}
