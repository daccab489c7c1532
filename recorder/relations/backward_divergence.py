"""Where the gradients of two runs part: which call handed on something else than what had arrived at it explains."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from recorder.graph.core import Node, Value
from recorder.graph.outline import Place
from recorder.relations.alignment import Alignment
from recorder.relations.distance import Distance, of_digests
from recorder.relations.divergence_rows import Row
from recorder.relations.rounding import allowed_of_gradients

__all__ = ["backward_rows"]

Gradient = dict[str, Any] | None
"""As `recorder.assembly.backward_marks` has it."""


def backward_rows(alignment: Alignment, forward: Sequence[Row], tolerance: float | None) -> list[Row]:
    """Of each call that backward reached in both runs, in the order in which it did; none if nothing was measured.

    A gradient depends on what forward computed: what was off there explains it, too.
    """
    values: dict[Place, tuple[float, bool]] = {}
    for row in forward:
        off, same = values.get(row.b, (0.0, True))
        values[row.b] = max(off, row.given, row.made), same and row.same is True and row.given == 0.0
    found = []
    for x, y in alignment.pairs.items():
        if isinstance(x, Node) and isinstance(y, Node) and "backward" in x.meta and "backward" in y.meta:
            row = _row(x, y, values.get(y, (0.0, True)), tolerance)
            if row is not None:
                found.append((y.meta["backward"]["order"], row))
    return [row for _, row in sorted(found, key=lambda item: item[0])]


def _row(x: Node, y: Node, values: tuple[float, bool], tolerance: float | None) -> Row | None:
    one, other = x.meta["backward"], y.meta["backward"]
    if one["pass"] != other["pass"]:
        return None
    arrived = list(_distances(one["arrived"], other["arrived"]))
    left = list(_distances(one.get("left", ()), other.get("left", ())))
    left += _distances(*zip(*_of_parameters(x, y, other["pass"])))
    if not arrived or not left:
        return None
    off, same = values
    given = max(d.relative for d in arrived)
    made = max(left, key=lambda d: d.relative)
    allowed = allowed_of_gradients(x, y, [*(d.relative for d in arrived), off], tolerance)
    if tolerance == 0.0:
        found = any(d.same is not True for d in left) and all(d.same is True for d in arrived) and same
    else:
        found = made.relative > allowed.total
    added = (
        math.sqrt(max(made.relative**2 - allowed.carried**2, 0.0)) if math.isfinite(made.relative) else made.relative
    )
    return Row(
        a=x, b=y, phase="backward", given=given, made=made.relative, added=added, expected=allowed.rounding,
        found=found, calls=(y,), same=made.same,
    )  # fmt: skip


def _of_parameters(x: Node, y: Node, number: int) -> Iterator[tuple[Gradient, Gradient]]:
    """What came to the parameters that one call alone uses, in that pass."""
    yield None, None
    for v, w in zip(_parameters(x), _parameters(y)):
        if len(v.uses) == len(w.uses) == 1 and "backward" in v.meta and "backward" in w.meta:
            one, other = v.meta["backward"], w.meta["backward"]
            if one["pass"] == other["pass"] == number:
                yield one["gradient"], other["gradient"]


def _parameters(node: Node) -> list[Value]:
    return [value for value in node.inputs if value.role == "parameter"]


def _distances(ours: Iterable[Gradient], theirs: Iterable[Gradient]) -> Iterator[Distance]:
    ours, theirs = list(ours), list(theirs)
    if len(ours) == len(theirs):
        for one, other in zip(ours, theirs):
            if one and other and "digest" in one and "digest" in other and one["shape"] == other["shape"]:
                told = ({**gradient, **gradient["digest"]} for gradient in (one, other))
                yield of_digests(*told, (one["dtype"], other["dtype"]), math.prod(one["shape"]))
