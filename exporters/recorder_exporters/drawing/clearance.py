"""What is in the way: rectangles and lines, by where they are, so that to ask about a place is to look only there."""

import math
from collections.abc import Container, Hashable, Iterator
from itertools import pairwise

from recorder_exporters.drawing.layout import Path, Rect

__all__ = ["Obstacles"]

CELL = 16.0
"""The side of a cell, in points: about the height of a label."""


class Obstacles:
    """All that a text must not touch."""

    def __init__(self) -> None:
        self._cells: dict[tuple[int, int], list[tuple[float, float, float, float, bool, Hashable]]] = {}

    def add(self, rect: Rect, owner: Hashable = None) -> None:
        """Something solid."""
        for cell in _cells(rect):
            self._cells.setdefault(cell, []).append((*rect, False, owner))

    def add_line(self, path: Path, owner: Hashable = None) -> None:
        for (x, y), (to_x, to_y) in pairwise(path):
            parts = max(1, math.ceil(math.hypot(to_x - x, to_y - y) / CELL))
            for part in range(parts):
                a, b = part / parts, (part + 1) / parts
                ends = x + a * (to_x - x), y + a * (to_y - y), x + b * (to_x - x), y + b * (to_y - y)
                ends = ends if ends[0] <= ends[2] else (*ends[2:], *ends[:2])
                around = Rect(
                    min(ends[0], ends[2]), min(ends[1], ends[3]), max(ends[0], ends[2]), max(ends[1], ends[3])
                )
                for cell in _cells(around):
                    self._cells.setdefault(cell, []).append((*ends, True, owner))

    def add_border(self, rect: Rect, owner: Hashable = None) -> None:
        """The four sides of a frame."""
        corners = [(rect.left, rect.low), (rect.right, rect.low), (rect.right, rect.high), (rect.left, rect.high)]
        self.add_line([*corners, corners[0]], owner)

    def is_free(self, rect: Rect, but: Container[Hashable] = ()) -> bool:
        """Whether nothing touches a place, but for what is named."""
        return next(self.within(rect, but), None) is None

    def within(self, rect: Rect, but: Container[Hashable] = ()) -> Iterator[tuple[float, float]]:
        """From where to where, from left to right, each thing covers a place; of a line, what of it is inside."""
        left, low, right, high = rect
        for cell in _cells(rect):
            for a, b, c, d, is_line, owner in self._cells.get(cell, ()):
                # Most of what is near is not in the place: that is told first, and soon.
                if c < left or a > right or (b < low and d < low) or (b > high and d > high):
                    continue
                if owner is not None and owner in but:
                    continue
                if is_line:
                    inside = _inside(rect, a, b, c, d)
                    if inside is not None:
                        yield inside
                elif left < c and a < right and low < d and b < high:
                    yield max(a, left), min(c, right)


def _cells(rect: Rect) -> Iterator[tuple[int, int]]:
    for i in range(math.floor(rect.left / CELL), math.floor(rect.right / CELL) + 1):
        for j in range(math.floor(rect.low / CELL), math.floor(rect.high / CELL) + 1):
            yield i, j


def _inside(rect: Rect, x: float, y: float, to_x: float, to_y: float) -> tuple[float, float] | None:
    """From where to where, from left to right, a straight line is in a rectangle."""
    start, end = 0.0, 1.0
    for at, way, low, high in ((x, to_x - x, rect.left, rect.right), (y, to_y - y, rect.low, rect.high)):
        if way == 0:
            if not low <= at <= high:
                return None
            continue
        first, last = sorted(((low - at) / way, (high - at) / way))
        start, end = max(start, first), min(end, last)
        if start > end:
            return None
    ends = x + start * (to_x - x), x + end * (to_x - x)
    return min(ends), max(ends)
