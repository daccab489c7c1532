"""Room for words: titles where no arrow comes in, and words of arrows near their lines, where nothing else is."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from recorder_tikz_layout import Line, Place

__all__ = ["Rect", "Room", "path"]

Point = tuple[float, float]


class Rect(NamedTuple):
    """From the left and lower to the right and upper side."""

    left: float
    low: float
    right: float
    high: float

    @classmethod
    def of(cls, place: Place, more: float = 0.0) -> "Rect":
        """What a box or frame covers, and so much more at each side."""
        across, up = place.width / 2 + more, place.height / 2 + more
        return cls(place.x - across, place.y - up, place.x + across, place.y + up)

    def meets(self, other: "Rect") -> bool:
        return self.left < other.right and other.left < self.right and self.low < other.high and other.low < self.high

    def holds(self, point: Point) -> bool:
        return self.left < point[0] < self.right and self.low < point[1] < self.high


def path(line: Line) -> list[Point]:
    """Points on a line, a few big points apart."""
    found = [line.points[0]]
    if line.cornered:
        for a, b in pairwise([*line.points, line.end]):
            steps = 1 + int((abs(b[0] - a[0]) + abs(b[1] - a[1])) / 3)
            found += [(a[0] + (b[0] - a[0]) * s / steps, a[1] + (b[1] - a[1]) * s / steps) for s in range(1, steps + 1)]
        return found
    for at in range(0, len(line.points) - 3, 3):
        a, b, c, d = line.points[at : at + 4]
        steps = 2 + int((abs(d[0] - a[0]) + abs(d[1] - a[1])) / 2)
        for step in range(1, steps + 1):
            t = step / steps
            u = 1 - t
            p, q, r, s = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
            found.append((
                p * a[0] + q * b[0] + r * c[0] + s * d[0],
                p * a[1] + q * b[1] + r * c[1] + s * d[1],
            ))  # fmt: skip
    return [*found, line.end]


class Room:
    """What is taken: boxes and titles, the borders of frames, and the lines of arrows."""

    def __init__(self, solid: Sequence[Rect], borders: Sequence[Rect], lines: Sequence[Line]) -> None:
        self._solid = list(solid)
        self._borders = borders
        self._points = sorted(point for line in lines for point in path(line))

    def crossed(self, rect: Rect) -> bool:
        """Whether an arrow runs through there."""
        return any(rect.holds(point) for point in self._points)

    def take(self, rect: Rect) -> None:
        self._solid.append(rect)

    def beside(self, line: Line, width: float, height: float) -> Point | None:
        """The middle of words of that size beside a line, near its middle if that is free; None if nothing is."""
        for x, y in _from_the_middle(path(line)):
            for across, up in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                middle = (x + across * (width / 2 + 2.5), y + up * (height / 2 + 1.5))
                rect = Rect.of(Place(*middle, width, height), 0.8)
                if self._is_free(rect):
                    self._solid.append(rect)
                    return middle
        return None

    def _is_free(self, rect: Rect) -> bool:
        if any(rect.meets(other) for other in self._solid):
            return False
        if any(rect.meets(border) and not _inside(rect, border) for border in self._borders):
            return False
        return not any(rect.holds(point) for point in self._points if rect.left < point[0] < rect.right)


def _inside(rect: Rect, frame: Rect) -> bool:
    within = frame.left < rect.left and rect.right < frame.right
    return within and frame.low < rect.low and rect.high < frame.high


def _from_the_middle(points: Sequence[Point]) -> Iterator[Point]:
    middle = len(points) // 2
    yield points[middle]
    for far in range(1, middle + 1):
        yield from (points[at] for at in (middle - far, middle + far) if 0 < at < len(points) - 1)
