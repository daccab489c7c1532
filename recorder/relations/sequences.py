"""Which items of one sequence are which of another, in order, so that what is worth most together is kept.

What begins and ends alike is passed in one walk each; only between is every pair weighed, and of what is very long
there, what difflib finds to be alike first.
"""

from collections.abc import Callable, Hashable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import TypeVar

__all__ = ["in_order"]

_T = TypeVar("_T")

CELLS = 60_000
"""Pairs that are weighed at once: a tenth of a second's work."""


def in_order(
    xs: Sequence[_T], ys: Sequence[_T], worth: Callable[[_T, _T], float], key: Callable[[_T], Hashable]
) -> Iterator[tuple[_T, _T]]:
    """The pairs in order, none crossing another, with the largest sum of what they are worth.

    Args:
        xs: one sequence.
        ys: the other.
        worth: what it is worth to take two for the same; 0 for what must not be.
        key: equal for items that are surely the same, if they are in order: what is looked at first in long sequences.
    """
    if len(xs) * len(ys) <= CELLS:
        yield from _best(xs, ys, worth)
        return
    matcher = SequenceMatcher(None, [key(x) for x in xs], [key(y) for y in ys], autojunk=False)
    for tag, i, to, j, upto in matcher.get_opcodes():
        if tag == "equal":
            yield from zip(xs[i:to], ys[j:upto])
        elif (to - i) * (upto - j) <= CELLS:
            yield from _best(xs[i:to], ys[j:upto], worth)
        else:  # too much to weigh: side by side, as long as it is worth something
            yield from ((x, y) for x, y in zip(xs[i:to], ys[j:upto]) if worth(x, y) > 0)


def _best(xs: Sequence[_T], ys: Sequence[_T], worth: Callable[[_T, _T], float]) -> Iterator[tuple[_T, _T]]:
    """Needleman and Wunsch's alignment (https://doi.org/10.1016/0022-2836(70)90057-4) where a gap costs nothing."""
    if not xs or not ys:
        return
    pair = [[worth(x, y) for y in ys] for x in xs]
    sums = [[0.0] * (len(ys) + 1) for _ in range(len(xs) + 1)]
    for i in range(len(xs) - 1, -1, -1):
        row, below, of_pair = sums[i], sums[i + 1], pair[i]
        for j in range(len(ys) - 1, -1, -1):
            best = max(below[j], row[j + 1])
            if of_pair[j] and of_pair[j] + below[j + 1] >= best:
                best = of_pair[j] + below[j + 1]
            row[j] = best
    i = j = 0
    while i < len(xs) and j < len(ys):
        if pair[i][j] and sums[i][j] == pair[i][j] + sums[i + 1][j + 1]:
            yield xs[i], ys[j]
            i, j = i + 1, j + 1
        elif sums[i][j] == sums[i + 1][j]:
            i += 1
        else:
            j += 1
