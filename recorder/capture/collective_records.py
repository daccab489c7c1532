"""The records of operations between ranks, as `recorder.capture.raw_records` has those of all else.

    ISSUED   issue; inputs; outputs
    CARRIED  issue, gathered; references

An ISSUED stands before the record of the function that issued the operation, if that is recorded; then it has no
tensors of its own most often. Each output is a reference and facts.
"""

from collections.abc import Callable, Iterable
from typing import Any

from recorder import events as ev
from recorder.capture.issues import Issue
from recorder.capture.raw_records import END, Log, Reader, Tag
from recorder.capture.tensor_facts import Reference

__all__ = ["CARRIED", "ISSUED", "between_ranks", "carried_record", "issued_record"]

ISSUED, CARRIED = map(Tag, ("ISSUED", "CARRIED"))

Outputs = Callable[[Reader, tuple[int, ...]], tuple[tuple[ev.Output, ...], list[int]]]


def issued_record(issue: Issue, inputs: Iterable[Reference] = (), outputs: Iterable[Any] = ()) -> Log:
    """An operation is issued."""
    return [ISSUED, issue, *inputs, END, *outputs, END]


def carried_record(issue: Issue, gathered: bool, parameters: Iterable[Reference]) -> Log:
    """An operation is of these parameters."""
    return [CARRIED, issue, gathered, *parameters, END]


def between_ranks(
    outputs: Outputs, origin: int, number: Callable[[Reference], int | None]
) -> dict[Any, Callable[[Reader], ev.Op | ev.Carried | None]]:
    """Readers for both. ``outputs`` reads what was made, ``origin`` is the time that counts as zero, and ``number``
    gives that of a tensor.
    """
    return {
        ISSUED: lambda reader: _issued(reader, outputs, origin),
        CARRIED: lambda reader: _carried(reader, number),
    }


def _issued(reader: Reader, outputs: Outputs, origin: int) -> ev.Op:
    """The operation as a call by itself."""
    issue: Issue = next(reader.tags)
    inputs = reader.tensors()
    made, again = outputs(reader, inputs)
    start = issue.start - origin
    return ev.Op(
        issue.op_type,
        start,
        max(start, issue.stop - origin),
        f"torch.distributed.{issue.op_type}",
        inputs=inputs,
        outputs=made,
        writes=tuple(again),
        collective=issue.index,
    )


def _carried(reader: Reader, number: Callable[[Reference], int | None]) -> ev.Carried | None:
    """What it says, if the recording has the parameters."""
    issue, gathered = next(reader.tags), next(reader.tags)
    numbers = [number(reference) for reference in iter(reader.tags.__next__, END)]
    known = tuple([one for one in numbers if one is not None])
    return ev.Carried(issue.index, known, gathered) if len(known) == len(numbers) else None
