"""Where the gradients of two runs part: which call handed on something else than what had arrived at it explains."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recorder.graph.core import Node, Value
from recorder.graph.outline import Place
from recorder.relations.alignment import Alignment
from recorder.relations.distance import Distance, of_digests
from recorder.relations.divergence_rows import Row, added_to
from recorder.relations.rounding import allowed_of_gradients

__all__ = ["with_backward"]

Gradient = dict[str, Any] | None
"""As `recorder.assembly.backward_marks` has it."""


def with_backward(alignment: Alignment, forward: Sequence[Row], tolerance: float | None) -> list[Row]:
    """The rows of forward, and of each call that backward reached in both runs, in its order: those of a pass
    behind the calls that it went back through, so that an error in it comes before what the next step makes of it.

    A gradient depends on what forward computed: what was off there explains it, too.
    """
    at = {node: number for number, node in enumerate(alignment.b.nodes)}
    last: dict[int, int] = {}
    for node, number in at.items():
        if "backward" in node.meta:
            step = node.meta["backward"]["pass"]
            last[step] = max(number, last.get(step, 0))
    reached = 0
    for step in sorted(last):
        reached = last[step] = max(reached, last[step])
    rows: list[tuple[float, Row]] = []
    reached = 0
    for row in forward:
        reached = max(reached, at.get(row.calls[0], 0) if row.calls else 0)
        rows.append((reached, row))
    for step, row in _Judge(alignment, forward, tolerance).rows():
        rows.append((last[step] + 0.5, row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


class _Judge:
    """``_arrived`` and ``_left`` have the distances of gradients at each call of ``b`` that both runs have."""

    def __init__(self, alignment: Alignment, forward: Sequence[Row], tolerance: float | None) -> None:
        self._tolerance = tolerance
        self._values: dict[Place, tuple[float, bool]] = {}
        for row in forward:
            off, same = self._values.get(row.b, (0.0, True))
            same = same and row.same is True and row.given == 0.0
            self._values[row.b] = max(off, row.given, row.made), same
        self._before: dict[Node, Node] = {}
        self._arrived: dict[Node, list[Distance]] = {}
        self._left: dict[Node, list[Distance]] = {}
        for x, y in alignment.pairs.items():
            if isinstance(x, Node) and isinstance(y, Node) and "backward" in x.meta and "backward" in y.meta:
                self._take(x, y, x.meta["backward"], y.meta["backward"])

    def rows(self) -> Iterator[tuple[int, Row]]:
        """With the number of the pass."""
        for y in sorted(self._before, key=lambda node: node.meta["backward"]["order"]):
            arrived, left, step = self._arrived[y], self._left[y], y.meta["backward"]["pass"]
            used, between = self._handed_on_to(y)
            if used and arrived:
                row = self._row(y, between, used, arrived)
                if row.found:  # what came here is not what the others handed on
                    yield step, row
            if arrived and left:
                yield step, self._row(y, (y,), arrived, left)

    def _take(self, x: Node, y: Node, one: dict[str, Any], other: dict[str, Any]) -> None:
        if one["pass"] == other["pass"]:
            self._before[y] = x
            self._arrived[y] = list(_distances(one["arrived"], other["arrived"]))
            arrived = max((d.size for d in self._arrived[y]), default=0.0)
            own = list(zip(*_of_parameters(x, y, other["pass"]))) or [(), ()]
            for ours, theirs in ((one.get("left", ()), other.get("left", ())), own):
                self._left.setdefault(y, []).extend(_distances(ours, theirs, arrived))

    def _handed_on_to(self, y: Node) -> tuple[list[Distance], tuple[Node, ...]]:
        """What the users of a call's results handed back, and the calls between of whose gradients nothing is known.
        Nothing of both if that is not known of all.
        """
        found: list[Distance] = []
        between: dict[Node, None] = {}
        stack = [user for value in y.outputs for user, _ in value.uses]
        while stack:
            node = stack.pop()
            if self._left.get(node):
                found += self._left[node]
            elif node not in between and "backward" not in node.meta:
                between[node] = None
                stack += [user for value in node.outputs for user, _ in value.uses]
            elif node not in between:
                return [], ()
        return found, tuple(between)

    def _row(self, y: Node, calls: tuple[Node, ...], given: list[Distance], made: list[Distance]) -> Row:
        x = self._before[y]
        off, same = self._values.get(y, (0.0, True))
        worst = max(made, key=lambda d: d.relative)
        allowed = allowed_of_gradients(x, y, [*(d.relative for d in given), off], self._tolerance)
        if self._tolerance == 0.0:
            found = any(d.same is not True for d in made) and all(d.same is True for d in given) and same
        else:
            found = worst.relative > allowed.total
        return Row(
            a=x,
            b=calls[0] if calls else y,
            phase="backward",
            given=max(d.relative for d in given),
            made=worst.relative,
            added=added_to(worst.relative, allowed.carried),
            expected=allowed.rounding,
            found=found,
            calls=calls,
            same=all(d.same is True for d in (*given, *made)),
        )


def _of_parameters(x: Node, y: Node, number: int) -> Iterator[tuple[Gradient, Gradient]]:
    """What came to the parameters that one call alone uses, in that pass."""
    for v, w in zip(_parameters(x), _parameters(y)):
        if len(v.uses) == len(w.uses) == 1 and "backward" in v.meta and "backward" in w.meta:
            one, other = v.meta["backward"], w.meta["backward"]
            if one["pass"] == other["pass"] == number:
                yield one["gradient"], other["gradient"]


def _beside(d: Distance, arrived: float) -> Distance:
    """The distance of a bias's gradient, which is a sum of what arrived: where that cancels out, as before a
    normalization, or at the keys of attention, all that is left is rounding, which is of the size of what arrived.
    """
    if not d.size < arrived or math.isinf(d.relative):
        return d
    return d._replace(relative=d.absolute / arrived, size=arrived)


def _parameters(node: Node) -> list[Value]:
    return [value for value in node.inputs if value.role == "parameter"]


def _distances(ours: Iterable[Gradient], theirs: Iterable[Gradient], arrived: float = 0.0) -> Iterator[Distance]:
    """Of each that was measured in both; those of vectors beside the norm of what ``arrived``, if that is larger."""
    ours, theirs = list(ours), list(theirs)
    if len(ours) == len(theirs):
        for one, other in zip(ours, theirs):
            if one and other and "digest" in one and "digest" in other and one["shape"] == other["shape"]:
                first, second = ({**gradient, **gradient["digest"]} for gradient in (one, other))
                told = of_digests(first, second, (one["dtype"], other["dtype"]), math.prod(one["shape"]))
                if told is not None:
                    yield _beside(told, arrived) if len(one["shape"]) == 1 else told
