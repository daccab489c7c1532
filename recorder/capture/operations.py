"""What is noted of operations between ranks when they are issued: each is counted in its group, and a record says what
it does with the tensors that the recording knows.

An operation that a recorded function issues is a part of that function's call: `recorder.capture.collective_events`
ties the two. One that nobody sees called, by C++ code, in backward, on another thread, is a call by itself, and takes
part in the dataflow with the tensors that are known. What arrives with it is known from there on.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import count
from operator import attrgetter
from threading import get_ident
from time import perf_counter_ns as clock
from types import FrameType
from typing import Any
from weakref import ref

import torch
from torch import Tensor, distributed

from recorder.capture.backward_hooks import backward_id
from recorder.capture.collective_records import ISSUED, carried_record, issued_record
from recorder.capture.function_mode import Recording
from recorder.capture.issues import GroupFacts, Issue
from recorder.capture.mode_stack import depth, on_stack
from recorder.capture.module_hooks import Capture
from recorder.capture.module_names import ModuleNames
from recorder.capture.outside_calls import KNOWN
from recorder.capture.parameter_owners import UNITS, Unit, bucket_parameters, is_reducer, unit_around
from recorder.capture.raw_records import END, Log
from recorder.capture.tensor_facts import ACCUMULATES, Reference, quietly

__all__ = ["IN_PLACE", "Operations"]

IN_PLACE = frozenset({"all_reduce", "broadcast", "reduce"})
"""Those that write what they are given."""

_ONLY = IN_PLACE | {"recv", "send"}
"""Those whose function is given tensors of one kind."""

_OF_UNITS = frozenset({"all_gather", "all_reduce", "reduce_scatter"})
"""What FSDP issues."""

_loaded = sys.modules

_shape = attrgetter("shape")

_NOTHING: Log = []
"""What is to be appended where nothing is. Nobody adds to it."""

_autograd_node: Callable[[], Any] = getattr(torch._C, "_current_autograd_node", lambda: None)


class Operations:
    """Those that one recorder is told of.

    Args:
        capture: what records.

    Attributes:
        issues: those that no event tells of yet, by number. Take them out at any time.
        at_once: writes one down before it is issued; None where there is nowhere to write to.
        failed: is told an error of our own.
    """

    def __init__(self, capture: Capture) -> None:
        self.issues: dict[int, Issue] = {}
        self.at_once: Callable[[Issue], None] | None = None
        self.names = ModuleNames(capture.modules.roots)
        self.failed = capture.faults.add
        self._capture = capture
        self._calls, self._stack, self._outside = capture.calls, capture.calls.stack, capture.outside
        self._append = capture.log.extend
        self._next = count().__next__
        self._open: dict[tuple[int, int], tuple[Issue, Recording | None, Log]] = {}
        self._reduced: list[Issue] = []
        self._buckets = (-1, 0)

    def begins(
        self, group: GroupFacts, op_type: str, given: Any, root: int, key: int, caller: FrameType | None
    ) -> None:
        """An operation is about to be issued. ``given``: its tensors, in and out; ``key``: its number among the
        group's; ``caller``: the Python frame that issues it, None if there is none.
        """
        start = clock()
        number = group.count(op_type, root)
        if self._outside.skipping:
            return
        with quietly():
            inputs, outputs = given.input_tensors, given.output_tensors
            first = inputs[0] if inputs else outputs[0] if outputs else None
            issue = Issue(
                self._next(), group, number, op_type, start, [*map(_shape, inputs)], [*map(_shape, outputs)],
                None if first is None else first.dtype, root,
            )  # fmt: skip
            backward = backward_id()
            if backward != -1:
                self._in_backward(issue, backward, caller)
            unit = unit_around(caller) if op_type in _OF_UNITS and UNITS in _loaded else None
            if unit is not None:
                issue.unit = unit.name
            mine = get_ident() == self._calls.owner
            if mine and self._stack:
                issue.entry = self._stack[-1].entry
            self.issues[issue.index] = issue
            if self.at_once is not None:
                issue.module = None if issue.entry is None else self.names.name(issue.entry)
                self.at_once(issue)
            mode: Recording | None = None
            record: Log = _NOTHING
            if backward != -1 or not mine:
                self._append(issued_record(issue, self._known(inputs)))
            elif self._is_inside(caller):
                self._append((ISSUED, issue, END, END))  # as `issued_record` has it, which would be a call more
            else:
                mode, record = self._note(issue, inputs, outputs)
            if unit is not None:
                self._carries(issue, unit, inputs, outputs)
        self._open[group.index, key] = issue, mode, record

    def issued(self, group: GroupFacts, key: int) -> None:
        """It has been issued. Of one that failed, nobody tells."""
        found = self._open.pop((group.index, key), None)
        if found is not None:
            issue, mode, record = found
            issue.stop = clock()
            if mode is not None:
                mode.end(record)

    def stop(self) -> None:
        """Nobody tells any more."""
        for _, _, record in self._open.values():
            self._capture.known.forget(record)
        self._open.clear()

    def carried(self) -> Iterator[Log]:
        """Records of the parameters in the buckets that were reduced. Ask when torch is at rest."""
        issues, self._reduced = self._reduced, []
        if issues:
            for issue, parameters in bucket_parameters(self._capture.modules.roots().values(), issues):
                yield carried_record(issue, False, parameters)

    def _in_backward(self, issue: Issue, backward: int, caller: FrameType | None) -> None:
        issue.backward = backward
        node = _autograd_node()
        sequence = None if node is None else node._sequence_nr()
        issue.sequence = None if sequence == ACCUMULATES else sequence
        if issue.op_type == "all_reduce" and is_reducer(caller):
            before, number = self._buckets
            issue.bucket = number if backward == before else 0
            self._buckets = backward, issue.bucket + 1
            self._reduced.append(issue)

    def _is_inside(self, caller: FrameType | None) -> bool:
        """Whether what issues an operation inside of a module's call is recorded itself, or nothing is there."""
        mode = self._capture.mode
        if self._stack and (self._stack[-1].silent or (mode is not None and not (depth() and on_stack(mode)))):
            return True
        return _together(caller)

    def _note(self, issue: Issue, inputs: list[Tensor], outputs: list[Tensor]) -> tuple[Recording | None, Log]:
        """Append the record; returns who records it as a call of a function, and what is to be appended then."""
        mode = self._capture.mode
        if self._stack:
            part = bool(self._known(inputs) or self._known(outputs))
        else:
            part = self._outside.issues((*inputs, *outputs)) == KNOWN
            if part and mode is not None and not on_stack(mode):  # a function that is recorded issues it
                self._append(issued_record(issue))
                return None, []
        function = getattr(distributed, issue.op_type, None) if issue.op_type != "barrier" else None
        if part and isinstance(mode, Recording) and function is not None:
            self._append(issued_record(issue))
            record = mode.begin(function, _arguments(issue.op_type, inputs, outputs))
            issue.start = clock()  # in what it is a part of
            return mode, record
        self._arrives(issue, inputs, outputs)
        return None, []

    def _arrives(self, issue: Issue, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        """What comes out is known from here on. What the model holds stays its own."""
        outside, known = self._outside, self._capture.known
        given = self._known(inputs)
        made: Log = []
        for tensor in inputs if issue.op_type in IN_PLACE else outputs:
            if not outside.is_held(tensor):
                if not self._stack:
                    outside.arrived[id(tensor)] = ref(tensor)
                known.made(tensor, made)
        self._append(issued_record(issue, given, made))

    def _known(self, tensors: list[Tensor]) -> list[Reference]:
        known = self._capture.known
        return [found for tensor in tensors if (found := known.reference(id(tensor))) is not None]

    def _carries(self, issue: Issue, unit: Unit, inputs: list[Tensor], outputs: list[Tensor]) -> None:
        shard = min((tensor.numel() for tensor in (*inputs, *outputs)), default=-1)
        parameters = unit.references(shard)
        if parameters:
            self._append(carried_record(issue, unit.gathers and issue.backward is None, parameters))


def _together(caller: FrameType | None) -> bool:
    """Whether operations are issued together that were recorded one by one, as functions."""
    return caller is not None and caller.f_code.co_name == "_coalescing_manager"


def _arguments(op_type: str, inputs: list[Any], outputs: list[Any]) -> tuple[Any, ...]:
    """Tensors as the function of this name would be given them."""
    if op_type in _ONLY:
        return ([*inputs, *outputs],)
    return (inputs, outputs) if op_type == "gather" else (outputs, inputs)


def frame_above() -> FrameType | None:
    """The Python frame that called the caller of this function's caller, or None where that was C++ code alone."""
    return sys._getframe(2).f_back
