"""What two recordings compare of a tensor, computed where it is: some of its elements, and a sum of all its bits.

Which elements depends on how many there are alone, and they are counted as the tensor is indexed: so they are the same
ones in another dtype, on another device, and in another layout of memory. The sum does not ask for their order, so it
is the same in any layout, too; it differs where a single bit does, but for one case in 2 ** 48.
"""

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["SAMPLE", "digest", "read_digest"]

SAMPLE = 64
"""So many elements are kept; of a complex tensor, so many real and imaginary parts."""

_PIECE = 24
"""Bits of the sum that stand in one number: float32, which is the widest of some devices, holds as many."""

_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_MIXING = {torch.int32: (-1640531535, 15, 739982445), torch.int64: (-7046029254386353131, 31, -4658895280553007687)}
"""What bits are multiplied with and shifted by, so that differences of single bits do not cancel out in the sum: as in
https://doi.org/10.1145/2714064.2660195 ."""


def digest(tensor: Tensor, where: Any, positions: dict[Any, Tensor]) -> tuple[list[Tensor], Tensor]:
    """Two pieces of the sum of the bits, and the elements. Nothing waits for them.

    Args:
        tensor: any that has elements.
        where: its device, and the stream of it.
        positions: those of the elements, by their number and where; renewed here.
    """
    parts = tensor.resolve_conj().resolve_neg()
    parts = torch.view_as_real(parts) if parts.is_complex() else parts
    elements = parts.numel()
    at = positions.get((elements, where))
    if at is None:
        at = positions[elements, where] = _positions(elements, tensor.device)
    total = _sum_of_bits(parts)
    mask = (1 << _PIECE) - 1
    if not parts.dtype.is_floating_point or parts.dtype.itemsize > 1:
        return [total & mask, (total >> _PIECE) & mask], torch.take(parts, at)
    return [total & mask, (total >> _PIECE) & mask], torch.take(parts.float(), at)  # float8 has no `take`


def read_digest(row: list[float], elements: int) -> tuple[list[float | None], int]:
    """The sample, None for what is not finite, and the sum, from the numbers of `digest` in a row. ``elements``: how
    many there are, of a complex tensor twice as many.
    """
    low, high, *sample = row
    kept = sample[: min(SAMPLE, elements)]
    return [number if math.isfinite(number) else None for number in kept], int(high) << _PIECE | int(low)


def _positions(elements: int, device: torch.device) -> Tensor:
    """One out of each of `SAMPLE` equal parts, not always the same one there: a stride would fall on one channel."""
    number = torch.arange(SAMPLE, device=device)
    if elements <= SAMPLE:
        return number.clamp(max=elements - 1)
    return number * elements // SAMPLE + number * 2654435761 % 4294967296 % (elements // SAMPLE)


def _sum_of_bits(tensor: Tensor) -> Tensor:
    bits = tensor if tensor.dtype is torch.bool else tensor.view(_INTEGERS[tensor.dtype.itemsize])
    if bits.dtype.itemsize < 4:
        bits = bits.int()
    factor, shift, other = _MIXING[bits.dtype]
    mixed = bits * factor
    mixed ^= mixed >> shift
    mixed *= other
    mixed ^= mixed >> shift
    return mixed.sum(dtype=torch.int64)
