"""Ranks as text: ``"0-3,8"``, ``"0-12:4"`` for every fourth. The members of a thousand-rank group fit on a line."""

from collections.abc import Iterable, Sequence

__all__ = ["as_ranges", "of_ranges", "ranks_in_words"]

_MOST = 2**20
"""So many ranks are read from a text at most: what a stranger's file says is not taken for granted."""


def as_ranges(ranks: Iterable[int]) -> str:
    """These ranks in their order, each run of them that has one step as a range.

    Examples:
        >>> as_ranges([0, 1, 2, 3, 8]), as_ranges([0, 4, 8, 12]), as_ranges([3, 1])
        ('0-3,8', '0-12:4', '3,1')
    """
    left = list(ranks)
    parts: list[str] = []
    start = 0
    while start < len(left):
        stop = start + 1
        step = left[stop] - left[start] if stop < len(left) else 1
        while step > 0 and stop < len(left) and left[stop] - left[stop - 1] == step:
            stop += 1
        if stop - start < 3 and step != 1:
            stop = start + 1
        first, last = left[start], left[stop - 1]
        parts.append(str(first) if stop - start == 1 else f"{first}-{last}" + (f":{step}" if step != 1 else ""))
        start = stop
    return ",".join(parts)


def of_ranges(text: str) -> tuple[int, ...]:
    """The ranks that a text names, in its order.

    Raises:
        ValueError: it is no such text, or names more than a million.

    Examples:
        >>> of_ranges("0-3,8"), of_ranges("0-12:4"), of_ranges("")
        ((0, 1, 2, 3, 8), (0, 4, 8, 12), ())
    """
    found: list[int] = []
    for part in text.split(",") if text else ():
        bounds, _, step = part.partition(":")
        first, dash, last = bounds.partition("-")
        numbers = range(int(first), int(last if dash else first) + 1, int(step or 1))
        if len(found) + len(numbers) > _MOST:
            raise ValueError(f"{text[:40]!r} names more than {_MOST:,} ranks")
        found += numbers
    return tuple(found)


def ranks_in_words(ranks: Sequence[int]) -> str:
    """As a reader is told: ``rank 3``, ``ranks 0–3, 8``."""
    return f"rank{'' if len(ranks) == 1 else 's'} {as_ranges(ranks).replace('-', '–').replace(',', ', ')}"
