"""Colours for how large the gradients are that arrived at each module call, in a recording that has measured them.

Norms differ by powers of ten, so the scale is logarithmic. The ramp is ColorBrewer's RdPu (https://colorbrewer2.org),
which grows darker all the way: it can be read by colour-blind readers and in grey print.
"""

import math
from dataclasses import dataclass

from recorder import Graph, Node
from recorder.metrics import arrived_norm
from recorder_exporters.look import STYLES, Style

__all__ = ["GradientScale", "norm_of"]

RAMP = ("#feebe2", "#fcc5c0", "#fa9fb5", "#f768a1", "#dd3497", "#ae017e", "#7a0177")
DARK = 4
"""From here on letters are white."""

GAP = "\N{EM SPACE}"


@dataclass(frozen=True)
class GradientScale:
    """From the smallest to the largest norm that is neither zero nor infinite. ``zero`` and ``broken`` say whether any
    is zero, and whether any is NaN or infinite.
    """

    low: float
    high: float
    zero: bool
    broken: bool

    @classmethod
    def of(cls, graph: Graph) -> "GradientScale | None":
        """The scale that fits a graph; None if no gradient was measured in it."""
        norms = [norm for node in graph.nodes if (norm := norm_of(node)) is not None]
        sizes = [norm for norm in norms if math.isfinite(norm) and norm > 0]
        if not norms:
            return None
        low, high = (min(sizes), max(sizes)) if sizes else (0.0, 0.0)
        return cls(low, high, 0 in norms, not all(map(math.isfinite, norms)))

    def style(self, norm: float) -> Style:
        """How a norm looks; ``meaning`` is the norm in figures."""
        line, meaning = STYLES["gradient"].line, _figures(norm)
        if not math.isfinite(norm):
            return Style("#1f2328", "#1f2328", "#ffffff", "NaN or Inf")
        if norm == 0:
            return Style("#ffffff", line, STYLES["gradient"].text, meaning)
        span = math.log(self.high) - math.log(self.low)
        step = int((math.log(norm) - math.log(self.low)) / span * len(RAMP)) if span else 0
        step = max(0, min(step, len(RAMP) - 1))
        return Style(RAMP[step], line, "#ffffff" if step >= DARK else STYLES["gradient"].text, meaning)

    def legend(self) -> list[Style | str]:
        """Colours and words in order: zero, the ramp between its ends, what is not finite; those that occur."""
        items: list[Style | str] = [self.style(0.0), f"0{GAP}"] if self.zero else []
        if self.high > self.low:
            ramp = [Style(fill, STYLES["gradient"].line, "", "") for fill in RAMP]
            items += [_figures(self.low), *ramp, f"{_figures(self.high)}{GAP}"]
        elif self.low:
            items += [self.style(self.low), f"{_figures(self.low)}{GAP}"]
        if self.broken:
            items += [self.style(math.nan), "NaN or Inf"]
        return items


def _figures(norm: float) -> str:
    return f"{norm:.3g}"


def norm_of(node: Node) -> float | None:
    """The norm of all gradients together that arrived at a module call; None if it was not measured."""
    return arrived_norm(node)
