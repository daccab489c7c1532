"""Colours for how much of something each call takes: gradients, FLOPs, time, memory.

Such figures differ by powers of ten, so the scale is logarithmic.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

from recorder import Graph, Node, OptionError
from recorder.analysis.metrics import arrived_norm
from recorder.figures import bytes_in_words, count_in_words, time_in_words
from recorder_exporters.drawing.styles import Style
from recorder_exporters.drawing.themes import Theme, letters_on

__all__ = ["FIGURES", "ColourBy", "ColourScale", "Figure", "scale_of"]

GAP = "\N{EM SPACE}"

ColourBy = Literal[
    "kind", "gradient", "time", "backward_time", "parameters", "trainable", "parameter_bytes", "activation_bytes",
    "flops", "macs", "flops_backward",
]  # fmt: skip


class Figure(NamedTuple):
    """What a node can be coloured by, or have on its label: what it is ``called``, its ``value``, None if it is not
    known, and the value ``in_words``, as ``unit`` goes on; ``missing`` says what to do if no node has one.
    """

    called: str
    value: Callable[[Node], float | None]
    in_words: Callable[[float], str]
    unit: str
    missing: str


def _metric(name: str, absent: float | None = None) -> Callable[[Node], float | None]:
    """What a node's metrics say, or ``absent`` if they do not say it."""
    return lambda node: node.meta["metrics"].get(name, absent) if "metrics" in node.meta else None


_own = partial(_metric, absent=0)  # of parameters, no figure means that there are none
_NO_METRICS = "the graph has no such metrics: recorder.annotate(graph) adds them to one that was assembled or loaded"
_NO_FLOPS = f"{_NO_METRICS}, where torch is installed and has a formula for any of its operations"
_NO_TIMES = "the graph has no times: one that was loaded has them if it was saved with timing=True"
_NO_BACKWARD = "no backward was recorded"

FIGURES: dict[str, Figure] = {
    "gradient": Figure(
        "gradient norm", arrived_norm, "{:.3g}".format, "",
        'no gradients were measured to colour by: record with gradients="stats", and backward',
    ),
    "time": Figure("forward time", lambda node: node.duration_ns, time_in_words, "", _NO_TIMES),
    "backward_time": Figure("backward time", lambda node: node.backward_ns, time_in_words, " back", _NO_BACKWARD),
    "parameters": Figure("parameters", _own("parameters"), count_in_words, " parameters", _NO_METRICS),
    "trainable": Figure("trainable parameters", _own("trainable"), count_in_words, " trainable", _NO_METRICS),
    "parameter_bytes": Figure("size of parameters", _own("parameter_bytes"), bytes_in_words, "", _NO_METRICS),
    "activation_bytes": Figure("size of results", _metric("activation_bytes"), bytes_in_words, "", _NO_METRICS),
    "flops": Figure("FLOPs", _metric("flops"), count_in_words, " FLOPs", _NO_FLOPS),
    "macs": Figure("multiply-adds", _metric("macs"), count_in_words, " multiply-adds", _NO_FLOPS),
    "flops_backward": Figure(
        "FLOPs of backward", _metric("flops_backward"), count_in_words, " FLOPs back", f"{_NO_BACKWARD}, or {_NO_FLOPS}"
    ),
}  # fmt: skip
"""By the name of the option."""


def scale_of(graph: Graph, colour_by: ColourBy, theme: Theme) -> "ColourScale | None":
    """The scale that fits a graph; None if it is to be coloured by kind.

    Raises:
        OptionError: no node has such a figure; says what to do.
    """
    if colour_by == "kind":
        return None
    figure = FIGURES[colour_by]
    found = [value for node in graph.nodes if (value := figure.value(node)) is not None]
    if not found:
        raise OptionError(figure.missing)
    sizes = [value for value in found if math.isfinite(value) and value > 0]
    low, high = (min(sizes), max(sizes)) if sizes else (0.0, 0.0)
    return ColourScale(
        figure, theme, low, high, 0 in found, not all(map(math.isfinite, found)), len(found) < len(graph.nodes)
    )


@dataclass(frozen=True)
class ColourScale:
    """From the smallest to the largest figure that is neither zero nor infinite. ``zero``, ``broken`` and
    ``unknown`` say whether any is zero, NaN or infinite, or not known.
    """

    figure: Figure
    theme: Theme
    low: float
    high: float
    zero: bool
    broken: bool
    unknown: bool

    def step(self, value: float) -> int:
        """How far along the ramp a positive figure is, as a position in it."""
        ramp = self.theme.ramp
        span = math.log(self.high) - math.log(self.low)
        step = int((math.log(value) - math.log(self.low)) / span * len(ramp)) if span else 0
        return max(0, min(step, len(ramp) - 1))

    def style(self, node: Node) -> Style:
        """How a node looks."""
        return self.style_of(self.figure.value(node))

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

    def range_in_words(self) -> str:
        """The ends of the scale, where no legend can be drawn: ``FLOPs from 1 k (light) to 2 M (dark)``."""
        ends = [letters_on(self.theme.ramp[end]) for end in (0, -1)]
        low, high = ("light" if letters == "#000000" else "dark" for letters in ends)
        words = self.figure.in_words
        return f"{self.figure.called} from {words(self.low)} ({low}) to {words(self.high)} ({high})"

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
        return [f"{self.figure.called}{GAP}", *items]
