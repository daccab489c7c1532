"""Where the numbers of two runs part: `diverge`, and what it finds."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

from recorder.errors import RecorderError
from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Value
from recorder.graph.outline import Place
from recorder.relations.alignment import Alignment
from recorder.relations.backward_divergence import with_backward
from recorder.relations.counterparts import Counterparts, Way
from recorder.relations.differences import place_name, rewiring
from recorder.relations.distance import Distance
from recorder.relations.divergence_rows import Row, added_to
from recorder.relations.divergence_view import diverging
from recorder.relations.divergence_words import as_markdown, as_table, why
from recorder.relations.recordings import Recorded, graph_of
from recorder.relations.rounding import ROUNDING, allowed_of_call, allowed_of_several, unit_of

__all__ = ["Divergence", "Tolerance", "diverge"]

Tolerance = float | Literal["dtype"]


@collector_held_back()
def diverge(a: Recorded, b: Recorded, tolerance: Tolerance = "dtype") -> "Divergence":
    """Where the numbers of two runs part first: the call whose results differ by more than its inputs explain, so that
    the difference was made there, and not carried there.

    Both are recorded with ``Recorder(net, values="digest")``; with ``gradients="digest"``, too, backward is compared as
    well. What one of them lacks, or calls by another name, is found as `recorder.diff` finds it.

    Args:
        a: the run that is taken for right: a `Graph`, an `EventStream`, a `Recorder`, or a file: a graph (``.json``) or
            a recording (``.jsonl``).
        b: the run that is compared with it, likewise.
        tolerance: what a call may add, relative to the norm of its results. ``"dtype"``: what rounding adds in the
            coarsest dtype at hand, in sums as long as those of the call. 0: nothing, so that the first place is named
            where a bit differs.

    Raises:
        RecorderError: one of the two has no digests.
        ValueError: ``tolerance`` is neither ``"dtype"`` nor a number that is not negative.
        StreamError, GraphError: a file is no recording.
    """
    if tolerance != "dtype" and not (isinstance(tolerance, float | int) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance!r}: it is 'dtype', or a number from 0 on")
    return Divergence(graph_of(a), graph_of(b), tolerance)


@dataclass(frozen=True)
class Given:
    """An input of the model, by its name in ``b``, and by how much it differs."""

    name: str
    off: Distance


class Divergence:
    """Where two runs part; true if they do. ``str()`` is a table.

    Attributes:
        first: where more is added than expected first, a place of ``b``: a node, or the call of a module where the two
            do not call the same within; None if nowhere.
        why: one sentence on it.
        rows: of each place that was compared, in the order of execution. See `DivergenceRow`.
        given: the model's inputs that differ.
        unaligned: the outermost places that one of the two has not: ``("a", place)`` or ``("b", place)``.
        unmeasured: of how many calls nothing could be compared.
    """

    def __init__(self, a: Graph, b: Graph, tolerance: Tolerance = "dtype") -> None:
        _check(a, "a")
        _check(b, "b")
        self.a, self.b, self.tolerance = a, b, tolerance
        self.alignment = Alignment(a, b)
        self._counterparts = Counterparts(self.alignment)
        allowed = None if tolerance == "dtype" else float(tolerance)
        rows = list(_Judge(self._counterparts, allowed).rows())
        rows = with_backward(self.alignment, rows, allowed)
        self.unaligned: Sequence[tuple[str, Place]] = list(self._counterparts.unaligned())
        compared = {row.b for row in rows}
        self.unmeasured = sum(node not in compared for node in self.alignment.b.nodes if node in self.alignment.back)
        self.given: Sequence[Given] = [
            Given(name, off)
            for value, name in zip(b.inputs, b.input_names)
            if (off := self._counterparts.distance(value)) is not None and self._is_off(value, off)
        ]
        first = next((number for number, row in enumerate(rows) if row.found), None)
        if first is not None:
            rows[first] = replace(rows[first], first=True)
        self.rows: Sequence[Row] = rows
        self.first: Place | None = None if first is None else rows[first].b

    def _is_off(self, value: Value, off: Distance) -> bool:
        """Whether what the model was given differs by more than its dtypes."""
        if self.tolerance == 0:
            return off.same is not True
        units = ROUNDING * unit_of((value, self._counterparts.of[value]))
        return off.relative > (units if self.tolerance == "dtype" else self.tolerance)

    @cached_property
    def why(self) -> str:
        """What is known of the first place, or that there is none, in one sentence."""
        return why(self)

    def name(self, place: Place) -> str:
        """What a place of either graph is called: the name of a module; of a function its name in its scope."""
        alignment = self.alignment
        return place_name(alignment.b if place in alignment.b.parts else alignment.a, place)

    def graph(self) -> Graph:
        """The graph of ``b`` for drawings: ``meta["divergence"]`` of a place says by how much it differs."""
        return diverging(self)

    def to_text(self, lines: int | None = 30) -> str:
        """The reason, and a table of at most so many lines of what is around it."""
        return as_table(self, lines)

    def to_markdown(self) -> str:
        """The same for a comment: the sentence, and the table as it is."""
        return as_markdown(self)

    def __bool__(self) -> bool:
        return self.first is not None

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        where = "nowhere" if self.first is None else f"first at {self.name(self.first)}"
        return f"<Divergence of {self.a.name} and {self.b.name}: {where}>"


def _check(graph: Graph, which: str) -> None:
    if not any("digest" in value.meta for value in graph.values()):
        raise RecorderError(
            f"the recording {which} ({graph.name}) has no digests to compare: record both runs with "
            "Recorder(net, values='digest')"
        )


class _Judge:
    """Goes through the calls of ``b`` in order, and says of each what it added."""

    def __init__(self, counterparts: Counterparts, tolerance: float | None) -> None:
        self._counterparts = counterparts
        self._alignment = counterparts.alignment
        self._tolerance = tolerance
        self._judged: set[Value] = set()
        self._worst = 0.0

    def rows(self) -> Iterator[Row]:
        for node in self._alignment.b.nodes:
            for value in node.inputs:
                if value not in self._judged and value in self._counterparts.of:
                    yield from self._of_value(value, node)
            told = [row for value in node.outputs for row in self._of_value(value, node)]
            if told:  # the result that is off most tells of the call
                yield max(told, key=lambda row: (row.found, row.added, row.made))

    def _of_value(self, value: Value, user: Node) -> Iterator[Row]:
        made = self._counterparts.distance(value)
        if made is None or value in self._judged:
            return
        self._judged.add(value)
        if value.producer is None:
            if value not in self._alignment.given.values() and value.role == "constant":
                yield from self._of_unseen(value, made, user)
        else:
            yield self._of_way(value, made, self._counterparts.way_to(value))
        self._worst = max(self._worst, made.relative)

    def _of_way(self, value: Value, made: Distance, way: Way) -> Row:
        maker = way.calls[0]
        before = self._alignment.back.get(maker)
        whole = len(way.calls) == 1 and isinstance(before, Node)
        if whole and isinstance(before, Node):
            allowed = allowed_of_call(before, maker, value, made, way.sources, self._tolerance)
        else:
            allowed = allowed_of_several(way.calls, made, way.sources, self._tolerance)
        given = max((d.relative for _, d in way.sources), default=0.0)
        if self._tolerance == 0.0:
            found = made.same is not True and all(d.same is True for _, d in way.sources)
        else:
            found = made.relative > allowed.total
        place: Place | None = maker if len(way.calls) == 1 else self._counterparts.around(way.between)
        wires = rewiring(self._alignment, before, maker) if found and whole and isinstance(before, Node) else {}
        return Row(
            a=before if whole else None if place is None else self._alignment.back.get(place),
            b=place or maker,
            given=given,
            made=made.relative,
            added=added_to(made.relative, allowed.carried),
            expected=allowed.rounding,
            found=found,
            calls=way.calls,
            unmeasured=way.unmeasured,
            rewired=tuple(wires),
            same=made.same,
            value=value,
        )

    def _of_unseen(self, value: Value, made: Distance, user: Node) -> Iterator[Row]:
        """Of a tensor that was made where nobody looked: it may be of all that was before."""
        if self._tolerance == 0.0:
            found = made.same is not True and self._worst == 0.0
        else:
            allowed = allowed_of_several((user,), made, (), self._tolerance)
            found = made.relative > math.hypot(allowed.rounding, 4 * self._worst)
        if found:
            place = self._counterparts.around((user,)) or user
            yield Row(
                a=self._alignment.back.get(place), b=place, given=self._worst, made=made.relative, added=made.relative,
                expected=0.0, found=True, calls=(), unmeasured=(value,), same=made.same, value=value,
            )  # fmt: skip
