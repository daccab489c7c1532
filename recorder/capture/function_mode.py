"""Function calls between modules, seen by a mode on torch's stack of function modes.

It is on the model's hot path, so it appends one record for each call and decides nothing that can wait.
"""

import os
import sys
from collections.abc import Callable, Iterable
from functools import partial
from time import perf_counter_ns as clock
from types import MethodWrapperType
from typing import Any
from weakref import ref

import torch
from torch import Tensor

import recorder
from recorder.capture.call_stack import OpenCall
from recorder.capture.collectives import COLLECTIVES
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.mode_stack import Mode, depth
from recorder.capture.modules import Entry
from recorder.capture.outside_calls import HELD, KNOWN, UNKNOWN
from recorder.capture.own_hooks import marking
from recorder.capture.raw_records import END, OP, Log, op_record, source_record
from recorder.capture.tensor_facts import PLAIN, facts, outputs_of, quietly, tensors_in
from recorder.errors import describe_error

__all__ = ["BACKWARD", "Recording", "Watching"]

_NOT_THE_USERS = (
    *(os.path.dirname(os.path.abspath(path)) + os.sep for path in (torch.__file__, recorder.__file__)),
    "<eval_with_key>",  # what torch.fx generates
)

BACKWARD = frozenset({Tensor.backward, torch.autograd.backward, torch.autograd.grad})
"""Functions that begin a backward pass."""


class Recording(Mode):
    """Records the functions that are called while it is on the stack.

    Args:
        append: appends a record.
        stack: the module calls in progress.
        known: the tensors that the recording knows.
        consumes: tells what a call from outside of all of them is given: see `recorder.capture.outside_calls`.
        failed: is told an error of our own, and the record that it spoiled.
        source: record the user's file and line, too, which takes about as long as all else of a record.
        hooks: record, too, what hooks around a module's forward called; which takes as long again.
    """

    def __init__(
        self,
        append: Callable[[Iterable[Any]], None],
        stack: list[OpenCall | Entry],
        known: KnownTensors,
        consumes: Callable[..., int],
        failed: Callable[..., None],
        source: bool = False,
        hooks: Callable[[], bool] = bool,
    ) -> None:
        super().__init__()
        append = marking(append) if hooks() else append
        self._append: Callable[[Iterable[Any]], None] = partial(_with_source, append) if source else append
        self._stack = stack
        self._known = known
        self._encode = known.encode
        self._consumes = consumes
        self._failed = failed
        self._alone = depth() == 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        found = KNOWN
        if self._stack:
            # Below a mode of the user's, ours cannot step aside for a leaf: what is inside stays unrecorded.
            if self._stack[-1].silent:
                return func(*args, **kwargs) if kwargs else func(*args)
        else:
            found = self._consumes(args, kwargs)
            if found == UNKNOWN:
                return func(*args, **kwargs) if kwargs else func(*args)
        start = clock()
        try:
            result = func(*args, **kwargs) if kwargs else func(*args)
        except BaseException as error:
            # An attribute that a tensor lacks is no failed operation.
            if type(func) is not MethodWrapperType and found == KNOWN:
                self._raised(func, args, kwargs, start, error)
            raise
        record = [OP, func, start, clock(), None]  # as `op_record` has it, which would be a call more
        try:
            if found == HELD and not _requires_grad(result):
                return result
            if type(result) is Tensor and self._alone and type(func) is not MethodWrapperType:
                self._encode(args, record)
                record.append(END)
                if kwargs:
                    self._known.encode_keywords(kwargs, record)
                said = facts(result)
                reference = ref(result)
                record += (END, reference, *said, END)
                self._append(record)
                self._known.now(result, reference, said)
            elif result is None or type(result) not in PLAIN or func in COLLECTIVES:
                with quietly():
                    self._made(func, args, kwargs, result, record)
        except Exception as ours:
            self._failed(ours, record)
        return result

    def record_opaque(self, func: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """Record ``run()`` as a call of ``func``, whatever modes are on the stack."""
        start = clock()
        try:
            result = run()
        except BaseException as error:
            self._raised(func, args, kwargs, start, error)
            raise
        record = [OP, func, start, clock(), None]
        try:
            with quietly():
                self._made(func, args, kwargs, result, record)
        except Exception as ours:
            self._failed(ours, record)
        return result

    def begin(self, func: Any, args: Any) -> Log:
        """Something has begun that is to be recorded as a call of ``func``: its record, for `end`."""
        record: Log = [OP, func, clock(), None, None]
        with quietly():
            self._put(args, None, outputs_of(func, args, None, None), record)
        return record

    def end(self, record: Log) -> None:
        """It has ended."""
        record[3] = clock()
        self._append(record)

    def _made(self, func: Any, args: Any, kwargs: Any, result: Any, record: Log) -> None:
        outputs = outputs_of(func, args, kwargs, result)
        if outputs or func in COLLECTIVES:  # what is sent to others is used
            self._put(args, kwargs, outputs, record)
            self._append(record)

    def _put(self, args: Any, kwargs: Any, outputs: Iterable[Tensor], record: Log) -> None:
        self._arguments(args, kwargs, record)
        for tensor in outputs:
            self._known.made(tensor, record)
        record.append(END)

    def _raised(self, func: Any, args: Any, kwargs: Any, start: int, error: BaseException) -> None:
        try:
            record = op_record(func, start, clock(), describe_error(error))
            self._arguments(args, kwargs, record)
            record.append(END)
            self._append(record)
        except Exception as ours:
            self._failed(ours)

    def _arguments(self, args: Any, kwargs: Any, record: Log) -> None:
        self._encode(args, record)
        record.append(END)
        self._known.encode_keywords(kwargs or {}, record)
        record.append(END)


class Watching(Recording):
    """The same, which calls ``before_backward`` before a backward begins."""

    def __init__(self, before_backward: Callable[[], None], *recording: Any) -> None:
        super().__init__(*recording)
        self._before_backward = before_backward

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in BACKWARD:
            try:
                self._before_backward()
            except Exception as ours:
                self._failed(ours)
        return super().__torch_function__(func, types, args, kwargs)


def _requires_grad(result: Any) -> bool:
    with quietly():
        return any(tensor.requires_grad for tensor in tensors_in(result))


def _with_source(append: Callable[[Iterable[Any]], None], record: Iterable[Any]) -> None:
    append((*source_record(*_caller()), *record))


def _caller() -> tuple[str, int]:
    """File and line of the innermost call of a function that is neither torch's nor ours."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
