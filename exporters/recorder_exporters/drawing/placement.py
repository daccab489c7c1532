"""A place for every title and every label, where no line, box or other text is.

Dot knows how much room a frame's title takes, but leads arrows through it; and room for labels of arrows it makes by
bending arrows, or not at all. So it lays out boxes and lines, and where they leave room the words are put here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

from recorder_exporters.drawing.clearance import Obstacles
from recorder_exporters.drawing.dot_drawing import ArrowMark, Attributes, Drawing, Places
from recorder_exporters.drawing.layout import Layout, Path, Point, Rect, TitledFrame

__all__ = ["Placement", "placement", "roomier"]

SIZE = 8
"""The type of the words on arrows, in points."""

FIGURE = 0.58
"""How wide a figure, or ``×``, is for its size: wider than most letters."""

EDGE_OF_FRAME = 5.0
"""Between a frame and its title."""

APART = 4.0
"""Between a text and anything else."""

BORDERS = 8.0
"""Between the sides of a frame and of what is in it."""

WIDEST = 130.0
"""By how much a frame grows to one side, at most, to have its title beside an arrow."""


@dataclass(frozen=True, slots=True)
class Placement:
    """``untitled`` are the frames, by number, for whose titles there is no place, ``unnamed`` the arrows; ``hidden``
    counts boxes that a line runs through.
    """

    places: Places
    untitled: Sequence[int]
    unnamed: Sequence[int]
    letters: Mapping[int, Rect]
    hidden: int = 0

    @property
    def missing(self) -> int:
        """How many texts have no place."""
        return len(self.untitled) + len(self.unnamed)

    @property
    def faults(self) -> tuple[int, int]:
        """By what one is worse than another: boxes that a line runs through first."""
        return self.hidden, self.missing

    @property
    def in_words(self) -> str:
        """What is left out."""
        counts = [(len(self.unnamed), "shape"), (len(self.untitled), "title")]
        told = [f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in counts if count]
        return f"no room for {' and '.join(told)}" if told else ""


def placement(drawing: Drawing, layout: Layout, letters: Mapping[int, Rect] | None = None) -> Placement:
    """Where all the words of a drawing go. What finds no place is left out. ``letters`` are what titles cover, known
    from a layout that had them.
    """
    letters = letters or {n: frame.letters for n, frame in layout.frames.items() if frame.title is not None}
    obstacles = Obstacles()
    at: dict[str, set[int]] = {}
    for number, (path, _) in layout.arrows.items():
        obstacles.add_line(path, number)
        for end in (drawing.arrows[number].tail, drawing.arrows[number].head):
            at.setdefault(end, set()).add(number)
    # Dot leads a line through a box now and then, where it has to bend many.
    hidden = sum(not obstacles.is_free(rect.wider(-2), at.get(id, ())) for id, rect in layout.boxes.items())
    for rect in layout.boxes.values():
        obstacles.add(rect)
    frames, untitled = _titles(drawing, layout, letters, obstacles)
    arrows: dict[int, Attributes] = {number: {"pos": written} for number, (_, written) in layout.arrows.items()}
    labels, unnamed = _labels(drawing, layout, obstacles)
    for number, ((x, y), is_flat) in labels.items():
        markup = drawing.arrows[number].flat if is_flat else drawing.arrows[number].markup
        arrows[number] |= {"label": markup, "lp": f'"{x:.2f},{y:.2f}"'}
    return Placement(
        Places(dict(layout.placed), arrows, frames, dict(layout.graph)), untitled, unnamed, letters, hidden
    )


def roomier(drawing: Drawing, room: Places, found: Placement) -> Places:
    """What a layout is to be told so that it has room for what found none: a frame is to be wide enough for its title
    at either side of its middle, and an arrow leaves room for its words.
    """
    titles: dict[int, Attributes] = {}
    for number in found.untitled:
        letters = found.letters[number]
        titles[number] = {"label": _blank(2 * (letters.right - letters.left) + 40, letters.high - letters.low)}
    labels: dict[int, Attributes] = {}
    worded = [number for number, arrow in enumerate(drawing.arrows) if arrow.lines]
    for number in worded if found.hidden else found.unnamed:  # more room for all of them leads lines round boxes, too
        width, height = _size(drawing.arrows[number], drawing.wider)
        labels[number] = {"label": _blank(width + 12, height + 2)}
    return Places(arrows={**room.arrows, **labels}, frames={**room.frames, **titles})


def _blank(width: float, height: float) -> str:
    """A label that takes room and shows nothing."""
    return (
        f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="0" fixedsize="true" width="{width:.0f}" '
        f'height="{height:.0f}"><tr><td></td></tr></table>>'
    )


def _size(arrow: ArrowMark, wider: float, flat: bool = False) -> Point:
    """Of the words on an arrow, below each other or in one line."""
    if flat:
        return wider * FIGURE * SIZE * (sum(map(len, arrow.lines)) + len(arrow.lines) - 1), 9.2
    return wider * FIGURE * SIZE * max(map(len, arrow.lines)), 9.2 * len(arrow.lines)


# Titles of frames


def _titles(
    drawing: Drawing, layout: Layout, letters: Mapping[int, Rect], obstacles: Obstacles
) -> tuple[dict[int, Attributes], list[int]]:
    """The inner frames first: one that grows makes those around it grow."""
    attributes: dict[int, Attributes] = {}
    untitled: list[int] = []
    grown: dict[int, Rect] = {number: frame.bounds for number, frame in layout.frames.items()}
    for number in reversed(range(len(drawing.frames))):
        frame = layout.frames.get(number)
        if frame is None:
            continue
        if frame.title is not None and number in letters:
            around = list(_holders(drawing, number))
            others = [rect for other, rect in grown.items() if other != number and other not in around]
            found = _title(
                TitledFrame(grown[number], frame.title, letters[number]),
                [grown[other] for other in around if other in grown],
                others,
                obstacles,
            )
            if found is None:
                untitled.append(number)
                attributes[number] = {"label": '""'}
            else:
                (x, y), grown[number] = found
                for depth, other in enumerate(around, 1):
                    if other in grown:
                        grown[other] = _around(grown[other], grown[number].wider(BORDERS * depth, 0))
                attributes[number] = {"lp": f'"{x:.2f},{y:.2f}"'}
                obstacles.add(letters[number].moved(x, y))
        obstacles.add_border(grown[number])
    for number, rect in grown.items():
        written = ",".join(f"{side:.2f}" for side in rect)
        attributes[number] = {**attributes.get(number, {}), "bb": f'"{written}"'}
    return attributes, untitled


def _holders(drawing: Drawing, number: int) -> Iterator[int]:
    """The frames around one, the innermost first."""
    parent = drawing.frames[number].parent
    while parent is not None:
        yield parent
        parent = drawing.frames[parent].parent


def _around(one: Rect, other: Rect) -> Rect:
    return Rect(
        min(one.left, other.left), min(one.low, other.low), max(one.right, other.right), max(one.high, other.high)
    )


def _title(
    frame: TitledFrame, around: Sequence[Rect], others: Sequence[Rect], obstacles: Obstacles
) -> tuple[Point, Rect] | None:
    """The middle of a frame's title, and the frame as large as it is then: along its upper side, the left end first;
    there with the frame a little wider; or at its sides below.
    """
    assert frame.title is not None
    bounds, letters = frame.bounds, frame.letters
    y = frame.title[1]
    width = letters.right - letters.left
    row = Rect(bounds.left, letters.low + y, bounds.right, letters.high + y)
    left = _free(row, width, obstacles)
    if left is not None:
        return (left - letters.left, y), bounds
    wider = _widened(frame, row, width, around, others, obstacles)
    if wider is not None:
        return wider
    inside = [rect for rect in others if rect.meets(bounds)]
    step, high = 4.0, letters.high - letters.low
    while y + letters.low - step > bounds.low + EDGE_OF_FRAME:
        y -= step
        for left in (bounds.left + EDGE_OF_FRAME, bounds.right - EDGE_OF_FRAME - width):
            place = Rect(left, y + letters.low, left + width, y + letters.low + high).wider(APART)
            if (
                place.left > bounds.left
                and place.right < bounds.right
                and not any(place.meets(rect) for rect in inside)
                and obstacles.is_free(place)
            ):
                return (left - letters.left, y), bounds
    return None


def _free(row: Rect, width: float, obstacles: Obstacles) -> float | None:
    """Where in a row of a frame there is so much room: at its left end, at its right end, or in the middle of the
    widest gap.
    """
    gaps = _gaps(row, obstacles)
    if not gaps:
        return None
    first, last = gaps[0], gaps[-1]
    if first[0] <= row.left and first[1] - first[0] >= width + EDGE_OF_FRAME + APART:
        return row.left + EDGE_OF_FRAME
    if last[1] >= row.right and last[1] - last[0] >= width + EDGE_OF_FRAME + APART:
        return row.right - EDGE_OF_FRAME - width
    start, end = max(gaps, key=lambda gap: gap[1] - gap[0])
    return (start + end - width) / 2 if end - start >= width + 2 * APART else None


def _gaps(row: Rect, obstacles: Obstacles) -> list[tuple[float, float]]:
    gaps: list[tuple[float, float]] = []
    at = row.left
    for start, end in sorted(obstacles.within(row.wider(0, 1))):
        if start > at:
            gaps.append((at, start))
        at = max(at, end)
    return [*gaps, (at, row.right)] if at < row.right else gaps


def _widened(
    frame: TitledFrame, row: Rect, width: float, around: Sequence[Rect], others: Sequence[Rect], obstacles: Obstacles
) -> tuple[Point, Rect] | None:
    """With the frame as much wider as the title needs beside the first or the last arrow, if nothing is there, nor
    where those around it have to grow with it.
    """
    assert frame.title is not None
    bounds = frame.bounds
    gaps = _gaps(row, obstacles)
    first = gaps[0][1] if gaps and gaps[0][0] <= row.left else row.left
    last = gaps[-1][0] if gaps and gaps[-1][1] >= row.right else row.right
    needed = width + EDGE_OF_FRAME + APART
    to_left, to_right = needed - (first - row.left), needed - (row.right - last)
    for more, is_left in sorted([(to_left, True), (to_right, False)]):
        grown = bounds._replace(left=bounds.left - more) if is_left else bounds._replace(right=bounds.right + more)
        new = [_added(bounds, grown, is_left)]
        for depth, rect in enumerate(around, 1):
            new.append(_added(rect, _around(rect, grown.wider(BORDERS * depth, 0)), is_left))
        if more <= WIDEST and all(
            obstacles.is_free(part) and not any(part.meets(rect) for rect in others)
            for part in new
            if part.right > part.left
        ):
            left = grown.left + EDGE_OF_FRAME if is_left else grown.right - EDGE_OF_FRAME - width
            return (left - frame.letters.left, frame.title[1]), grown
    return None


def _added(bounds: Rect, grown: Rect, is_left: bool) -> Rect:
    """What a frame covers beyond what it did, and a little more; nothing if it did not grow."""
    if is_left:
        return Rect(
            grown.left - 6 if grown.left < bounds.left else bounds.left, grown.low, bounds.left - 0.5, grown.high
        )
    return Rect(
        bounds.right + 0.5, grown.low, grown.right + 6 if grown.right > bounds.right else bounds.right, grown.high
    )


# Words on arrows


def _labels(drawing: Drawing, layout: Layout, obstacles: Obstacles) -> tuple[dict[int, tuple[Point, bool]], list[int]]:
    """Each place, and whether the words are in one line there. The short arrows come first: they have the fewest
    places. Of a tensor that goes several ways, one has to be told.
    """
    arrows = drawing.arrows
    lines = {number: path for number, (path, _) in layout.arrows.items() if arrows[number].lines}
    homes = {number: _home(drawing, layout, arrows[number]) for number in lines}
    found: dict[int, tuple[Point, bool]] = {}
    missing: list[int] = []
    for number in sorted(lines, key=lambda number: len(lines[number])):
        for flat in (False, True):
            size = _size(arrows[number], drawing.wider, flat)
            kept = layout.labels.get(number)
            place = _label(lines[number], size, number, homes[number], kept, obstacles)
            if place is not None:
                found[number] = place, flat
                obstacles.add(_centred(place, size))
                break
        else:
            missing.append(number)
    told = {arrows[number].value for number in found}
    once = {arrows[number].value: number for number in reversed(missing) if arrows[number].value not in told}
    return found, list(once.values())


def _home(drawing: Drawing, layout: Layout, arrow: ArrowMark) -> Rect | None:
    """The innermost frame that holds both ends of an arrow."""
    around: list[list[int]] = []
    for end in (arrow.tail, arrow.head):
        frame = drawing.boxes[end].frame
        around.append([] if frame is None else [frame, *_holders(drawing, frame)])
    common = next((frame for frame in around[0] if frame in around[1]), None)
    return None if common is None or common not in layout.frames else layout.frames[common].bounds


def _centred(middle: Point, size: Point) -> Rect:
    (x, y), (width, height) = middle, size
    return Rect(x - width / 2, y - height / 2, x + width / 2, y + height / 2)


def _label(
    path: Path, size: Point, own: int, home: Rect | None, kept: Point | None, obstacles: Obstacles
) -> Point | None:
    """The middle of a label beside its arrow: where dot has ``kept`` room for it, or where nothing else is near and it
    is in the frame that is the arrow's ``home``, if there is such a place.
    """
    second: Point | None = None
    third: Point | None = None
    if kept is not None:  # dot's room may be nearer to another arrow
        near = _centred(kept, size).wider(10)
        kept = kept if any(near.left < x < near.right and near.low < y < near.high for x, y in path) else None
    for place in chain([] if kept is None else [kept], _beside(path, size)):
        rect = _centred(place, size)
        if not obstacles.is_free(rect.wider(1.5)):
            continue
        if home is not None and not (home.left <= rect.left and rect.right <= home.right):
            third = third or place
        elif obstacles.is_free(rect.wider(5.0), (own,)):
            return place
        else:
            second = second or place
    return second or third


def _beside(path: Path, size: Point) -> Iterator[Point]:
    """Places beside a line, the best first: close to it, at its right or above, where it begins rather than ends."""
    width, height = size[0] / 2, size[1] / 2
    points = list(islice(_along(path, 2.0), 300))
    middle = min(len(points) // 2, 20)
    order = sorted(range(min(len(points), 60)), key=lambda at: (abs(at - middle), at))
    order += range(60, len(points), 6)
    for gap in (4.0, 8.0):
        for at in order:
            x, y = points[at]
            (ax, ay), (bx, by) = points[max(at - 1, 0)], points[min(at + 1, len(points) - 1)]
            if abs(by - ay) >= abs(bx - ax):
                # A line that leans takes room at the label's upper or lower end.
                lean = abs((bx - ax) / (by - ay)) * height if by != ay else 0.0
                yield x + width + gap + lean, y
                yield x - width - gap - lean, y
            else:
                lean = abs((by - ay) / (bx - ax)) * width
                yield x, y + height + gap + lean
                yield x, y - height - gap - lean


def _along(path: Path, step: float) -> Iterator[Point]:
    """Points of a line that are so far apart."""
    for (x, y), (to_x, to_y) in pairwise(path):
        parts = max(1, round(((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5 / step))
        yield from ((x + (to_x - x) * part / parts, y + (to_y - y) * part / parts) for part in range(parts))
