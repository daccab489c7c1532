"""The events of operations between ranks: each operation is described before the call that issued it, and is one with
that call if the call is a function of `torch.distributed` that was recorded itself.
"""

from collections.abc import Iterable, Iterator

import msgspec

from recorder.capture.collective_lines import CollectiveLines
from recorder.capture.issues import Issue
from recorder.capture.operations import Operations
from recorder.events.ranks import Carried, Collective, Group
from recorder.events.stream import encode_events
from recorder.events.types import Derived, Event, Measured, Op, Tensor

__all__ = ["CollectiveEvents"]

_FUNCTIONS = ("torch.distributed.", "torch.ops._c10d_functional", "torch.ops.c10d.")
"""What the functions that issue operations are called."""

_BETWEEN = (Tensor, Derived, Measured)
"""What may stand between an operation and the call that issued it."""


class CollectiveEvents:
    """Those of one recording.

    Args:
        operations: what was noted.
        origin: the time that counts as zero.
    """

    def __init__(self, operations: Operations, origin: int) -> None:
        self._operations = operations
        self._origin = origin
        self._lines = CollectiveLines(origin)
        self._written: set[int] = set()
        self._groups: set[int] = set()

    def before(self, issue: Issue) -> bytes:
        """The lines that are to be written at once, before an operation is issued."""
        self._written.add(issue.index)
        line = self._lines.line(issue)
        if issue.group.index in self._groups:
            return line
        self._groups.add(issue.group.index)
        return encode_events([issue.group.event]) + line

    def unwritten(self, events: Iterable[Event]) -> list[Event]:
        """Those that were not written down at once."""
        found: list[Event] = []
        for event in events:
            if type(event) is Group and event.group in self._groups:
                continue
            if type(event) is Collective and event.collective in self._written:
                self._written.discard(event.collective)
                continue
            found.append(event)
        return found

    def completed(self, events: Iterable[Event]) -> list[Event]:
        """Decoded events with those of the operations in them."""
        found: list[Event] = []
        waiting: list[Op] = []
        carried: dict[int, Carried] = {}

        def issued(op: Op) -> None:
            issue = self._operations.issues.pop(op.collective or 0, None)
            if issue is not None:
                if issue.module is None and issue.entry is not None:
                    issue.module = self._operations.names.name(issue.entry)
                found.extend(self._described(issue))
            found.append(op)
            if op.collective in carried:
                found.append(carried.pop(op.collective))

        for event in events:
            if type(event) is Op and event.collective is not None:
                waiting.append(event)
                continue
            if type(event) is Carried:
                carried[event.collective] = event
                continue
            if waiting and not isinstance(event, _BETWEEN):
                inside = [op for op in waiting if _issues(event, op)]
                for op in waiting:
                    if len(inside) != 1 or op is not inside[0]:
                        issued(op)
                waiting = []
                if len(inside) == 1 and type(event) is Op:
                    issued(_together(event, inside[0]))
                    continue
            found.append(event)
        for op in waiting:
            issued(op)
        found.extend(carried.values())  # of operations that were told before
        return found

    def _described(self, issue: Issue) -> Iterator[Event]:
        if not issue.group.told:
            issue.group.told = True
            yield issue.group.event
        yield issue.event(self._origin)


def _issues(event: Event, op: Op) -> bool:
    """Whether an event is the call of a function that issued an operation."""
    return (
        type(event) is Op
        and event.module is None
        and event.start_ns <= op.start_ns <= event.stop_ns
        and event.target.startswith(_FUNCTIONS)
    )


def _together(function: Op, op: Op) -> Op:
    """The function's call as that of the operation. What came out where nobody looked is its own, too."""
    made = {output.tensor for output in function.outputs}
    more = tuple(output for output in op.outputs if output.tensor not in made)
    return msgspec.structs.replace(
        function, op_type=op.op_type, outputs=(*function.outputs, *more), collective=op.collective
    )
