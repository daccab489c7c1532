"""Where a layout program put everything: read from what ``dot -Tjson`` writes.

Coordinates are points, upwards. A drawing's boxes, frames and arrows are found by the names that
`recorder_exporters.drawing.dot_drawing` gave them.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

__all__ = ["LETTER", "Layout", "Path", "Point", "Rect", "TitledFrame", "layout_of"]

LETTER = 0.53
"""How wide a letter of Helvetica is at most, on average, for its size: other programs measure with other fonts."""

Point: TypeAlias = tuple[float, float]
Path: TypeAlias = Sequence[Point]
"""A line through points that are a few points apart where it bends."""


class Rect(NamedTuple):
    """From the left and lower to the right and upper side."""

    left: float
    low: float
    right: float
    high: float

    def wider(self, across: float, up: float | None = None) -> "Rect":
        """With so much more room at each side."""
        up = across if up is None else up
        return Rect(self.left - across, self.low - up, self.right + across, self.high + up)

    def meets(self, other: "Rect") -> bool:
        return self.left < other.right and other.left < self.right and self.low < other.high and other.low < self.high

    def moved(self, x: float, y: float) -> "Rect":
        return Rect(self.left + x, self.low + y, self.right + x, self.high + y)


NOWHERE = Rect(0, 0, 0, 0)


@dataclass(slots=True)
class TitledFrame:
    """A frame; where the middle of its title is, if it has one, and what the letters cover, seen from there."""

    bounds: Rect
    title: Point | None = None
    letters: Rect = NOWHERE


@dataclass(frozen=True, slots=True)
class Layout:
    """``boxes`` are what boxes cover, and ``placed`` that in the program's words. ``arrows`` are their lines, as points
    and in its words, and ``labels`` the middles of the room that was kept for their texts, by number.
    """

    boxes: Mapping[str, Rect]
    placed: Mapping[str, dict[str, str]]
    frames: Mapping[int, TitledFrame]
    arrows: Mapping[int, tuple[Path, str]]
    labels: Mapping[int, Point]
    graph: Mapping[str, str]


def layout_of(text: str, wider: float = 1.0) -> Layout:
    """What the program says. ``wider`` is by how much letters may be wider than those of Helvetica.

    Raises:
        ValueError: it does not say it in the way that is known.
    """
    boxes: dict[str, Rect] = {}
    placed: dict[str, dict[str, str]] = {}
    frames: dict[int, TitledFrame] = {}
    arrows: dict[int, tuple[Path, str]] = {}
    labels: dict[int, Point] = {}
    try:
        document = json.loads(text, strict=False)
        for item in document.get("objects", []):
            if item["name"].startswith("cluster_"):
                if "bb" in item:
                    frames[int(item["name"].removeprefix("cluster_"))] = _frame(item, wider)
            else:
                boxes[item["name"]] = _covered(item)
                placed[item["name"]] = {name: f'"{item[name]}"' for name in ("pos", "width", "height")}
        for item in document.get("edges", []):
            if "pos" in item:
                number = int(item["comment"])
                arrows[number] = _line(item["pos"]), f'"{item["pos"]}"'
                if "lp" in item:
                    x, y = _numbers(item["lp"])
                    labels[number] = x, y
        graph = {name: f'"{document[name]}"' for name in ("lp",) if name in document}
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ValueError(f"not a layout: {error!r}") from error
    return Layout(boxes, placed, frames, arrows, labels, graph)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[-+]?\d+)?", text)]


def _frame(item: Mapping[str, Any], wider: float) -> TitledFrame:
    frame = TitledFrame(Rect(*_numbers(item["bb"])))
    letters = list(_letters(item.get("_ldraw_", []), wider * LETTER))
    if "lp" in item:
        x, y = _numbers(item["lp"])
        frame.title = x, y
        frame.letters = _around(letters).moved(-x, -y) if letters else frame.letters
    return frame


def _letters(operations: Sequence[Mapping[str, Any]], letter: float) -> Iterator[Rect]:
    """What each piece of text covers, by the greater of its width here and an estimate."""
    size = 14.0
    for operation in operations:
        if operation["op"] == "F":
            size = float(operation["size"])
        elif operation["op"] == "T" and operation["text"].strip():
            x, y = operation["pt"]
            width = float(operation["width"])
            left = x - (0 if operation["align"] == "l" else width / 2 if operation["align"] == "c" else width)
            yield Rect(left, y - 0.25 * size, left + max(width, letter * size * len(operation["text"])), y + 0.8 * size)


def _around(rects: Sequence[Rect]) -> Rect:
    lefts, lows, rights, highs = zip(*rects)
    return Rect(min(lefts), min(lows), max(rights), max(highs))


def _covered(item: Mapping[str, Any]) -> Rect:
    x, y = _numbers(item["pos"])
    across, up = 36 * float(item["width"]), 36 * float(item["height"])
    rings = 4 * (int(item.get("peripheries", 1)) - 1)
    return Rect(x - across, y - up, x + across, y + up).wider(rings)


def _line(text: str) -> Path:
    """The line of an edge, its arrowhead too."""
    line: list[Point] = []
    for spline in text.split(";"):
        ends: dict[str, Point] = {}
        points: list[Point] = []
        for word in spline.split():
            x, y = _numbers(word)
            if word[0] in "se":
                ends[word[0]] = x, y
            else:
                points.append((x, y))
        line += [ends["s"]] if "s" in ends else []
        line += points[:1]
        for at in range(0, len(points) - 3, 3):
            line += _bent(*points[at : at + 4])
        line += [ends["e"]] if "e" in ends else []
    return line


def _bent(a: Point, b: Point, c: Point, d: Point) -> Iterator[Point]:
    """Points on a Bézier curve, without its first."""
    steps = max(1, math.ceil((math.dist(a, b) + math.dist(b, c) + math.dist(c, d)) / 8))
    for step in range(1, steps + 1):
        t = step / steps
        u = 1 - t
        p, q, r, s = u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t
        yield p * a[0] + q * b[0] + r * c[0] + s * d[0], p * a[1] + q * b[1] + r * c[1] + s * d[1]
