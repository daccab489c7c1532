"""The record of what memory does, as `recorder.capture.raw_records` has those of all else.

    MEMORY  event, reference

The event is one of `recorder.events.memory`, ready but for the number of the tensor that it is about, and for times
that are counted from the start. Whoever asks for memory pays for objects on the hot path.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from recorder.capture.raw_records import Log, Tag
from recorder.capture.tensor_facts import Reference
from recorder.events.memory import OptimizerStep, Storage

__all__ = ["MEMORY", "memory_record", "read_memory"]

MEMORY = Tag("MEMORY")


def memory_record(event: Any, reference: Reference | None = None) -> Log:
    """Something happened to memory."""
    return [MEMORY, event, reference]


def read_memory(items: Iterator[Any], origin: int, number: Callable[[Reference], int | None]) -> Any:
    """The event. ``number`` knows the tensors that the events tell of."""
    event, reference = next(items), next(items)
    if type(event) is OptimizerStep:
        return msgspec.structs.replace(event, ns=event.ns - origin)
    tensor = None if reference is None else number(reference)
    return event if tensor is None or type(event) is not Storage else msgspec.structs.replace(event, tensor=tensor)
