"""Tensors as the hot path sees them: what is said of one, and which ones a function made or wrote.

Nothing here calls an operator or reads data. Call it where no torch function mode is active, or `quietly`: reading a
shape would call the mode.
"""

from collections.abc import Callable
from types import MethodWrapperType
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from recorder.capture.collectives import COLLECTIVES
from recorder.capture.containers import PLAIN, tensors_in
from recorder.capture.transforms import Transformed, transformed

__all__ = [
    "ACCUMULATES",
    "ACCUMULATE_GRAD",
    "ADDRESS",
    "NODE",
    "PLAIN",
    "SEQUENCE",
    "Facts",
    "Reference",
    "address_of",
    "facts",
    "facts_of_gradient",
    "next_sequence",
    "outputs_of",
    "quietly",
    "sequence_of",
    "tensors_in",
]

quietly = torch._C.DisableTorchFunction
"""A context in which reading a tensor's shape and the like calls no mode and no subclass."""

Reference = ref[Any]

Facts = tuple[Any, ...]
"""Shape, dtype, device, requires_grad, the type of grad_fn, its sequence number, the address of the storage, or what
`recorder.capture.transforms` says where there is none.
"""

NODE, SEQUENCE, ADDRESS = 4, 5, 6
"""Where among them the type of grad_fn is, its sequence number, and the address of the storage."""

ACCUMULATES = 2**64 - 1
"""The sequence number of every AccumulateGrad: nothing was computed there."""

ACCUMULATE_GRAD: type = torch._C._functions.AccumulateGrad
"""The type of these nodes, by which they are told more quickly."""

_shapes: dict[Any, Any] = {}
"""Each shape once: most tensors have one of few."""

address_of: Callable[[Tensor], int] = torch._C._storage_address  # type: ignore[attr-defined]
"""Where a tensor's storage is, without making a Python object of it: a gradient whose storage has one counts as used
elsewhere, and autograd adds the next gradient to it out of place.
"""

next_sequence: Callable[[], int] = torch.autograd._get_sequence_nr  # type: ignore[attr-defined]
"""The number that autograd will give to the next node that this thread makes."""

_TENSOR_GETTERS = frozenset({"T", "H", "mT", "mH", "real", "imag", "data"})


def facts(tensor: Tensor) -> Facts:
    """What a record says of a tensor."""
    shape: Any
    address: int | Transformed | None
    try:
        shape = _shapes[tensor.shape]
        address = address_of(tensor)
    except (KeyError, TypeError, RuntimeError):
        shape, address = _unusual(tensor)
    if tensor.requires_grad:
        node = tensor.grad_fn
        if node is not None:
            return (shape, tensor.dtype, tensor.device, True, type(node), sequence_of(node), address)
        return (shape, tensor.dtype, tensor.device, True, None, None, address)
    return (shape, tensor.dtype, tensor.device, False, None, None, address)


def facts_of_gradient(gradient: Tensor) -> Facts:
    """The same without the address."""
    try:
        shape: Any = _shapes[gradient.shape]
    except (KeyError, TypeError, RuntimeError):
        shape = _unusual(gradient)[0]
    if gradient.requires_grad:
        return facts(gradient)[:ADDRESS]
    return (shape, gradient.dtype, gradient.device, False, None, None)


def _unusual(tensor: Tensor) -> tuple[Any, int | Transformed | None]:
    """Shape and address where the shape was not seen before. A size that is no number is unknown: symbolic ones, and
    those that are traced, would keep alive what they belong to.
    """
    try:
        shape: Any = tensor.shape
        shape = _shapes.setdefault(shape, shape) if all(type(n) is int for n in shape) else tuple(map(_number, shape))
        return shape, address_of(tensor)
    except RuntimeError:
        # A nested tensor has no single size in some dimensions; a sparse one has no storage, nor that of a transform.
        return tuple(_size(tensor, dim) for dim in range(tensor.dim())), transformed(tensor)


def sequence_of(node: Any) -> int:
    """The number that autograd gave a node when it was made, counted per thread."""
    number: int = node._sequence_nr()
    return number


def _number(size: Any) -> int:
    return size if type(size) is int else -1


def _size(tensor: Tensor, dim: int) -> int:
    try:
        return tensor.size(dim)
    except RuntimeError:
        return -1


def outputs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None, result: Any) -> list[Tensor]:
    """The tensors that a function made or wrote; none if it only looked at them."""
    name = getattr(func, "__name__", "")
    if type(func) is MethodWrapperType:  # the getter or setter of a property
        attribute = getattr(func.__self__, "__name__", "")
        if name == "__set__" and attribute == "data":
            return [args[0]]
        return tensors_in(result) if name == "__get__" and attribute in _TENSOR_GETTERS else []
    if result is None and args and (name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))):
        return tensors_in(args[0])
    if result is None and kwargs and "out" in kwargs:  # operators of libraries, which torch's own would return
        return tensors_in(kwargs["out"])
    if func in COLLECTIVES:
        return tensors_in(COLLECTIVES[func](args, kwargs or {}))
    return tensors_in(result)
