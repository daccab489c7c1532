"""The records of what is in values, as `recorder.capture.raw_records` has those of all else.

    MEASURED    reference, measure
    NOT_FINITE  check

A MEASURED follows at once the record that told of the tensor, or stands before the call that is given it. Measures are
`recorder.capture.tensor_stats.Measure`, checks `recorder.capture.held_tensors.Check`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from recorder.capture.raw_records import Log, Tag
from recorder.capture.tensor_facts import Reference
from recorder.events.types import NotFinite

__all__ = [
    "MEASURED",
    "NOT_FINITE",
    "measured_record",
    "not_finite_record",
    "read_measured",
    "read_not_finite",
]

MEASURED, NOT_FINITE = map(Tag, ("MEASURED", "NOT_FINITE"))


def measured_record(reference: Reference, measure: Any) -> Log:
    """What is in a tensor now."""
    return [MEASURED, reference, measure]


def not_finite_record(check: Any) -> Log:
    """What modules hold was looked at."""
    return [NOT_FINITE, check]


def read_measured(items: Iterator[Any]) -> tuple[Reference, Any]:
    """The tensor and its measure."""
    return next(items), next(items)


def read_not_finite(
    items: Iterator[Any], before: dict[int, str], number: Callable[[Reference], int | None]
) -> NotFinite | None:
    """All that is not finite, if it is not what it was ``before``, which is brought up to date. ``number`` knows the
    tensors.
    """
    now = dict(before)
    for reference, content in next(items).contents():
        tensor = number(reference)
        if tensor is not None and content == "finite":
            now.pop(tensor, None)
        elif tensor is not None:
            now[tensor] = content
    if now == before:
        return None
    before.clear()
    before.update(now)
    return NotFinite(*(tuple(n for n, content in now.items() if content == kind) for kind in ("nan", "inf", "unknown")))
