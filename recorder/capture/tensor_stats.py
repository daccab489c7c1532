"""What is in a gradient, computed where it is, and read once at the end.

Reading a number from a device waits for everything that the device still has to do. So the numbers stay there, one
small tensor for each gradient, until `Measures.read` fetches them all at once. On the CPU there is nobody to wait for:
what is seen first decides what has to be computed, and for a gradient that is finite that is a third of it.
"""

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from recorder.capture.tensor_facts import quietly

__all__ = ["Measure", "Measures"]

_MANY = 1_000
"""So many small tensors are put together into one, which takes less memory."""


class Measure:
    """The numbers of one gradient of ``size`` elements; ``row`` is None until they were read."""

    __slots__ = ("row", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self.row: list[float] | None = None

    def numbers(self) -> tuple[float, float, int, int, float] | None:
        """Norm, largest magnitude, count of NaN, count of Inf, share of zeros; None if they could not be read."""
        if self.row is None:
            return None
        norm, lowest, highest, nan, inf, nonzero = self.row
        largest = max(abs(lowest), abs(highest))
        # Squares of float64 may overflow; JSON has no infinity.
        return min(norm, sys.float_info.max), largest, int(nan), int(inf), (self.size - nonzero) / self.size


class _Unread:
    """What waits to be read from one stream of one device."""

    def __init__(self) -> None:
        self.single: list[Tensor] = []
        self.stacked: list[Tensor] = []
        self.measures: list[Measure] = []

    def add(self, numbers: Tensor, measure: Measure) -> None:
        self.single.append(numbers)
        self.measures.append(measure)
        if len(self.single) >= _MANY:
            self.stack()

    def stack(self) -> None:
        if self.single:
            self.stacked.append(torch.stack(self.single))
            self.single.clear()

    def read(self) -> None:
        self.stack()
        for measure, row in zip(self.measures, torch.cat(self.stacked).tolist(), strict=True):
            measure.row = row


class Measures:
    """Every gradient that was measured and not yet read."""

    def __init__(self) -> None:
        self._unread: dict[Any, _Unread] = {}

    def measure(self, gradient: Any) -> Measure | None:
        """Compute the numbers of a gradient without waiting for them.

        None for what has none: no tensor, no elements, sparse, a subclass that may mean something else by its
        elements, what a CUDA graph is captured from, or a kind that torch cannot count.
        """
        if type(gradient) not in (Tensor, nn.Parameter) or gradient.layout != torch.strided or not gradient.numel():
            return None
        if gradient.is_meta or torch._C._functorch.is_functorch_wrapped_tensor(gradient):
            return None
        if gradient.is_cuda and torch.cuda.is_current_stream_capturing():  # to be replayed when nobody reads
            return None
        where: Any = gradient.device
        try:
            with _out_of_sight():
                measure = Measure(gradient.numel())
                gradient = _widened(gradient.detach())
                if where.type == "cpu":
                    measure.row = _numbers_of_finite(gradient)
                if measure.row is None:
                    if where.type == "cuda":  # tensors of different streams cannot be put together without waiting
                        where = (where, torch.cuda.current_stream(where).cuda_stream)
                    self._unread.setdefault(where, _Unread()).add(_numbers(gradient), measure)
        except Exception:  # to measure is our wish: that it fails must not be the end of the user's backward
            return None
        return measure

    def read(self) -> None:
        """Fetch all numbers. Where a device fails, its own error has reached the user or will: ours stays away."""
        unread, self._unread = self._unread, {}
        with _out_of_sight():
            for waiting in unread.values():
                try:
                    if waiting.measures and (device := (*waiting.single, *waiting.stacked)[0].device).type == "cuda":
                        torch.cuda.synchronize(device)
                    waiting.read()
                except RuntimeError:
                    continue


@contextmanager
def _out_of_sight() -> Iterator[None]:
    """What runs inside is seen by no mode, of the user's or of ours, and not by autograd."""
    modes = _disable_current_modes() if torch._C._len_torch_dispatch_stack() else nullcontext()
    with quietly(), torch.no_grad(), modes:
        yield


def _widened(gradient: Tensor) -> Tensor:
    """Magnitudes of complex elements, and float32 or wider, since squares overflow in half precision."""
    if gradient.is_complex():
        gradient = gradient.abs()
    return gradient if gradient.dtype in (torch.float32, torch.float64) else gradient.float()


def _numbers(gradient: Tensor) -> Tensor:
    """Norm, lowest and highest of the finite elements, counts of NaN, of Inf, of elements that are not zero.

    The norm in float64 where the device has it.
    """
    wide = torch.float32 if gradient.device.type == "mps" else torch.float64
    finite = torch.nan_to_num(gradient, 0.0, 0.0, 0.0)
    numbers = (
        torch.linalg.vector_norm(finite, dtype=wide),
        *torch.aminmax(finite),
        gradient.isnan().count_nonzero(),
        gradient.isinf().count_nonzero(),
        gradient.count_nonzero(),
    )
    return torch.stack(numbers)  # in the widest of their dtypes, which is the norm's


def _numbers_of_finite(gradient: Tensor) -> list[float] | None:
    """The same, read at once; None where an element is not finite."""
    lowest, highest = (edge.item() for edge in torch.aminmax(gradient))  # NaN, if there is one
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return None
    norm = torch.linalg.vector_norm(gradient, dtype=torch.float64).item()
    return [norm, lowest, highest, 0, 0, gradient.count_nonzero().item()]
