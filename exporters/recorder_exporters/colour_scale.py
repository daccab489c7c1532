"""Colours for how much of something each call takes: gradients, FLOPs, time, memory.

Such figures differ by powers of ten, so the scale is logarithmic.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from recorder import Graph, Node, OptionError
from recorder.metrics import arrived_norm
from recorder.words import bytes_in_words, count_in_words, time_in_words
from recorder_exporters.look import Style
from recorder_exporters.themes import Theme, letters_on

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


def _metric(name: str) -> Callable[[Node], float | None]:
    def value(node: Node) -> float | None:
        figure = node.meta.get("metrics", {}).get(name)
        return figure if isinstance(figure, int | float) else None

    return value


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
    "parameters": Figure("parameters", _metric("parameters"), count_in_words, " parameters", _NO_METRICS),
    "trainable": Figure("trainable parameters", _metric("trainable"), count_in_words, " trainable", _NO_METRICS),
    "parameter_bytes": Figure("size of parameters", _metric("parameter_bytes"), bytes_in_words, "", _NO_METRICS),
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
    return ColourScale(figure, theme, low, high, 0 in found, not all(map(math.isfinite, found)))


@dataclass(frozen=True)
class ColourScale:
    """From the smallest to the largest figure that is neither zero nor infinite. ``zero`` and ``broken`` say whether
    any is zero, and whether any is NaN or infinite.
    """

    figure: Figure
    theme: Theme
    low: float
    high: float
    zero: bool
    broken: bool

    def step(self, value: float) -> int:
        """How far along the ramp a positive figure is, as a position in it."""
        ramp = self.theme.ramp
        span = math.log(self.high) - math.log(self.low)
        step = int((math.log(value) - math.log(self.low)) / span * len(ramp)) if span else 0
        return max(0, min(step, len(ramp) - 1))

    def style(self, node: Node) -> Style | None:
        """How a node looks; None if nothing is known of it. ``meaning`` is the figure in words."""
        value = self.figure.value(node)
        return None if value is None else self.style_of(value)

    def style_of(self, value: float) -> Style:
        """How a figure looks."""
        line = self.theme.styles["gradient"].line
        if not math.isfinite(value):
            return Style("#1f2328", "#1f2328", "#ffffff", "NaN or Inf")
        if value <= 0:
            return self.theme.styles["function"]._replace(line=line, meaning=self.figure.in_words(value))
        fill = self.theme.ramp[self.step(value)]
        return Style(fill, line, letters_on(fill), self.figure.in_words(value))

    def legend(self) -> list[Style | str]:
        """Colours and words in order: zero, the ramp between its ends, what is not finite; those that occur."""
        words = self.figure.in_words
        items: list[Style | str] = [self.style_of(0.0), f"0{GAP}"] if self.zero else []
        if self.high > self.low:
            ramp = [Style(fill, self.theme.styles["gradient"].line, "", "") for fill in self.theme.ramp]
            items += [words(self.low), *ramp, f"{words(self.high)}{GAP}"]
        elif self.low:
            items += [self.style_of(self.low), f"{words(self.low)}{GAP}"]
        if self.broken:
            items += [self.style_of(math.nan), "NaN or Inf"]
        return [self.figure.called, *items]
