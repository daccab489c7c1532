"""How far two tensors are from each other, as far as their digests tell: `recorder.events.Digest`."""

import math
from typing import Any, NamedTuple

from recorder.graph.core import Value

__all__ = ["Distance", "distance", "is_discrete", "of_digests"]

LARGEST = {"float16": 65504.0, "bfloat16": 3.3e38, "float32": 3.4e38}
"""Numbers that are as large as that stand for minus infinity in masks, in one dtype as in the other."""

HUGE = 1e30


class Distance(NamedTuple):
    """``relative``: the norm of the difference beside the larger norm of the two, infinite where one has a NaN or Inf
    that the other has not. ``absolute``: the norm of the difference; of masks, of the elements that are none. ``size``:
    the larger norm. ``largest`` magnitude of the two, and how many ``elements`` each has. ``same``: whether all bits
    are; None of two dtypes.
    """

    relative: float
    absolute: float
    size: float
    largest: float
    elements: int
    same: bool | None


def distance(v: Value, w: Value) -> Distance | None:
    """None where it is not known: one was not measured, or their shapes differ."""
    if v.shape != w.shape or not all("digest" in value.meta and "stats" in value.meta for value in (v, w)):
        return None
    one, other = ({**value.meta["stats"], **value.meta["digest"]} for value in (v, w))
    return of_digests(one, other, (v.dtype, w.dtype), math.prod(v.shape))


def _are_of_one_kind(one: dict[str, Any], other: dict[str, Any], elements: int) -> bool:
    """Whether two digests are as this package makes them: a file can say anything."""
    return elements > 0 and all(len(one[name]) == len(other[name]) for name in ("sample", "sketch"))


def of_digests(one: dict[str, Any], other: dict[str, Any], dtypes: tuple[str, str], elements: int) -> Distance | None:
    """The distance of what was measured of two tensors of as many elements; None of what was measured in two ways."""
    if not _are_of_one_kind(one, other, elements):
        return None
    same = None
    if dtypes[0] == dtypes[1]:
        same = all(one[name] == other[name] for name in ("bits", "sample", "nan", "inf"))
    largest = max(one["largest"], other["largest"])
    if same:
        return Distance(0.0, 0.0, max(one["norm"], other["norm"]), largest, elements, True)
    if one["nan"] != other["nan"]:
        return Distance(math.inf, math.inf, max(one["norm"], other["norm"]), largest, elements, same)
    if any(_is_masked(told, dtype) for told, dtype in zip((one, other), dtypes)):
        return _of_masked(one, other, dtypes, elements, same)
    norms = one["norm"], other["norm"]
    apart = math.dist(one["sketch"], other["sketch"])
    apart = max(apart, abs(norms[0] - norms[1]))  # the distance is no less
    if "mean" in one and "mean" in other:
        apart = max(apart, abs(one["mean"] - other["mean"]) * math.sqrt(elements))
    size = max(norms)
    return Distance(apart / size if size else 0.0, apart, size, largest, elements, same)


def _is_masked(told: dict[str, Any], dtype: str) -> bool:
    return bool(told["inf"]) or told["largest"] >= min(HUGE, LARGEST.get(dtype, HUGE))


def _of_masked(
    one: dict[str, Any], other: dict[str, Any], dtypes: tuple[str, str], elements: int, same: bool | None
) -> Distance:
    """Of tensors with infinities, or what stands for them: by the elements in the sample that are none."""
    limits = [min(HUGE, LARGEST.get(dtype, HUGE)) for dtype in dtypes]
    samples = zip((one["sample"], other["sample"]), limits)
    told = [[None if n is None or abs(n) >= limit else n for n in sample] for sample, limit in samples]
    differ = any((a is None) != (b is None) for a, b in zip(*told))
    masks = all(_is_masked(t, dtype) for t, dtype in zip((one, other), dtypes))
    if differ or not masks:
        return Distance(math.inf, math.inf, math.inf, math.inf, elements, same)
    pairs = [(a, b) for a, b in zip(*told) if a is not None and b is not None]
    scale = math.sqrt(elements / len(pairs)) if pairs else 0.0
    apart = scale * math.dist(*zip(*pairs)) if pairs else 0.0
    size = scale * max(math.hypot(*side) for side in zip(*pairs)) if pairs else 0.0
    largest = max((abs(n) for pair in pairs for n in pair), default=0.0)
    return Distance(apart / size if size else 0.0, apart, size, largest, elements, same)


def is_discrete(value: Value) -> bool:
    """Whether a tensor holds integers or truth values: of these, one that differs is not a little off."""
    return not value.dtype.startswith(("float", "bfloat", "complex"))
