"""Arrows that skip something run round it: out at the side, along it, and in at the side."""

from collections.abc import Sequence

from recorder_tikz_layout import Layout, Line, Place, Plan
from recorder_tikz_words import Rect, path

__all__ = ["with_skips"]

Point = tuple[float, float]

APART = 5.0
"""Between two lines that run side by side, in big points."""


def with_skips(layout: Layout, plan: Plan, direction: str) -> Layout:
    """The layout with straight ways and square corners for arrows that would bend around boxes, where there is room."""
    turned = direction == "LR"
    boxes = {number: _turned(place) if turned else place for number, place in layout.boxes.items()}
    router = _Router(boxes, [_turned(place) if turned else place for place in layout.frames.values()])
    lines: dict[int, Line] = {}
    for number in sorted(layout.lines, key=lambda n: _length(layout.lines[n])):
        tail, head, _ = plan.lines[number]
        points = [(y, x) if turned else (x, y) for x, y in path(layout.lines[number])]
        way = router.way(points, tail, head)
        if way is None:
            lines[number] = layout.lines[number]
        else:
            way = [(y, x) if turned else (x, y) for x, y in way]
            lines[number] = Line(way[:-1], way[-1], cornered=True)
    return Layout(layout.boxes, layout.frames, lines)


def _turned(place: Place) -> Place:
    return Place(place.y, place.x, place.height, place.width)


def _length(line: Line) -> float:
    return abs(line.end[0] - line.points[0][0]) + abs(line.end[1] - line.points[0][1])


class _Router:
    """Finds ways in a figure that runs upwards or downwards, and keeps them apart."""

    def __init__(self, boxes: dict[int, Place], frames: Sequence[Place]) -> None:
        self._boxes = boxes
        self._frames = [Rect.of(place) for place in frames]
        self._channels: list[tuple[float, float, float]] = []
        self._entered: set[tuple[int, int]] = set()
        self._left: set[tuple[int, int]] = set()

    def way(self, points: Sequence[Point], tail: int, head: int) -> list[Point] | None:
        """The corners of a way from the side of one box to the side of another; None if the line is better as it is."""
        start, end = self._boxes[tail], self._boxes[head]
        if abs(start.y - end.y) < 1.5 * (start.height + end.height):
            return None
        for side, far in ((1, max(x for x, _ in points)), (-1, min(x for x, _ in points))):
            edges = [place.x + side * place.width / 2 for place in (start, end)]
            beyond = max(edges) + 7 if side > 0 else min(edges) - 7
            bend = (far - max(start.x, end.x)) if side > 0 else (min(start.x, end.x) - far)
            if bend < 12 or (head, side) in self._entered or (tail, side) in self._left:
                continue
            for step in range(6):
                across = (max(far, beyond) if side > 0 else min(far, beyond)) + side * APART * step
                if self._is_free(across, start, end, edges, (tail, head)):
                    self._channels.append((across, *sorted((start.y, end.y))))
                    self._entered.add((head, side))
                    self._left.add((tail, side))
                    return [(edges[0], start.y), (across, start.y), (across, end.y), (edges[1], end.y)]
        return None

    def _is_free(self, across: float, start: Place, end: Place, edges: list[float], ends: tuple[int, int]) -> bool:
        low, high = sorted((start.y, end.y))
        if any(abs(across - x) < APART and low < top and bottom < high for x, bottom, top in self._channels):
            return False
        borders = [(x, frame) for frame in self._frames for x in (frame.left, frame.right)]
        if any(abs(across - x) < 3 and low < frame.high and frame.low < high for x, frame in borders):
            return False
        legs = [Rect(across - 3, low, across + 3, high)]
        for edge, place in zip(edges, (start, end)):
            legs.append(Rect(min(edge, across), place.y - 2, max(edge, across), place.y + 2))
        others = [Rect.of(place) for number, place in self._boxes.items() if number not in ends]
        return not any(leg.meets(other) for leg in legs for other in others)
