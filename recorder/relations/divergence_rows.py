"""What is said of each place that two runs have in common."""

import math
from dataclasses import dataclass
from typing import Literal

from recorder.graph.core import Node, Value
from recorder.graph.outline import Place

__all__ = ["Row", "added_to"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """How far a place is off. All distances are relative: the norm of a difference beside the larger norm of the two.

    Attributes:
        a: the place in the one run; None if it has not the same.
        b: the place in the other.
        phase: whether it is of results, or of gradients.
        given: by how much its inputs differ, or in backward the gradients that arrived: the largest.
        made: by how much its results differ, or the gradients that it handed on: the largest. Infinite where one has
            a NaN or Inf that the other has not.
        added: how much of that its inputs do not explain.
        expected: how much rounding may add; what was asked for, if it was.
        found: whether more was added than that.
        first: whether it is the first of these.
        calls: the calls of ``b`` that made it, more than one where the two do not call the same.
        unmeasured: what they were given and nobody measured, or could compare.
        rewired: the inputs that come from elsewhere than in ``a``, by name.
        same: whether all bits are; None of two dtypes.
        value: the tensor of ``b`` that is off most; None in backward.
    """

    a: Place | None
    b: Place
    phase: Literal["forward", "backward"] = "forward"
    given: float
    made: float
    added: float
    expected: float
    found: bool
    first: bool = False
    calls: tuple[Node, ...] = ()
    unmeasured: tuple[Value, ...] = ()
    rewired: tuple[str, ...] = ()
    same: bool | None = None
    value: Value | None = None


def added_to(whole: float, carried: float) -> float:
    """What was added to what was carried, so that there is as much: as independent errors add up."""
    if math.isinf(whole):
        return 0.0 if math.isinf(carried) else whole
    return math.sqrt(whole * whole - carried * carried) if carried < whole else 0.0
