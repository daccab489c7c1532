"""Colours for how much of something each call takes: gradients, FLOPs, time, memory.

Such figures differ by powers of ten, so the scale is logarithmic. The page colours by the same rule, in
``page/metrics.mjs``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recorder import Graph, Node, OptionError
from recorder.figures import FIGURES, Figure
from recorder_exporters.drawing.styles import Style
from recorder_exporters.drawing.themes import Theme, letters_on

__all__ = ["COLOURED", "ColourBy", "ColourScale", "colours_of", "scale_of"]

GAP = "\N{EM SPACE}"

ColourBy = Literal[
    "kind", "gradient", "value_norm", "value_largest", "not_finite", "zeros", "divergence", "time", "backward_time",
    "parameters", "trainable", "parameter_bytes", "activation_bytes", "saved_bytes", "flops", "macs",
    "flops_backward",
]  # fmt: skip


COLOURED: dict[str, Figure] = {name: figure for name, figure in FIGURES.items() if figure.scale is not None}
"""What a call can be coloured by, or have on its label, by the name of the option."""


REPEATED = {"each": " of each", "sum": ", sum of all repetitions", "largest": ", largest of the repetitions"}
"""Whose figure it is that a box has which is drawn once for several."""


def scale_of(graph: Graph, colour_by: ColourBy, theme: Theme) -> "ColourScale | None":
    """The scale that fits a graph; None if it is to be coloured by kind.

    Raises:
        OptionError: no node has such a figure; says what to do.
    """
    if colour_by == "kind":
        return None
    figure = COLOURED[colour_by]
    values = {node: figure.of_all(graph, node) for node in graph.nodes}
    words = {node: said for node in graph.nodes if (said := figure.said(graph, node)) is not None}
    found = [value for value in values.values() if value is not None]
    if not found:
        raise OptionError(figure.missing)
    sizes = [value for value in found if math.isfinite(value) and value > 0]
    low, high = (min(sizes), max(sizes)) if sizes else (0.0, 0.0)
    folded = any("repeats" in p.meta for p in graph.nodes) or any("repeats" in p.meta for p in graph.scopes)
    broken, unknown = not all(map(math.isfinite, found)), len(found) < len(graph.nodes)
    return ColourScale(figure, theme, low, high, 0 in found, broken, unknown, values, words, folded)


def colours_of(theme: Theme) -> dict[str, Any]:
    """Fill and text of every figure that a scale may have, for the page, which finds out itself how large each is."""
    scale = ColourScale(COLOURED["flops"], theme, 1.0, 1.0, zero=True, broken=True, unknown=True)

    def told(style: Style) -> dict[str, str]:
        return {"fill": style.fill, "text": style.text}

    return {
        "ramp": [told(scale.style_at(step)) for step in range(len(theme.ramp))],
        "zero": told(scale.style_of(0.0)),
        "broken": told(scale.style_of(math.nan)),
        "unknown": told(scale.style_of(None)),
    }


@dataclass(frozen=True)
class ColourScale:
    """From the smallest to the largest figure that is neither zero nor infinite. ``zero``, ``broken`` and
    ``unknown`` say whether any is zero, NaN or infinite, or not known. ``values`` are the figures of the nodes, and
    ``words`` is how they are said; where some are ``folded``, they are as the figure has them of what is `REPEATED`.
    """

    figure: Figure
    theme: Theme
    low: float
    high: float
    zero: bool
    broken: bool
    unknown: bool
    values: Mapping[Node, float | None] = field(default_factory=dict)
    words: Mapping[Node, str] = field(default_factory=dict)
    folded: bool = False

    def step(self, value: float) -> int:
        """How far along the ramp a positive figure is, as a position in it."""
        ramp = self.theme.ramp
        span = math.log(self.high) - math.log(self.low)
        step = int((math.log(value) - math.log(self.low)) / span * len(ramp)) if span else 0
        return max(0, min(step, len(ramp) - 1))

    def style(self, node: Node) -> Style:
        """How a node looks."""
        style = self.style_of(self.values.get(node))
        return style._replace(meaning=self.words.get(node, style.meaning))

    def style_of(self, value: float | None) -> Style:
        """How a figure looks; None is one that is not known. ``meaning`` is the figure in words."""
        if value is None:
            return self.theme.styles["constant"]._replace(meaning="not known")
        line = self.theme.styles["gradient"].line
        if not math.isfinite(value):
            return Style("#1f2328", "#1f2328", "#ffffff", "NaN or Inf")
        if value <= 0:
            return self.theme.styles["function"]._replace(line=line, meaning=self.figure.in_words(value))
        return self.style_at(self.step(value), self.figure.in_words(value))

    def style_at(self, step: int, meaning: str = "") -> Style:
        """How a position in the ramp looks."""
        fill = self.theme.ramp[step]
        return Style(fill, self.theme.styles["gradient"].line, letters_on(fill), meaning)

    @property
    def called(self) -> str:
        """The figure in a sentence, and which one it is of what is drawn once for several."""
        return f"{self.figure.called}{REPEATED[self.figure.repeated] if self.folded else ''}"

    def range_in_words(self) -> str:
        """The ends of the scale, where no legend can be drawn: ``FLOPs from 1 k (light) to 2 M (dark)``."""
        ends = [letters_on(self.theme.ramp[end]) for end in (0, -1)]
        low, high = ("light" if letters == "#000000" else "dark" for letters in ends)
        words = self.figure.in_words
        return f"{self.called} from {words(self.low)} ({low}) to {words(self.high)} ({high})"

    def legend(self) -> list[Style | str]:
        """Colours and words in order: zero, the ramp between its ends, not finite, not known; those that occur."""
        words = self.figure.in_words
        items: list[Style | str] = [self.style_of(0.0), f"0{GAP}"] if self.zero else []
        if self.high > self.low:
            ramp = map(self.style_at, range(len(self.theme.ramp)))
            items += [words(self.low), *ramp, f"{words(self.high)}{GAP}"]
        elif self.low:
            items += [self.style_of(self.low), f"{words(self.low)}{GAP}"]
        if self.broken:
            items += [self.style_of(math.nan), f"NaN or Inf{GAP}"]
        if self.unknown:
            items += [self.style_of(None), "not known"]
        return [f"{self.called}{GAP}", *items]
