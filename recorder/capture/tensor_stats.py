"""What is in a gradient, or in a value of forward, computed where it is, and read once at the end.

Reading a number from a device waits for everything that the device still has to do. So the numbers stay there, one
small tensor for each one measured, until `Measures.read` fetches them all at once. On the CPU there is nobody to wait
for: what is seen first decides what has to be computed, and for what is finite that is a third of it.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _disable_current_modes

from recorder.capture.tensor_digest import digest, read_digest
from recorder.capture.tensor_facts import quietly

__all__ = ["Measure", "Measures", "measurable", "out_of_sight", "tracing"]

_MANY = 1_000
"""So many small tensors are put together into one, which takes less memory."""


class Measure:
    """The numbers of one tensor of ``size`` elements, each of so many ``parts``; ``row`` is None until they were read.
    The first so many of them are ``statistics``; the others a digest, where that was asked for.
    """

    __slots__ = ("parts", "row", "size", "statistics")

    def __init__(self, size: int, parts: int, statistics: int) -> None:
        self.size = size
        self.parts = parts
        self.statistics = statistics
        self.row: list[float] | None = None

    def numbers(self) -> tuple[float, float, int, int, float] | None:
        """Norm, largest magnitude, count of NaN, count of Inf, share of zeros; None if they could not be read."""
        if self.row is None:
            return None
        norm, lowest, highest, nan, inf, nonzero = self.row[:6]
        largest = max(abs(lowest), abs(highest))
        # A norm of float64 may be more than that holds; JSON has no infinity.
        return min(norm, sys.float_info.max), largest, int(nan), int(inf), (self.size - nonzero) / self.size

    def mean(self) -> float | None:
        """The mean of the finite elements, 0 if there is none; None if it was not measured, or could not be read."""
        if self.row is None or self.statistics == 6:
            return None
        finite = self.size - int(self.row[3]) - int(self.row[4])
        mean = self.row[6] / finite if finite else 0.0
        return max(-sys.float_info.max, min(mean, sys.float_info.max))  # as of the norm

    def digest(self) -> tuple[list[float | None], list[float], int] | None:
        """Sample, sketch and sum of bits, as `recorder.capture.tensor_digest` has them; None if there are none."""
        if self.row is None or len(self.row) == self.statistics:
            return None
        return read_digest(self.row[self.statistics :], self.size * self.parts)


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
    """Everything that was measured and not yet read.

    Args:
        mean: measure the mean, too. Nobody asks for that of a gradient.
        digest: keep a sample, a sketch and a sum of bits, too: `recorder.capture.tensor_digest`.
    """

    def __init__(self, mean: bool = False, digest: bool = False) -> None:
        self._mean = mean
        self._digest = digest
        self._unread: dict[Any, _Unread] = {}
        self._known: dict[Any, Tensor] = {}

    def measure(self, tensor: Any) -> Measure | None:
        """Compute the numbers of a tensor without waiting for them; None for what has none (see `measurable`), and for
        a kind that torch cannot count.
        """
        if not measurable(tensor):
            return None
        where: Any = tensor.device
        if where.type == "cuda":  # tensors of different streams cannot be put together without waiting
            where = (where, torch.cuda.current_stream(where).cuda_stream)
        try:
            with out_of_sight():
                measure = Measure(tensor.numel(), 1 + tensor.is_complex(), 6 + self._mean)
                self._compute(tensor.detach(), measure, where)
        except Exception:  # to measure is our wish: that it fails must not be the end of the user's run
            return None
        return measure

    def _compute(self, tensor: Tensor, measure: Measure, where: Any) -> None:
        wide = _widened(tensor)
        row = _numbers_of_finite(wide, self._mean) if tensor.device.type == "cpu" else None
        told = digest(tensor, wide, row is not None, where, self._known) if self._digest else []
        if row is not None:
            for part in told:
                row += part.tolist()
            measure.row = row
            return
        numbers = _numbers(wide, self._mean)
        if told:
            numbers = torch.cat([numbers, *(part.to(numbers.dtype) for part in told)])
        self._unread.setdefault(where, _Unread()).add(numbers, measure)

    def read(self) -> None:
        """Fetch all numbers. Where a device fails, its own error has reached the user or will: ours stays away."""
        unread, self._unread = self._unread, {}
        self._known.clear()
        with out_of_sight():
            for waiting in unread.values():
                try:
                    if waiting.measures and (device := (*waiting.single, *waiting.stacked)[0].device).type == "cuda":
                        torch.cuda.synchronize(device)
                    waiting.read()
                except RuntimeError:
                    continue


def measurable(tensor: Any) -> bool:
    """Whether there is anything to measure: not in what is no tensor, has no elements, is sparse or nested, is of a
    subclass that may mean something else by its elements, or is captured in a CUDA graph; nor inside a transform of
    `torch.func`, whose tensors must not be kept, or while torch.jit traces, which would trace us.
    """
    if type(tensor) not in (Tensor, nn.Parameter) or tensor.layout != torch.strided or tensor.is_nested:
        return False
    if tracing() is not None or _transforming() is not None or tensor.is_meta or not tensor.numel():
        return False
    # A CUDA graph is replayed when nobody reads.
    return not (tensor.is_cuda and torch.cuda.is_current_stream_capturing())


_transforming = torch._C._functorch.peek_interpreter_stack
tracing: Callable[[], Any] = torch._C._get_tracing_state
"""What is transforming, and tracing, or None. While torch.jit traces, sizes are tensors."""


@contextmanager
def out_of_sight() -> Iterator[None]:
    """What runs inside is seen by no mode, of the user's or of ours, and not by autograd."""
    modes = _disable_current_modes() if torch._C._len_torch_dispatch_stack() else nullcontext()
    with quietly(), torch.no_grad(), modes:
        yield


def _widened(tensor: Tensor) -> Tensor:
    """Magnitudes of complex elements, and float32 or wider, since squares overflow in half precision."""
    if tensor.is_complex():
        tensor = tensor.abs()
    return tensor if tensor.dtype in (torch.float32, torch.float64) else tensor.float()


def _numbers(tensor: Tensor, mean: bool) -> Tensor:
    """Norm, lowest and highest of the finite elements, counts of NaN, of Inf, of elements that are not zero; for a
    mean the sum of the finite elements.

    The norm in float64 where the device has it.
    """
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    finite = torch.nan_to_num(tensor, 0.0, 0.0, 0.0)
    numbers = [
        _norm(finite, wide),
        *torch.aminmax(finite),
        tensor.isnan().count_nonzero(),
        tensor.isinf().count_nonzero(),
        tensor.count_nonzero(),
    ]
    if mean:
        numbers.append(finite.sum(dtype=wide))
    return torch.stack(numbers)  # in the widest of their dtypes, which is the norm's


def _norm(finite: Tensor, wide: torch.dtype) -> Tensor:
    """Squares of float64 may be too large for it, or too small: those of what is left over the largest are not."""
    largest = None
    if finite.dtype == torch.float64:
        largest = finite.abs().amax().clamp_min(torch.finfo(torch.float64).tiny)
        finite = finite / largest
    norm: Tensor = torch.linalg.vector_norm(finite, dtype=wide)
    return norm if largest is None else norm * largest


def _numbers_of_finite(tensor: Tensor, mean: bool) -> list[float] | None:
    """The same, read at once; None where an element is not finite."""
    lowest, highest = (edge.item() for edge in torch.aminmax(tensor))  # NaN, if there is one
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        return None
    norm = _norm(tensor, torch.float64).item()
    total = [tensor.sum(dtype=torch.float64).item()] if mean else []
    return [norm, lowest, highest, 0, 0, tensor.count_nonzero().item(), *total]
