"""What is wrong with a picture to look at: words that something runs through or covers, in an SVG by Graphviz.

It knows nothing of how words find their places: it looks at what is drawn. How wide a text is, is an estimate.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["Blemishes", "blemishes"]

SVG = "{http://www.w3.org/2000/svg}"

WIDE, LETTER = 0.57, 0.48
"""The width of a figure, and of any other letter, for its size."""

Point = tuple[float, float]


class Text(NamedTuple):
    words: str
    owner: str
    kind: str
    left: float
    high: float
    right: float
    low: float

    def meets(self, left: float, high: float, right: float, low: float) -> bool:
        return self.left < right and left < self.right and self.high < low and high < self.low

    def holds(self, point: Point) -> bool:
        return self.left < point[0] < self.right and self.high < point[1] < self.low


class Blemishes(NamedTuple):
    """Sentences, by kind: an edge through a title, through an edge's label or a node's text, a label or title on
    another text, on a box, or on the border of a frame; an edge through a box. ``texts`` counts all of them by kind.
    """

    crossed_titles: list[str]
    crossed_labels: list[str]
    crossed_nodes: list[str]
    on_texts: list[str]
    on_boxes: list[str]
    on_borders: list[str]
    through_boxes: list[str]
    texts: dict[str, int]

    def all(self) -> list[str]:
        return [sentence for sentences in self[:-1] for sentence in sentences]  # type: ignore[union-attr]


def blemishes(svg: str) -> Blemishes:
    groups = [(g, g.get("class", ""), (g.findtext(f"{SVG}title") or "")) for g in ET.fromstring(svg).iter(f"{SVG}g")]
    texts: list[Text] = []
    lines: list[tuple[str, list[Point]]] = []
    boxes: list[tuple[str, tuple[float, float, float, float]]] = []
    frames: list[tuple[str, tuple[float, float, float, float]]] = []
    for number, (group, kind, title) in enumerate(groups):
        owner = f"{title} ({number})" if kind == "edge" else title
        if kind in ("node", "edge", "cluster"):
            texts += _texts(group, owner, kind)
        shapes = [_bounds(_numbers(shape.get("d") or shape.get("points") or "")) for shape in _shapes(group)]
        if kind == "edge":
            lines += [(owner, _curve(_numbers(path.get("d", "")))) for path in group.iter(f"{SVG}path")]
        elif shapes and kind in ("node", "cluster"):
            (boxes if kind == "node" else frames).append((owner, shapes[0]))
    crossed: dict[str, list[str]] = {"cluster": [], "edge": [], "node": []}
    for text in texts:
        crossed[text.kind] += [
            f"{text.words!r} of {text.owner} is crossed by {owner}"
            for owner, line in lines
            if any(map(text.holds, line))
        ]
    free = [text for text in texts if text.kind != "node"]
    on_texts = [
        f"{text.words!r} of {text.owner} is on {other.words!r} of {other.owner}"
        for text in free
        for other in texts
        if other.owner != text.owner and text.meets(*other[3:])
    ]
    on_boxes = [f"{t.words!r} of {t.owner} is on {owner}" for t in free for owner, box in boxes if t.meets(*box)]
    on_borders = [
        f"{text.words!r} of {text.owner} is on the border of {owner}"
        for text in texts
        for owner, (left, high, right, low) in frames
        if any(
            text.meets(*side)
            for side in (
                (left, high, left, low), (right, high, right, low), (left, high, right, high), (left, low, right, low)
            )
        )
    ]  # fmt: skip
    through = [
        f"{owner} runs through {name}"
        for owner, line in lines
        for name, (left, high, right, low) in boxes
        if name not in re.split(r"->| ", owner)
        and any(left + 2 < x < right - 2 and high + 2 < y < low - 2 for x, y in line)
    ]
    counts = {kind: sum(text.kind == kind for text in texts) for kind in crossed}
    return Blemishes(
        crossed["cluster"], crossed["edge"], crossed["node"], on_texts, on_boxes, on_borders, through, counts
    )


def _shapes(group: ET.Element) -> Iterator[ET.Element]:
    return (item for item in group.iter() if item.tag in (f"{SVG}path", f"{SVG}polygon"))


def _numbers(text: str) -> list[Point]:
    numbers = list(map(float, re.findall(r"-?\d+\.?\d*", text)))
    return list(zip(numbers[::2], numbers[1::2]))


def _bounds(points: list[Point]) -> tuple[float, float, float, float]:
    xs, ys = zip(*points)
    return min(xs), min(ys), max(xs), max(ys)


def _texts(group: ET.Element, owner: str, kind: str) -> Iterator[Text]:
    for item in group.iter(f"{SVG}text"):
        words = (item.text or "").strip("\xa0 ")
        if words:
            size = float(item.get("font-size", "14"))
            blank = len(item.text or "") - len((item.text or "").lstrip("\xa0 "))
            width = size * sum(WIDE if letter in "0123456789×" else LETTER for letter in words)
            x, y = float(item.get("x", "0")), float(item.get("y", "0"))
            anchor = item.get("text-anchor", "start")
            left = x + 0.28 * size * blank if anchor == "start" else x - (width / 2 if anchor == "middle" else width)
            yield Text(words, owner, kind, left, y - 0.72 * size, left + width, y)


def _curve(points: list[Point]) -> list[Point]:
    found = []
    for at in range(0, len(points) - 3, 3):
        a, b, c, d = points[at : at + 4]
        for step in range(33):
            t, u = step / 32, 1 - step / 32
            p, q, r, s = u**3, 3 * u * u * t, 3 * u * t * t, t**3
            found.append((p * a[0] + q * b[0] + r * c[0] + s * d[0], p * a[1] + q * b[1] + r * c[1] + s * d[1]))
    return found
