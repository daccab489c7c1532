"""A long layout broken into columns: `in_columns`, for a chain in a paper.

It is cut between boxes, where few arrows pass and few frames stand around, and what is below a cut is put beside what
is above. Frames that were cut hold all their columns; an arrow that passes a cut goes round, through the gap between
two columns. Coordinates are as in a layout from top to bottom; one from left to right is turned before and after.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from recorder import OptionError
from recorder_exporters.drawing.dot_drawing import Drawing
from recorder_exporters.drawing.layout import Layout, Path, Point, Rect, TitledFrame

__all__ = ["MOST_COLUMNS", "checked_columns", "in_columns"]

MOST_COLUMNS = 20
"""More make no sense on any page."""

MOST_ARROWS = 4
"""A cut that more arrows pass is no break of a chain."""

SLACK = 0.3
"""The part of its length by which a column may differ, to end at a better place."""

GAP, LANE = 48.0, 9.0
"""Between columns, for one arrow and for each more, in points."""

CORNER = 5.0
"""The radius of the bends of an arrow that goes round."""


def checked_columns(wrap: int) -> int:
    """A number of columns that can be asked for.

    Raises:
        OptionError: it is not.
    """
    if not 1 <= wrap <= MOST_COLUMNS:
        raise OptionError(f"wrap is {wrap}: it counts columns, or rows, from 1 to {MOST_COLUMNS}")
    return wrap


def in_columns(drawing: Drawing, layout: Layout, columns: int, turned: bool) -> Layout:
    """The layout in so many columns, or fewer, if there are not as many places to cut it. ``turned`` tells that data
    flows to the right, so that they are rows.

    Raises:
        OptionError: there is no such place at all.
    """
    given = _turned(layout) if turned else layout
    cuts = list(_cuts(given, columns))
    if not cuts:
        raise OptionError(f"wrap={columns} breaks a long chain, and here is none: many arrows lead past every place")
    broken = _Columns(drawing, given, cuts).layout()
    broken = _turned(broken) if turned else broken
    if "lp" not in layout.graph:
        return broken
    # The heading stays above all, in the middle.
    before, after = _bounds(layout), _bounds(broken)
    move = (after.left + after.right - before.left - before.right) / 2, after.high - before.high
    return replace(broken, graph={**layout.graph, "lp": _moved(layout.graph["lp"], move)})


def _bounds(layout: Layout) -> Rect:
    return _around([*layout.boxes.values(), *(frame.bounds for frame in layout.frames.values())])


def _cuts(layout: Layout, columns: int) -> Iterator[float]:
    """Heights, from above."""
    top = max((rect.high for rect in layout.boxes.values()), default=0.0)
    low = min((rect.low for rect in layout.boxes.values()), default=0.0)
    length = (top - low) / columns
    edges = {side for frame in layout.frames.values() for side in (frame.bounds.low, frame.bounds.high)}
    last = top
    for column in range(1, columns):
        aim = top - column * length
        found = min(
            (
                (passing, framed, abs(height - aim), height)
                for height in _gaps(layout, edges)
                if abs(height - aim) < SLACK * length and height < last
                for passing in [sum(_passes(path, height) for path, _ in layout.arrows.values())]
                for framed in [sum(frame.bounds.low < height < frame.bounds.high for frame in layout.frames.values())]
                if passing <= MOST_ARROWS
            ),
            default=None,
        )
        if found is not None:
            last = found[-1]
            yield last


def _gaps(layout: Layout, edges: set[float]) -> Iterator[float]:
    """Heights at which there is no box and no border of a frame."""
    rects = sorted(layout.boxes.values(), key=lambda rect: -rect.high)
    lowest = rects[0].low
    for rect in rects[1:]:
        if rect.high < lowest:
            stops = [lowest, *sorted((edge for edge in edges if rect.high < edge < lowest), reverse=True), rect.high]
            yield from ((above + below) / 2 for above, below in pairwise(stops))
        lowest = min(lowest, rect.low)


def _passes(path: Path, height: float) -> bool:
    return min(y for _, y in path) < height < max(y for _, y in path)


class _Columns:
    """A layout, cut at these heights."""

    def __init__(self, drawing: Drawing, layout: Layout, cuts: Sequence[float]) -> None:
        self._drawing, self._old, self._cuts = drawing, layout, cuts
        self._column = {id: self._at((rect.low + rect.high) / 2) for id, rect in layout.boxes.items()}
        self._cut = {
            number: frame
            for number, frame in layout.frames.items()
            if self._at(frame.bounds.high) != self._at(frame.bounds.low)
        }
        self._between: dict[int, list[int]] = {}  # by the column that they leave, arrows that go round
        for number, arrow in enumerate(drawing.arrows):
            if number in layout.arrows and self._column[arrow.tail] != self._column[arrow.head]:
                self._between.setdefault(min(self._column[arrow.tail], self._column[arrow.head]), []).append(number)
        self._holders = {id: frozenset(self._around_box(id)) for id in layout.boxes}
        self._move = self._moves()
        self._down = self._kept_below()
        self._boxes = {id: rect.moved(*self._shift_of_box(id)) for id, rect in layout.boxes.items()}

    def _around_box(self, id: str) -> Iterator[int]:
        """The frames around a box."""
        frame = self._drawing.boxes[id].frame
        while frame is not None:
            yield frame
            frame = self._drawing.frames[frame].parent

    def _at(self, height: float) -> int:
        return sum(height < cut for cut in self._cuts)

    def _moves(self) -> list[Point]:
        """How far each column goes."""
        tops: list[float] = []
        extents: list[list[float]] = []
        for column in range(len(self._cuts) + 1):
            rects = [rect for id, rect in self._old.boxes.items() if self._column[id] == column]
            frames = [
                frame.bounds
                for number, frame in self._old.frames.items()
                if number not in self._cut and self._at(frame.bounds.high) == column
            ]
            paths = [
                point
                for number, (path, _) in self._old.arrows.items()
                if self._column[self._drawing.arrows[number].tail] == column and not self._goes_round(number)
                for point in path
            ]
            xs = [x for rect in (*rects, *frames) for x in (rect.left, rect.right)] + [x for x, _ in paths]
            words = [x + 34 for x, _ in paths]  # room for what stands beside an arrow
            extents.append([min(xs), max([*xs, *words])])
            inside = [
                rect.high
                for id, rect in self._old.boxes.items()
                if self._column[id] == column and self._holders[id] & self._cut.keys()
            ]
            begins = column == 0 and inside  # what is above a frame that is cut stands above its first column
            tops.append(max(inside if begins else [rect.high for rect in (*rects, *frames)]))
        moves = [(0.0, 0.0)]
        right = extents[0][1]
        for column in range(1, len(extents)):
            gap = GAP + LANE * (len(self._between.get(column - 1, ())) - 1)
            across = right + gap - extents[column][0]
            moves.append((across, tops[0] - tops[column]))
            right = extents[column][1] + across
        self._lanes = [
            (extents[column][1] + moves[column][0], extents[column + 1][0] + moves[column + 1][0])
            for column in range(len(self._cuts))
        ]
        return moves

    def _goes_round(self, number: int) -> bool:
        arrow = self._drawing.arrows[number]
        return self._column[arrow.tail] != self._column[arrow.head]

    def _kept_below(self) -> dict[str, float]:
        """By how much boxes go down so that what stood below a frame that is cut does so still. Inner frames first."""
        down = dict.fromkeys(self._old.boxes, 0.0)
        for number in sorted(self._cut, reverse=True):
            bounds = self._old.frames[number].bounds
            column = self._at(bounds.low)
            lows = {
                id: self._old.boxes[id].low + self._move[self._column[id]][1] - down[id]
                for id in down
                if number in self._holders[id]
            }
            last = [low for id, low in lows.items() if self._column[id] == column]
            if last:
                more = min(last) - min(lows.values())
                for id, rect in self._old.boxes.items():
                    if id not in lows and self._column[id] == column and rect.high <= bounds.low:
                        down[id] += more
        return down

    def _shift_of_box(self, id: str) -> Point:
        across, up = self._move[self._column[id]]
        return across, up - self._down[id]

    def layout(self) -> Layout:
        frames = self._frames()
        arrows: dict[int, tuple[Path, str]] = {}
        for number, (path, written) in self._old.arrows.items():
            arrow = self._drawing.arrows[number]
            tail, head = self._shift_of_box(arrow.tail), self._shift_of_box(arrow.head)
            if self._goes_round(number):
                arrows[number] = _rounded(list(self._around(number)), "dir" in arrow.attributes)
            elif tail != head:
                arrows[number] = _rounded(list(_straight(self._boxes[arrow.tail], self._boxes[arrow.head])), False)
            else:
                arrows[number] = [(x + tail[0], y + tail[1]) for x, y in path], _moved(written, tail)
        placed = {
            id: {**told, "pos": _moved(told["pos"], self._shift_of_box(id))} for id, told in self._old.placed.items()
        }
        labels = {
            number: (x + move[0], y + move[1])
            for number, (x, y) in self._old.labels.items()
            if not self._goes_round(number)
            for move in [self._shift_of_box(self._drawing.arrows[number].tail)]
        }
        return Layout(self._boxes, placed, frames, arrows, labels, self._old.graph)

    def _frames(self) -> dict[int, TitledFrame]:
        """The inner ones first: one that was cut is around all that it holds."""
        found: dict[int, TitledFrame] = {}
        for number in sorted(self._old.frames, reverse=True):
            frame = self._old.frames[number]
            if number not in self._cut:
                move = self._shift_of_box(next(id for id, around in self._holders.items() if number in around))
                title = None if frame.title is None else (frame.title[0] + move[0], frame.title[1] + move[1])
                found[number] = replace(frame, bounds=frame.bounds.moved(*move), title=title)
                continue
            held = [id for id, box in self._drawing.boxes.items() if box.frame == number and id in self._boxes]
            inner = [other for other in found if self._drawing.frames[other].parent == number]
            before = [*(self._old.boxes[id] for id in held), *(self._old.frames[other].bounds for other in inner)]
            after = [*(self._boxes[id] for id in held), *(found[other].bounds for other in inner)]
            lanes = [lane for lane in self._lanes if min(r.left for r in after) < lane[0] < max(r.right for r in after)]
            was, now = _around(before), _around([*after, *(Rect(a, after[0].low, b, after[0].low) for a, b in lanes)])
            # Inside the innermost that is cut, arrows go round below and above the columns.
            most = 0 if any(other in self._cut for other in inner) else max(map(len, self._between.values()), default=1)
            under, over = (12.0 + 4.0 * most, 13.0 + 3.0 * most) if most else (0.0, 0.0)
            bounds = Rect(
                now.left + min(0.0, frame.bounds.left - was.left),
                now.low + min(-under, frame.bounds.low - was.low),
                now.right + max(0.0, frame.bounds.right - was.right),
                now.high + max(over, frame.bounds.high - was.high),
            )
            title = None
            if frame.title is not None:
                above = frame.bounds.high - frame.title[1]
                title = (bounds.left + frame.title[0] - frame.bounds.left, bounds.high - above)
            found[number] = replace(frame, bounds=bounds, title=title)
        return dict(sorted(found.items()))

    def _around(self, number: int) -> Iterator[Point]:
        """The corners of an arrow from one column to another: down, up through the gap, and down to the head."""
        arrow = self._drawing.arrows[number]
        tail, head = self._boxes[arrow.tail], self._boxes[arrow.head]
        from_column, to_column = self._column[arrow.tail], self._column[arrow.head]
        first = min(from_column, to_column)
        lane = self._between[first].index(number)
        left, right = self._lanes[first]
        across = right - LANE - LANE * lane if right - left > LANE * (lane + 2) else (left + right) / 2
        in_column = [self._boxes[id] for id, column in self._column.items() if column == from_column]
        under = [
            rect for rect in in_column if rect.high <= tail.low and rect.left < tail.right and tail.left < rect.right
        ]
        middle = (tail.left + tail.right) / 2
        if under:  # others stand below it
            height = (tail.low + tail.high) / 2
            yield tail.right, height
            yield across, height
        else:
            lowest = min(rect.low for rect in in_column if rect.right > middle) - 9.0 - 4.0 * lane
            yield middle, tail.low
            yield middle, lowest
            yield across, lowest
        top = head.high + 10.0 + 3.0 * lane
        if to_column - from_column > 1:
            top = max(
                top, *(rect.high for id, rect in self._boxes.items() if from_column < self._column[id] <= to_column)
            )
        yield across, top
        middle = (head.left + head.right) / 2
        yield middle, top
        yield middle, head.high


def _straight(tail: Rect, head: Rect) -> Iterator[Point]:
    yield (tail.left + tail.right) / 2, tail.low
    yield (head.left + head.right) / 2, head.high


def _rounded(corners: list[Point], backward: bool) -> tuple[Path, str]:
    """A line through corners, with an arrowhead at its end, as points and as Graphviz writes it."""
    (x, y), (to_x, to_y) = corners[-2], corners[-1]
    length = max(1e-6, abs(to_x - x) + abs(to_y - y))
    head = 6.0 / length if length > 8 else 0.0  # the arrowhead's own length
    ends = [*corners[:-1], (to_x - (to_x - x) * head, to_y - (to_y - y) * head)]
    points = [ends[0]]

    def line(end: Point) -> None:
        a, b = points[-1], end
        points.extend([(a[0] + (b[0] - a[0]) / 3, a[1] + (b[1] - a[1]) / 3),
                       (a[0] + (b[0] - a[0]) * 2 / 3, a[1] + (b[1] - a[1]) * 2 / 3), b])  # fmt: skip

    for before, corner, after in zip(ends, ends[1:], ends[2:]):
        start, stop = _towards(corner, before), _towards(corner, after)
        line(start)
        points.extend([corner, corner, stop])
    line(ends[-1])
    written = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    end = corners[-1]
    flag = "s" if backward else "e"
    return [*corners], f'"{flag},{end[0]:.2f},{end[1]:.2f} {written}"'


def _towards(corner: Point, other: Point) -> Point:
    """Where a bend begins."""
    across, up = other[0] - corner[0], other[1] - corner[1]
    length = max(1e-6, (across**2 + up**2) ** 0.5)
    part = min(CORNER, length / 2) / length
    return corner[0] + across * part, corner[1] + up * part


def _moved(written: str, by: Point) -> str:
    """Coordinates in Graphviz's words."""

    def move(match: re.Match[str]) -> str:
        return f"{float(match[1]) + by[0]:.2f},{float(match[2]) + by[1]:.2f}"

    return re.sub(r"(-?\d+\.?\d*(?:e[-+]?\d+)?),(-?\d+\.?\d*(?:e[-+]?\d+)?)", move, written)


def _around(rects: Sequence[Rect]) -> Rect:
    lefts, lows, rights, highs = zip(*rects)
    return Rect(min(lefts), min(lows), max(rights), max(highs))


# A layout from left to right, turned, is one from top to bottom: each point goes from (x, y) to (-y, -x), and back.


def _turned(layout: Layout) -> Layout:
    return Layout(
        {id: _turned_rect(rect) for id, rect in layout.boxes.items()},
        {id: {**told, "pos": _turned_text(told["pos"])} for id, told in layout.placed.items()},
        {
            number: replace(
                frame,
                bounds=_turned_rect(frame.bounds),
                title=None if frame.title is None else (-frame.title[1], -frame.title[0]),
            )
            for number, frame in layout.frames.items()
        },
        {n: ([(-y, -x) for x, y in path], _turned_text(written)) for n, (path, written) in layout.arrows.items()},
        {number: (-y, -x) for number, (x, y) in layout.labels.items()},
        layout.graph,
    )


def _turned_rect(rect: Rect) -> Rect:
    return Rect(-rect.high, -rect.right, -rect.low, -rect.left)


def _turned_text(written: str) -> str:
    number = r"(-?\d+\.?\d*(?:e[-+]?\d+)?)"
    return re.sub(f"{number},{number}", lambda m: f"{-float(m[2]):.2f},{-float(m[1]):.2f}", written)
