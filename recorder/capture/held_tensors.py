"""Whether the parameters and buffers that modules hold are finite: asked of all of them at once, whenever a call from
outside begins, since an optimizer may have changed them, and nobody sees how.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from recorder.capture.tensor_facts import Reference
from recorder.capture.tensor_stats import measurable, out_of_sight, tracing

__all__ = ["Check", "Content", "HeldTensors"]

Content = Literal["finite", "nan", "inf", "unknown"]
"""What is in a tensor: NaN, if there is one; else Inf, if there is one. What cannot be measured is unknown."""

_MAGNITUDE = float("inf")
"""The order of the norm that is the largest magnitude: it is finite where all elements are."""


class Check:
    """What one look at some tensors gave."""

    __slots__ = ("_groups", "unknown")

    def __init__(self) -> None:
        self._groups: list[tuple[list[Reference], Tensor | list[float] | None]] = []
        self.unknown: list[Reference] = []

    def add(self, references: list[Reference], largest: Tensor | list[float]) -> None:
        """Tensors with the largest magnitude of each, which may still be on their device."""
        self._groups.append((references, largest))

    def read(self) -> None:
        """Fetch the numbers; what cannot be fetched is not known."""
        for at, (references, largest) in enumerate(self._groups):
            if isinstance(largest, Tensor):
                try:
                    self._groups[at] = references, largest.tolist()
                except RuntimeError:  # the device's own error reaches the user without us
                    self._groups[at] = references, None

    def contents(self) -> Iterable[tuple[Reference, Content]]:
        """Each tensor, and what is in it."""
        yield from ((reference, "unknown") for reference in self.unknown)
        for references, largest in self._groups:
            if not isinstance(largest, list):
                yield from ((reference, "unknown") for reference in references)
                continue
            for reference, number in zip(references, largest, strict=True):
                yield reference, "finite" if math.isfinite(number) else "nan" if math.isnan(number) else "inf"


class HeldTensors:
    """Looks at what modules hold."""

    def __init__(self) -> None:
        self._held: dict[int, Reference] = {}
        self._unread: list[Check] = []

    def __contains__(self, tensor: Tensor) -> bool:
        reference = self._held.get(id(tensor))
        return reference is not None and reference() is tensor

    def look_at_all(self, modules: Iterable[nn.Module]) -> Check | None:
        """Look at everything that these hold; forget what others held."""
        self._held.clear()
        return self.look_at(modules)

    def look_at(self, modules: Iterable[nn.Module]) -> Check | None:
        """Look at what these hold and was not looked at. None if there is nothing."""
        if tracing() is not None:
            return None
        found = [tensor for module in modules for tensor in self._new(module)]
        if not found:
            return None
        check = Check()
        groups: dict[Any, list[Tensor]] = {}
        for tensor in found:
            if measurable(tensor):
                groups.setdefault((tensor.device, tensor.dtype), []).append(tensor)
            elif type(tensor) not in (Tensor, nn.Parameter) or tensor.numel():
                check.unknown.append(self._held[id(tensor)])
        with out_of_sight():
            for tensors in groups.values():
                references = [self._held[id(tensor)] for tensor in tensors]
                try:
                    check.add(references, _largest([tensor.detach() for tensor in tensors]))
                except Exception:  # as of any measure, this is our wish alone
                    check.unknown += references
        self._unread.append(check)
        return check

    def read(self) -> None:
        """Fetch all numbers."""
        unread, self._unread = self._unread, []
        with out_of_sight():
            for check in unread:
                check.read()

    def _new(self, module: nn.Module) -> Iterator[Tensor]:
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            # What is not initialized yet will be in the call.
            if tensor is None or tensor in self or is_lazy(tensor):
                continue
            if tensor.dtype.is_floating_point or tensor.dtype.is_complex:
                self._held[id(tensor)] = ref(tensor)
                yield tensor


def _largest(tensors: list[Tensor]) -> Tensor | list[float]:
    """The largest magnitude of each of some tensors on one device, or another number that is as finite."""
    if tensors[0].device.type != "cpu":
        return torch.stack(torch._foreach_norm(tensors, _MAGNITUDE))
    # There the sum of squares is ten times as fast, and if it is finite, so is all of it. Else it may be too large.
    norms = torch.stack(torch._foreach_norm(tensors, 2)).tolist()
    return [
        norm if math.isfinite(norm) else torch.linalg.vector_norm(tensor, _MAGNITUDE).item()
        for norm, tensor in zip(norms, tensors, strict=True)
    ]
