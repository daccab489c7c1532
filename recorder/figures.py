"""Every figure of a call, once: its name, heading, value, unit, words, and how to colour by it. Tables, drawings,
labels and the page read `FIGURES`, and so may any exporter.

The values come from the recording itself, or from `Graph.metrics`, where `recorder.analysis.metrics` says what each of
them counts. In words a figure has three digits and a unit.
"""

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from recorder.limits import LARGEST

if TYPE_CHECKING:
    from recorder.graph.core import Graph, Node, Scope, Value

__all__ = [
    "FIGURES",
    "KINDS_OF_MEMORY",
    "WORDS",
    "Figure",
    "Words",
    "arrived_norm",
    "at_least",
    "bytes_in_words",
    "count_in_words",
    "is_several",
    "made_largest",
    "made_norm",
    "made_not_finite",
    "made_zeros",
    "meta_of",
    "norm_in_words",
    "share_in_words",
    "stats_in_words",
    "time_in_words",
]

Words: TypeAlias = Literal["count", "bytes", "time", "share", "norm"]
"""What a figure is, which says how people read it: a key into `WORDS`."""


def _in_units(figure: float, units: tuple[str, ...]) -> str:
    """``12.3 M``: the largest unit that leaves a whole number, three digits of it."""
    last = len(units) - 1
    number = 0
    while number < last and figure >= 999.5:
        figure, number = figure / 1000, number + 1
    digits = 0 if figure >= 99.95 or figure == int(figure) else 1 if figure >= 9.995 else 2
    return f"{figure:,.{digits}f} {units[number]}".rstrip()


def count_in_words(figure: float) -> str:
    """``4.09 G`` for 4,089,184,256."""
    return _in_units(figure, ("", "k", "M", "G", "T", "P", "E"))


def bytes_in_words(figure: float) -> str:
    """``46.8 MB``: in powers of 1,000, as disks and torchinfo have it."""
    return _in_units(figure, ("B", "kB", "MB", "GB", "TB", "PB", "EB"))


def time_in_words(nanoseconds: float) -> str:
    """``1.23 ms``; ``?`` for what no clock says."""
    if not abs(nanoseconds) <= LARGEST:
        return "?"
    return _in_units(nanoseconds, ("ns", "µs", "ms", "s")) if nanoseconds >= 0 else f"{nanoseconds / 1e6:.2f} ms"


def share_in_words(share: float) -> str:
    """``12.3 %``."""
    return f"{100 * share:.1f} %"


def norm_in_words(norm: float) -> str:
    """``0.00123``; ``NaN or Inf`` for what is not finite."""
    return f"{norm:.3g}" if abs(norm) < float("inf") else "NaN or Inf"


def at_least(words: str) -> str:
    """``at least 4.09 G``: a sum with an unknown part is a lower bound."""
    return f"at least {words}"


WORDS: dict[Words, Callable[[float], str]] = {
    "count": count_in_words,
    "bytes": bytes_in_words,
    "time": time_in_words,
    "share": share_in_words,
    "norm": norm_in_words,
}
"""How people read a figure, by what it is: elements and operations, bytes, nanoseconds, parts of one, 2-norms."""


# What is said of a call


def arrived_norm(place: "Node | Scope") -> float | None:
    """The norm of all gradients together that arrived at a module call; NaN if one is not finite, None if it was not
    measured.
    """
    told = place.meta.get("backward", {}).get("arrived", ())
    parts = [caption for caption in told if caption is not None and "norm" in caption]
    if not parts:
        return None
    if any(part["nan"] or part["inf"] for part in parts):
        return math.nan
    return min(math.hypot(*(part["norm"] for part in parts)), sys.float_info.max)


class _Made(Protocol):
    """What has made something: a node, a scope, or the row of one."""

    @property
    def outputs(self) -> "tuple[Value, ...]": ...


def _statistics(made: _Made) -> list[tuple[int, dict[str, Any]]]:
    """How many elements there are, and what was measured of them, of each value that was made."""
    return [(math.prod(value.shape), value.meta["stats"]) for value in made.outputs if "stats" in value.meta]


def made_not_finite(made: _Made) -> int | None:
    """How many elements that a call made were NaN or Inf; None if it was not measured."""
    parts = _statistics(made)
    return sum(stats["nan"] + stats["inf"] for _, stats in parts) if parts else None


def made_norm(made: _Made) -> float | None:
    """The norm of all together that a call made; NaN if it is not finite, None if it was not measured."""
    bad = made_not_finite(made)
    norm = math.hypot(*(stats["norm"] for _, stats in _statistics(made)))
    return None if bad is None else math.nan if bad else min(norm, sys.float_info.max)


def made_largest(made: _Made) -> float | None:
    """The largest magnitude in what a call made; the same."""
    bad = made_not_finite(made)
    return None if bad is None else math.nan if bad else max(stats["largest"] for _, stats in _statistics(made))


def made_zeros(made: _Made) -> float | None:
    """The share of zeros in what a call made; None if it was not measured."""
    parts = _statistics(made)
    return sum(size * stats["zeros"] for size, stats in parts) / sum(size for size, _ in parts) if parts else None


def stats_in_words(value: "Value") -> str:
    """``norm 3.36, largest 1.8, mean -0.0585, 2 NaN``: what was measured of a value, "" if nothing was."""
    stats = value.meta.get("stats")
    if stats is None:
        return ""
    told = [f"{name} {norm_in_words(stats[name])}" for name in ("norm", "largest", "mean")]
    told += [f"{share_in_words(stats['zeros'])} zeros"] if stats["zeros"] else []
    return ", ".join(
        told + [f"{stats[name]:,} {word}" for name, word in (("nan", "NaN"), ("inf", "Inf")) if stats[name]]
    )


def _error_added(place: "Node | Scope") -> float | None:
    """By how much a place differs from another run beyond what its inputs explain; None if it was not compared."""
    told = place.meta.get("divergence")
    return None if told is None else told["added"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that can be said of a call in a number.

    ``heading`` stands over a column, ``called`` in a sentence or a menu, and ``after`` follows the words on a label.
    ``unit`` is that of the value: ``"ns"``, ``"bytes"``, or nothing. ``scale`` is how drawings colour by it, if they
    do; ``missing`` says what to do if no call has it. ``varies`` says that it differs from run to run. ``without`` are
    the metrics that count what is missing from a sum: if there is any, the figure is a lower bound. ``repeated`` is
    what a place that is drawn once for several has: what each of them has, the sum, or the largest.
    """

    name: str
    heading: str
    called: str
    words: Words
    unit: str = ""
    after: str = ""
    scale: Literal["logarithmic"] | None = "logarithmic"
    missing: str = ""
    varies: bool = False
    fact: "Callable[[Node | Scope], float | None] | None" = None
    absent: float | None = None
    without: tuple[str, ...] = ()
    repeated: Literal["each", "sum", "largest"] = "each"

    def value(self, graph: "Graph", place: "Node | Scope") -> float | None:
        """What is known of a node or scope of a graph: by its ``fact``, or by the metric of its name. ``absent`` is
        what it means that of some metrics this one is not there.
        """
        if self.fact is not None:
            return self.fact(place)
        metrics = graph.metrics.get(place)
        return metrics.get(self.name, self.absent) if metrics else None

    def of_all(self, graph: "Graph", place: "Node | Scope") -> float | None:
        """What is known of a node or scope with all that it is drawn for: where that is not the same of ``each``, the
        sum or the largest; NaN if one of them is not finite. Of a view that was loaded, that is not known.
        """
        if self.repeated == "each" or not is_several(place):
            # What is around something folded hands on all of it: what it made is not what the view has of that.
            return self.value(graph, place) if self.fact is None else self.fact(_original(graph, place))
        whole, places = _alike(graph, place)
        found = [self.value(whole, each) for each in places]
        known = [value for value in found if value is not None]
        if not known or (self.repeated == "sum" and len(known) < len(found)):
            return None
        if not all(map(math.isfinite, known)):
            return math.nan
        return sum(known) if self.repeated == "sum" else max(known)

    def is_least(self, metrics: Mapping[str, float] | None) -> bool:
        """Whether the figure of something is a lower bound, by its metrics."""
        return metrics is not None and any(metrics.get(name) for name in self.without)

    def in_words(self, value: float, metrics: Mapping[str, float] | None = None) -> str:
        """A value as people read it; ``at least`` so much, if that is what the metrics beside it tell."""
        words = WORDS[self.words](value)
        return at_least(words) if self.is_least(metrics) else words

    def label(self, value: float, metrics: Mapping[str, float] | None = None) -> str:
        """In words, where nothing else says what it is: ``9.41 k parameters``."""
        return f"{self.in_words(value, metrics)}{self.after}"

    def said(self, graph: "Graph", place: "Node | Scope", *, label: bool = False) -> str | None:
        """What a graph says of a node or scope, as people read it, as a ``label`` or not; None if it is not known. Of
        what stands for several alike, it is of ``each``, of them ``in all``, or ``at most`` so much.
        """
        value = self.of_all(graph, place)
        if value is None:
            return None
        metrics = graph.metrics.get(place) if self.without else None
        words = self.label(value, metrics) if label else self.in_words(value, metrics)
        if self.repeated == "each":
            return f"{words} each" if "repeats" in place.meta else words
        return self.of_several(words) if is_several(place) else words

    def of_several(self, words: str) -> str:
        """Words for a value that `of_all` told of several: ``12.3 ms in all``, ``0.5 at most``."""
        return f"{words} {'in all' if self.repeated == 'sum' else 'at most'}"


def is_several(place: "Node | Scope | None") -> bool:
    """Whether a place, or one around it, is drawn once for several."""
    while place is not None:
        if "repeats" in place.meta:
            return True
        place = place.parent if hasattr(place, "parent") else place.scope
    return False


def _original(graph: "Graph", place: "Node | Scope") -> "Node | Scope":
    return place if graph._shown is None else graph._shown[1].get(place, place)


def _alike(graph: "Graph", place: "Node | Scope") -> "tuple[Graph, tuple[Node | Scope, ...]]":
    """All that a place is drawn for, and the graph in which they are; none if that is not known."""
    if graph._shown is None:
        return graph, ()
    whole, shown, alike = graph._shown
    return whole, alike.get(shown.get(place, place), ())


_NO_METRICS = "the graph has no such metrics, which calls have, and autograd nodes have not"
_NO_FLOPS = f"{_NO_METRICS}; FLOPs take torch, and a formula for any of the operations"
_NO_TIMES = "the graph has no times: one that was loaded has them if it was saved with timing=True"
_NO_BACKWARD = "no backward was recorded"
_NO_GRADIENTS = 'no gradients were measured to colour by: record with gradients="stats", and backward'
_NO_MEMORY = "what backward keeps was not recorded: record a training step with memory=True"
_NO_VALUES = 'no values were measured to colour by: record with values="stats"'

_NO_DIVERGENCE = "the graph was compared with none: save what recorder.diverge(a, b) gives"

_ALL = (
    Figure(
        name="gradient", heading="gradient", called="gradient norm", words="norm", fact=arrived_norm,
        missing=_NO_GRADIENTS, repeated="largest",
    ),
    Figure(
        name="value_norm", heading="norm", called="norm of results", words="norm", after=" norm", fact=made_norm,
        missing=_NO_VALUES, repeated="largest",
    ),
    Figure(
        name="value_largest", heading="largest", called="largest of results", words="norm", after=" largest",
        fact=made_largest, missing=_NO_VALUES, repeated="largest",
    ),
    Figure(
        name="not_finite", heading="NaN, Inf", called="NaN and Inf in results", words="count", after=" NaN or Inf",
        fact=made_not_finite, missing=_NO_VALUES, repeated="sum",
    ),
    Figure(
        name="zeros", heading="zeros", called="share of zeros in results", words="share", after=" zeros",
        fact=made_zeros, missing=_NO_VALUES, repeated="largest",
    ),
    Figure(
        name="divergence", heading="divergence", called="error added", words="norm", after=" error added",
        fact=_error_added, missing=_NO_DIVERGENCE, repeated="largest",
    ),
    Figure(
        name="time", heading="forward", called="forward time", words="time", unit="ns", varies=True,
        fact=lambda place: place.duration_ns, missing=_NO_TIMES, repeated="sum",
    ),
    Figure(
        name="backward_time", heading="backward", called="backward time", words="time", unit="ns", after=" back",
        varies=True, fact=lambda place: place.backward_ns, missing=_NO_BACKWARD, repeated="sum",
    ),
    # Of parameters, no figure means that there are none.
    Figure(
        name="parameters", heading="parameters", called="parameters", words="count", after=" parameters", absent=0,
        missing=_NO_METRICS,
    ),
    Figure(
        name="trainable", heading="trainable", called="trainable parameters", words="count", after=" trainable",
        absent=0, missing=_NO_METRICS,
    ),
    Figure(
        name="parameter_bytes", heading="size", called="size of parameters", words="bytes", unit="bytes", absent=0,
        missing=_NO_METRICS,
    ),
    Figure(
        name="activation_bytes", heading="activations", called="size of results", words="bytes", unit="bytes",
        missing=_NO_METRICS, without=("unseen",),
    ),
    Figure(
        name="saved_bytes", heading="kept", called="kept for backward", words="bytes", unit="bytes", after=" kept",
        missing=_NO_MEMORY, without=("saved_unknown",),
    ),
    Figure(
        name="flops", heading="FLOPs", called="FLOPs", words="count", after=" FLOPs", missing=_NO_FLOPS,
        without=("flops_unknown", "unseen"),
    ),
    Figure(
        name="macs", heading="mult-adds", called="multiply-adds", words="count", after=" multiply-adds",
        missing=_NO_FLOPS, without=("flops_unknown", "unseen"),
    ),
    Figure(
        name="flops_backward", heading="FLOPs back", called="FLOPs of backward", words="count", after=" FLOPs back",
        missing=f"{_NO_BACKWARD}, or {_NO_FLOPS}", without=("flops_unknown", "flops_backward_unknown", "unseen"),
        repeated="sum",
    ),
    Figure(
        name="flops_unknown", heading="no formula", called="operations without a formula", words="count", scale=None,
    ),
    Figure(
        name="flops_backward_unknown", heading="no formula back", called="operations without a formula of backward",
        words="count", scale=None,
    ),
    Figure(
        name="unseen", heading="more unseen", called="calls that did more than was recorded", words="count", scale=None,
    ),
    Figure(
        name="time_share", heading="of time", called="share of forward time", words="share", scale=None, varies=True,
        repeated="sum",
    ),
    Figure(
        name="backward_share", heading="of backward", called="share of backward time", words="share", scale=None,
        varies=True, repeated="sum",
    ),
)  # fmt: skip

FIGURES: MappingProxyType[str, Figure] = MappingProxyType({figure.name: figure for figure in _ALL})
"""Every figure by its name, in the order in which a label has them. In what programs read, times are in nanoseconds and
sizes in bytes."""


def meta_of(graph: "Graph", place: "Node | Scope", *, timing: bool = True) -> dict[str, Any]:
    """``meta`` of a node or scope as documents have it: with its metrics, where `recorder.add_metrics` asked for them,
    and without those that are measured times if ``timing`` is False.
    """
    told = graph.metrics.get(place) if graph._metrics_in_documents else None
    if not told:
        return place.meta
    kept = {name: n for name, n in told.items() if timing or name not in FIGURES or not FIGURES[name].varies}
    return {**place.meta, "metrics": kept}


KINDS_OF_MEMORY = {
    "parameters": "parameters", "buffers": "buffers", "gradients": "gradients", "saved": "kept for backward",
    "temporary": "temporary", "optimizer": "optimizer",
}  # fmt: skip
"""What bytes in memory are for, in the order in which a moment of `Graph.memory_report` has them, in words."""
