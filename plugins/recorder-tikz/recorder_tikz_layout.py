"""Where everything goes, as Graphviz or graphviz-pure lays it out.

The program is told sizes and numbers alone, so no text of a model reaches it. Lengths are big points, upwards.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from recorder_exporters.graphviz import graphviz

__all__ = ["Layout", "Line", "Place", "Plan", "layout_of"]


class Place(NamedTuple):
    """A box or a frame by its middle."""

    x: float
    y: float
    width: float
    height: float


class Line(NamedTuple):
    """The way of an arrow, and its end: a point and three more for each Bézier curve, or, if it is ``cornered``, the
    points that it is straight between.
    """

    points: Sequence[tuple[float, float]]
    end: tuple[float, float]
    cornered: bool = False


@dataclass
class Plan:
    """What is to be laid out, by number. ``boxes`` and ``frames`` have width, height and the frame around; of a frame
    these are its title's. ``lines`` have both ends, and how much they are to be straight. ``gap`` is between ranks,
    and ``last`` are the boxes that stand at the end.
    """

    boxes: list[tuple[float, float, int | None]] = field(default_factory=list)
    frames: list[tuple[float, float, int | None]] = field(default_factory=list)
    lines: list[tuple[int, int, int]] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    gap: float = 17.0


@dataclass
class Layout:
    """Where it is. A frame that holds nothing is nowhere."""

    boxes: Mapping[int, Place]
    frames: Mapping[int, Place]
    lines: Mapping[int, Line]


def layout_of(plan: Plan, direction: Literal["TB", "LR"], timeout: float) -> Layout:
    """The layout that the program makes.

    Raises:
        ExportError: there is no program, or it failed; says what to do.
    """
    text = "\n".join(_dot(plan, direction))
    document = json.loads(graphviz("a figure", timeout).run(text, "-Tjson0"), strict=False)
    boxes: dict[int, Place] = {}
    frames: dict[int, Place] = {}
    for item in document.get("objects", []):
        kind, number = item["name"][0], int(re.sub(r"\D", "", item["name"]))
        if kind == "n":
            x, y = _numbers(item["pos"])
            width, height, _ = plan.boxes[number]
            boxes[number] = Place(x, y, width, height)
        elif "bb" in item:
            left, low, right, high = _numbers(item["bb"])
            frames[number] = Place((left + right) / 2, (low + high) / 2, right - left, high - low)
    lines = {int(item["comment"]): _line(item) for item in document.get("edges", []) if "pos" in item}
    return Layout(boxes, frames, lines)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.?\d*(?:e[-+]?\d+)?", text)]


def _line(item: Mapping[str, Any]) -> Line:
    points: list[tuple[float, float]] = []
    end = (0.0, 0.0)
    for word in item["pos"].split():
        x, y = _numbers(word.removeprefix("e,"))
        if word.startswith("e,"):
            end = x, y
        else:
            points.append((x, y))
    return Line(points, end)


def _dot(plan: Plan, direction: str) -> Iterator[str]:
    """The plan in DOT. Nested scopes are not written by recursion, as they may nest deeper than Python does."""
    yield f"digraph {{ graph [rankdir={direction}, nodesep=0.2, ranksep={plan.gap / 72:.3f}]"
    yield 'node [shape=box, fixedsize=true, label=""]; edge [arrowsize=0.4]'
    inside: dict[int | None, list[int]] = {}
    for number, (_, _, around) in enumerate(plan.frames):
        inside.setdefault(around, []).append(number)
    boxes: dict[int | None, list[str]] = {}
    for number, (width, height, around) in enumerate(plan.boxes):
        boxes.setdefault(around, []).append(f"n{number} [width={width / 72:.3f}, height={height / 72:.3f}]")
    yield from boxes.get(None, [])
    if plan.last:
        yield f"{{ rank=sink; {'; '.join(f'n{number}' for number in plan.last)} }}"
    waiting: list[int | None] = [*reversed(inside.get(None, []))]
    while waiting:
        number = waiting.pop()
        if number is None:
            yield "}"
            continue
        width, height, _ = plan.frames[number]
        label = _blank(width, height) if width else '""'
        yield f"subgraph cluster_{number} {{ graph [margin=7, labelloc=t, labeljust=l, label={label}]"
        yield from boxes.get(number, [])
        waiting += [None, *reversed(inside.get(number, []))]
    for number, (tail, head, weight) in enumerate(plan.lines):
        yield f'n{tail} -> n{head} [comment="{number}", weight={weight}]'
    yield "}"


def _blank(width: float, height: float) -> str:
    """A label that is nothing but so large."""
    cell = f'<td width="{width:.0f}" height="{height:.0f}" fixedsize="true"></td>'
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="0"><tr>{cell}</tr></table>>'
