"""Why memory is what it is: the peak, what it is made of, who keeps what for backward, and a way out. Read off a graph
alone, which may have been saved and loaded: what is there, `recorder.assembly.memory` says.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from recorder.analysis.memory_advice import Advice, advice, pattern
from recorder.figures import KINDS_OF_MEMORY, bytes_in_words, count_in_words
from recorder.graph.core import Graph, Node, Scope
from recorder.terminal import in_one_line

__all__ = ["Keeper", "MemoryReport", "Moment", "memory_report"]

_MANY = 8
"""So many keepers are listed."""

_ADVICE = "what is in memory: record a training step with Recorder(net, memory=True)"


class Moment(NamedTuple):
    """What was in memory at one moment, in bytes. ``place`` is the name of the call, None outside of all; ``phase`` is
    ``"forward"``, ``"backward"`` or ``"optimizer"``.
    """

    ns: int
    place: str | None
    phase: str
    parameters: int
    buffers: int
    gradients: int
    saved: int
    temporary: int
    optimizer: int

    @property
    def total(self) -> int:
        """All kinds together."""
        return sum(self[3:])


class Keeper(NamedTuple):
    """Calls that keep the same for backward: ``name`` has ``*`` for the numbers in which theirs differ, and each of
    the ``calls`` keeps so many ``bytes``.
    """

    name: str
    calls: int
    bytes: int


@dataclass(frozen=True)
class MemoryReport:
    """Why memory is what it is; ``str()`` is text to read.

    Attributes:
        peak_bytes: the most that was there at one moment, as far as the recording knows: what kernels need while they
            run, and what was made and gone inside of one call, is not in it.
        peak_at: the call at which that was; None outside of all, as in an optimizer's step.
        peak_phase: ``"forward"``, ``"backward"`` or ``"optimizer"``.
        at_peak: what was there then, by kind.
        by_kind: the most that was there of each kind: ``"parameters"``, ``"buffers"``, ``"gradients"``, ``"saved"``
            (what autograd keeps for backward and is no parameter or buffer, each storage once and whole),
            ``"temporary"`` (all other tensors), ``"optimizer"``.
        by_place: what was kept for backward by each node and scope, each storage once, by whom it was kept first.
        keepers: the same, calls together that repeat, the largest first.
        advice: what to checkpoint, the best first.
        timeline: every moment at which something changed.
        allocator: what torch's allocator says of each device, ``"bytes"`` and ``"peak"``, at the end.
        estimated: how much of what is kept nobody saw, but is known by torch's formulas, in bytes.
        unknown: what the recording cannot tell.
    """

    peak_bytes: int = 0
    peak_at: Node | Scope | None = None
    peak_phase: str = "forward"
    at_peak: Mapping[str, int] = field(default_factory=dict)
    by_kind: Mapping[str, int] = field(default_factory=dict)
    by_place: Mapping[Node | Scope, int] = field(default_factory=dict)
    keepers: tuple[Keeper, ...] = ()
    advice: tuple[Advice, ...] = ()
    timeline: tuple[Moment, ...] = ()
    allocator: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    estimated: int = 0
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        lines = [*self._peak(), *self._kept(), *self._ways_out(), *self._allocated()]
        if self.unknown:
            lines += ["cannot be told:", *(f"  {in_one_line(item)}" for item in self.unknown)]
        return "\n".join(lines)

    def _peak(self) -> Iterable[str]:
        if self.timeline:
            where = "" if self.peak_at is None else f" of {in_one_line(self.peak_at.name)}"
            where = "the optimizer's step" if self.peak_phase == "optimizer" else f"{self.peak_phase}{where}"
            yield f"peak {bytes_in_words(self.peak_bytes)}, reached in {where}: {_by_kind(self.at_peak)}"
            yield f"each at its largest: {_by_kind(self.by_kind)}"

    def _kept(self) -> Iterable[str]:
        if self.keepers:
            yield "kept for backward:"
            names = [in_one_line(keeper.name) for keeper in self.keepers[:_MANY]]
            width = max(map(len, names))
            for name, keeper in zip(names, self.keepers):
                often = f" × {keeper.calls}" if keeper.calls > 1 else ""
                yield f"  {name:<{width}}  {bytes_in_words(keeper.bytes)}{often}"
            if len(self.keepers) > _MANY:
                rest = sum(keeper.bytes * keeper.calls for keeper in self.keepers[_MANY:])
                yield f"  … {len(self.keepers) - _MANY} more, {bytes_in_words(rest)} in all"
        if self.estimated:
            yield f"  of it an estimate, for writes into tensor views: {bytes_in_words(self.estimated)}"

    def _ways_out(self) -> Iterable[str]:
        if self.advice:
            yield "to keep less:"
        for one in self.advice:
            first, last = one.scopes[0], one.scopes[-1]
            costs = "" if one.flops is None else f", and computes {count_in_words(one.flops)} FLOPs once more"
            share = "" if one.share is None else f" ({100 * one.share:.0f} % of forward)"
            yield (
                f"  checkpoint each of the {len(one.scopes)} {first.op_type}, {in_one_line(first.name)} … "
                f"{in_one_line(last.name)}: keeps {bytes_in_words(one.bytes)} less{costs}{share}"
            )

    def _allocated(self) -> Iterable[str]:
        for device, told in self.allocator.items():
            yield f"torch's allocator on {device}: peak {bytes_in_words(told['peak'])}, {_more(told, self.peak_bytes)}"


def memory_report(graph: Graph) -> MemoryReport:
    """See `Graph.memory_report`."""
    if graph._shown is not None:
        graph = graph._shown.graph
    told: dict[str, Any] = graph.meta.get("memory") or {}
    timeline = tuple(Moment(*row) for row in told.get("timeline", ()))
    if not timeline:
        return MemoryReport(unknown=(_ADVICE,))
    all_of_them: list[Node | Scope] = [*graph.scopes, *graph.nodes]
    places = {place.name: place for place in all_of_them}
    peak = max(timeline, key=lambda moment: moment.total)
    kinds = Moment._fields[3:]
    by_place = {place: int(n) for place in places.values() if (n := graph.metrics.get(place, {}).get("saved_bytes"))}
    kept = told.get("kept", ())
    return MemoryReport(
        peak_bytes=peak.total,
        peak_at=places.get(peak.place or ""),
        peak_phase=peak.phase,
        at_peak={kind: getattr(peak, kind) for kind in kinds},
        by_kind={kind: max(getattr(moment, kind) for moment in timeline) for kind in kinds},
        by_place=by_place,
        keepers=_keepers(places.values()),
        advice=advice(graph, kept),
        timeline=timeline,
        allocator={device: said[-1] for device, said in told.get("allocator", {}).items()},
        estimated=sum(storage["bytes"] for storage in kept if storage.get("estimated")),
        unknown=_unknown(places.values(), timeline),
    )


def _keepers(places: Iterable[Node | Scope]) -> tuple[Keeper, ...]:
    """What was kept by each call itself."""
    found: Counter[tuple[str, int]] = Counter()
    names: dict[tuple[str, int], str] = {}
    for place in places:
        size = place.meta.get("saved", 0)
        if size:
            key = pattern(place.name), size
            found[key] += 1
            names.setdefault(key, place.name)
    keepers = [Keeper(key[0] if n > 1 else names[key], n, key[1]) for key, n in found.items()]
    return tuple(sorted(keepers, key=lambda keeper: -keeper.bytes * keeper.calls))


def _unknown(places: Iterable[Node | Scope], timeline: Iterable[Moment]) -> tuple[str, ...]:
    silent = [place.name for place in places if place.meta.get("saved_unknown")]
    told: list[str] = []
    if silent:
        more = f" and {len(silent) - 3} more" if len(silent) > 3 else ""
        told.append(f"all that is kept for {', '.join(silent[:3])}{more}, which do not say: it is more than is told")
    if not any(moment.saved for moment in timeline):
        told.append("what backward would keep: nothing was recorded that requires a gradient")
    return tuple(told)


def _by_kind(sizes: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{KINDS_OF_MEMORY[kind]} {bytes_in_words(size)}" for kind, size in sizes.items() if size)
        or "nothing"
    )


def _more(told: Mapping[str, int], known: int) -> str:
    if told["peak"] < known:
        return "less than the recording knows of, since it lies on several devices"
    return f"{bytes_in_words(told['peak'] - known)} more than the recording knows of"
