"""What a graph says in ``meta`` of what is not registered, or was not called. Assembly writes it; here it is read.

    "unregistered"       of a parameter that no recorded model holds: ``"inside"`` a call of one it was used, or in a
                         module ``"beside"`` them, as a loss is. A constant that requires a gradient may have the first.
                         Of a node or scope: a call of such a module, which uses such a parameter
    "never_called"       of the graph: the outermost modules without a call, as ``{"fqn", "op_type", "parameters"}``, of
                         which the last counts elements that were not used
    "only_parts_used"    the same of those whose parameters or buffers were used all the same, as
                         ``F.linear(x, self.fc.weight)`` does
    "unused_parameters"  of the graph: elements of further parameters of the models that were used in no recorded call
    "nothing_recorded"   of the graph: why
    "steps"              of the graph: so many steps were recorded, and the program went on unrecorded. Others are not
                         recorded with "every" and "keep" either, which are the options of the recorder

Where a stream does not tell, as that of a block that is not over, none of this is there.
"""

from collections.abc import Iterable
from typing import Annotated

import msgspec

from recorder.graph.core import Graph, Value
from recorder.limits import LARGEST

__all__ = [
    "BESIDE",
    "INSIDE",
    "NEVER_CALLED",
    "NOTHING_RECORDED",
    "ONLY_PARTS_USED",
    "UNUSED",
    "Uncalled",
    "elements",
    "never_called",
    "nothing_recorded",
    "recorded_steps",
    "remarks",
    "unregistered",
    "when_called",
]

NEVER_CALLED, ONLY_PARTS_USED, UNUSED = "never_called", "only_parts_used", "unused_parameters"
NOTHING_RECORDED = "nothing_recorded"
INSIDE, BESIDE = "inside", "beside"

_NAMES = 6
"""Names that are listed in a remark."""


class Uncalled(msgspec.Struct, frozen=True):
    """A module without a call, and how many elements the parameters have that were not used either."""

    fqn: str
    op_type: str
    parameters: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


def never_called(graph: Graph, key: str = NEVER_CALLED) -> list[Uncalled]:
    """The outermost modules that were never called, nor anything in them; by ``key``, those that were used in parts."""
    try:
        return msgspec.convert(graph.meta.get(key, []), list[Uncalled])
    except msgspec.ValidationError:  # a plugin's, or a stranger's
        return []


def nothing_recorded(graph: Graph) -> str | None:
    """Why there is nothing in a graph; None if there is something."""
    if graph.nodes:
        return None
    said = graph.meta.get(NOTHING_RECORDED)
    return said if isinstance(said, str) else "nothing was recorded"


def unregistered(graph: Graph, where: str = INSIDE) -> list[Value]:
    """The parameters that were used, and that no recorded model holds: inside their calls, or beside them."""
    return [value for value in graph.values() if value.meta.get("unregistered") == where]


def remarks(graph: Graph) -> list[str]:
    """What a reader of a recording should know before its figures, line by line: that nothing was recorded, which
    parameters are not registered, and what was never called.
    """
    lines = []
    if steps := recorded_steps(graph):
        lines.append(f"recorded {steps}: others are not counted")
    if (nothing := nothing_recorded(graph)) is not None:
        lines.append(nothing)
    if inside := unregistered(graph):
        names = _listed([value.name for value in inside])
        lines.append(f"{elements(inside):,} more parameters are used and not registered: {UNSEEN} ({names})")
    if beside := unregistered(graph, BESIDE):
        names = _listed([value.name for value in beside])
        lines.append(f"{elements(beside):,} more parameters are used in modules beside the model ({names})")
    if uncalled := never_called(graph):
        names = _listed(
            [f"{name_of(u)} ({u.parameters:,} parameters)" if u.parameters else name_of(u) for u in uncalled]
        )
        lines.append(f"{when_called(graph)}: {names}")
    if parts := never_called(graph, ONLY_PARTS_USED):
        lines.append(f"not called, and parameters or buffers of it used: {_listed([name_of(u) for u in parts])}")
    unused = graph.meta.get(UNUSED, 0)
    unused = unused if type(unused) is int and unused > 0 else 0
    if unused := unused + sum(u.parameters for u in parts):
        lines.append(f"{unused:,} {'more ' if uncalled else ''}parameters are used in no recorded call")
    return lines


def recorded_steps(graph: Graph) -> str:
    """Which steps of a run were recorded, in words; nothing if all of them were, as far as the recording tells."""
    every, keep, steps = (graph.meta.get(key) for key in ("every", "keep", "steps"))
    said = [f"one step in {every:,}"] if type(every) is int and every > 1 else []
    if type(steps) is int:
        said.append(f"the first {steps:,} steps alone" if steps > 1 else "the first step alone")
    if type(keep) is int:
        said.append(f"the last {keep:,} steps alone" if keep > 1 else "the last step alone")
    return ", ".join(said)


def when_called(graph: Graph) -> str:
    """How to say of a module that it was not: steps that were dropped afterwards were seen, and others were not."""
    seen_in_part = any(type(graph.meta.get(key)) is int for key in ("every", "steps"))
    return "not called in any recorded step" if seen_in_part else "never called"


UNSEEN = "no optimizer over the model's parameters sees them"


def name_of(uncalled: Uncalled) -> str:
    """A module's name; the first model itself has none but its type's."""
    return uncalled.fqn or uncalled.op_type


def _listed(names: list[str]) -> str:
    more = [f"… and {len(names) - _NAMES} more"] if len(names) > _NAMES else []
    return ", ".join([*names[:_NAMES], *more])


def elements(values: Iterable[Value] | Value) -> int:
    """How many elements they have; one whose shape does not tell, or tells what no tensor can have, has none."""
    total = 0
    for value in [values] if isinstance(values, Value) else values:
        size = 1
        for length in value.shape:
            size *= length
            if not 0 < size <= LARGEST:
                size = 0
                break
        total += size
    return total
