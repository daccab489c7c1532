"""What two recordings compare of a tensor, computed where it is.

- a *sample*: some of its elements. Which ones depends on how many there are alone, counted as the tensor is indexed: so
  they are the same in another dtype, on another device, and in another layout of memory;
- a *sketch* of all of them, which a sample is not: each element is added to one of a few sums, or subtracted, as a
  fixed rule says that is as good as chance. The distance of two sketches is that of the tensors, but for an eighth or
  so, however few elements differ (Charikar, Chen, Farach-Colton, https://doi.org/10.1016/S0304-3975(03)00400-6);
- a *sum of all bits*, in which the order of the elements does not count, so it is the same in any layout.
"""

import math
import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

__all__ = ["SAMPLE", "SUMS", "digest", "read_digest"]

SAMPLE = 32
"""So many elements are kept; of a complex tensor, real and imaginary parts are elements."""

SUMS = 31
"""So many sums there are: a prime, so that what is wrong in one channel alone is in all of them."""

ROWS = 1024
"""Of a block of signs, which are kept once for all tensors on a device."""

_PIECE = 24
"""Bits of the sum that stand in one number: float32, which is the widest of some devices, holds as many."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_MIXING = {torch.int32: (-1640531535, 15, 739982445), torch.int64: (-7046029254386353131, 31, -4658895280553007687)}
"""What bits are multiplied with and shifted by, as in splitmix, so that what differs in them does not cancel out."""


def digest(tensor: Tensor, wide: Tensor, finite: bool, where: Any, known: dict[Any, Tensor]) -> list[Tensor]:
    """The sum of the bits in two pieces, the sample and the sketch. Nothing waits for them.

    Args:
        tensor: any that has elements.
        wide: the same as float32 or float64, if it is not complex.
        finite: whether there is no NaN and no Inf in it.
        where: its device, and the stream of it.
        known: what depends on the number of elements and on where they are; filled here.
    """
    parts = tensor
    if tensor.is_complex():
        parts = wide = torch.view_as_real(tensor.resolve_conj().resolve_neg())
    elements = parts.numel()
    if ("positions", elements, where) not in known:
        known["positions", elements, where] = _positions(elements, tensor.device)
    total = _sum_of_bits(parts)
    pieces = torch.stack([total & (1 << _PIECE) - 1, (total >> _PIECE) & (1 << _PIECE) - 1])
    numbers = wide if wide.dtype in (torch.float32, torch.float64) else wide.float()
    sample = torch.take(numbers, known["positions", elements, where])
    return [pieces, sample, _sketch(numbers if finite else torch.nan_to_num(numbers, 0.0, 0.0, 0.0), where, known)]


def read_digest(row: Sequence[float], elements: int) -> tuple[list[float | None], list[float], int]:
    """Sample, None for what is not finite, sketch, and sum of bits, from the numbers of `digest` in a row.
    ``elements``: how many there are, of a complex tensor twice as many.
    """
    low, high, *numbers = row
    sample = [number if math.isfinite(number) else None for number in numbers[: min(SAMPLE, elements)]]
    largest = sys.float_info.max  # JSON has no infinity
    sketch = [max(-largest, min(number, largest)) for number in numbers[SAMPLE:][: min(SUMS, elements)]]
    return sample, sketch, int(high) << _PIECE | int(low)


def _positions(elements: int, device: torch.device) -> Tensor:
    """One out of each of `SAMPLE` equal parts, not always the same one there: a stride would fall on one channel."""
    number = torch.arange(SAMPLE, device=device)
    if elements <= SAMPLE:
        return number.clamp(max=elements - 1)
    return number * elements // SAMPLE + number * 2654435761 % 4294967296 % (elements // SAMPLE)


def _sketch(tensor: Tensor, where: Any, known: dict[Any, Tensor]) -> Tensor:
    """Element ``i`` belongs to sum ``i % SUMS``. Of full blocks, the sign is the product of the element's in its block
    and the block's for that sum; of what is left over, the first of these; and what is less than a row is added.
    """
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    flat = tensor.reshape(-1)
    elements = flat.numel()
    blocks, rest = divmod(elements, ROWS * SUMS)
    rows, few = divmod(rest, SUMS)
    sums = torch.zeros(SUMS, dtype=wide, device=tensor.device)
    if few:
        sums[:few] += flat[elements - few :]
    if blocks or rows:
        signs = known.get(("signs", where))
        if signs is None:
            signs = known["signs", where] = _signs(ROWS, 0, tensor.device)
        end = blocks * ROWS * SUMS
        if rows:
            sums += (flat[end : end + rows * SUMS].view(rows, SUMS) * signs[:rows]).sum(0, dtype=wide)
        if blocks:
            of_blocks = _signs(blocks, 1 << 20, tensor.device)
            sums += ((flat[:end].view(blocks, ROWS, SUMS) * signs).sum(1, dtype=wide) * of_blocks).sum(0)
    return sums


def _signs(rows: int, first: int, device: torch.device) -> Tensor:
    """So many rows of 1 and -1, by the numbers of their elements from ``first`` on."""
    numbers = torch.arange(first, first + rows * SUMS, dtype=torch.int32, device=device)
    return (1 - 2 * (_mixed(numbers) & 1)).float().view(rows, SUMS)


def _sum_of_bits(tensor: Tensor) -> Tensor:
    bits = tensor if tensor.dtype is torch.bool else tensor.view(_INTEGERS[tensor.dtype.itemsize])
    return _mixed(bits.int() if bits.dtype.itemsize < 4 else bits).sum(dtype=torch.int64)


def _mixed(bits: Tensor) -> Tensor:
    factor, shift, other = _MIXING[bits.dtype]
    mixed = bits * factor
    mixed ^= mixed >> shift
    mixed *= other
    mixed ^= mixed >> shift
    return mixed
