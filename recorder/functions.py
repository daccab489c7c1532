"""Function calls between modules, seen by a mode on torch's stack of function modes.

It is on the model's hot path, so it appends one record for each call and decides nothing that can wait.
"""

import os
import sys
from collections.abc import Callable, Iterable
from time import perf_counter_ns as clock
from types import MethodWrapperType
from typing import Any
from weakref import ref

import torch
from torch import Tensor

from recorder.frames import Entry, Frame
from recorder.known import Known
from recorder.modes import Mode, depth
from recorder.outside import HELD, KNOWN, UNKNOWN
from recorder.raised import describe_error
from recorder.records import Log, Tag
from recorder.tensors import PLAIN, facts, outputs_of, quietly, tensors_in

__all__ = ["make_mode"]

OP, SOURCE, END = Tag.OP, Tag.SOURCE, Tag.END

_NOT_THE_USERS = tuple(os.path.dirname(os.path.abspath(path)) + os.sep for path in (torch.__file__, __file__))

_BACKWARD = frozenset({Tensor.backward, torch.autograd.backward, torch.autograd.grad})
"""Functions that begin a backward pass."""


def make_mode(
    log: Log,
    stack: list[Frame | Entry],
    known: Known,
    consumes: Callable[..., int],
    failed: Callable[..., None],
    before_backward: Callable[[], None] | None,
    source: bool = False,
) -> Mode:
    """A mode that records functions.

    Args:
        log: where to.
        stack: the module calls in progress.
        known: the tensors that the recording knows.
        consumes: tells what a call from outside of all of them is given: see `recorder.outside`.
        failed: is told an error of our own, and the record that it spoiled.
        before_backward: called before a backward begins.
        source: record the user's file and line, too, which takes about as long as all else of a record.
    """

    def extend_with_source(record: Iterable[Any]) -> None:
        log.extend((SOURCE, *_source(), *record))

    # Locals of a closure are read faster than attributes.
    extend, alone = extend_with_source if source else log.extend, depth() == 0
    encode, keywords, made, known_now = known.encode, known.encode_keywords, known.made, known.now

    class Recording(Mode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            # Below a mode of the user's, ours cannot step aside for a leaf: what is inside stays unrecorded.
            found = KNOWN
            if stack:
                if stack[-1].silent:
                    return func(*args, **kwargs) if kwargs else func(*args)
            else:
                found = consumes(args, kwargs)
                if found == UNKNOWN:
                    return func(*args, **kwargs) if kwargs else func(*args)
            start = clock()
            try:
                result = func(*args, **kwargs) if kwargs else func(*args)
            except BaseException as error:
                # An attribute that a tensor lacks is no failed operation.
                if type(func) is not MethodWrapperType and found == KNOWN:
                    raised(func, args, kwargs, start, error)
                raise
            record = [OP, func, start, clock(), None]
            try:
                if found == HELD and not _requires_grad(result):
                    return result
                if type(result) is Tensor and alone and type(func) is not MethodWrapperType:
                    encode(args, record)
                    record.append(END)
                    if kwargs:
                        keywords(kwargs, record)
                    said = facts(result)
                    reference = ref(result)
                    record += (END, reference, *said, END)
                    extend(record)
                    known_now(result, reference, said)
                elif result is None or type(result) not in PLAIN:
                    with quietly():
                        outputs = outputs_of(func, args, kwargs, result)
                        if outputs:
                            encode(args, record)
                            record.append(END)
                            keywords(kwargs or {}, record)
                            record.append(END)
                            for tensor in outputs:
                                made(tensor, record)
                            record.append(END)
                            extend(record)
            except Exception as ours:
                failed(ours, record)
            return result

    def raised(func: Any, args: Any, kwargs: Any, start: int, error: BaseException) -> None:
        try:
            record = [OP, func, start, clock(), describe_error(error)]
            encode(args, record)
            record.append(END)
            keywords(kwargs or {}, record)
            record += (END, END)
            extend(record)
        except Exception as ours:
            failed(ours)

    if before_backward is None:
        return Recording()
    before: Callable[[], None] = before_backward

    class Watching(Recording):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            if func in _BACKWARD:
                try:
                    before()
                except Exception as ours:
                    failed(ours)
            return super().__torch_function__(func, types, args, kwargs)

    return Watching()


def _requires_grad(result: Any) -> bool:
    with quietly():
        return any(tensor.requires_grad for tensor in tensors_in(result))


def _source() -> tuple[str, int]:
    """File and line of the innermost call of a function that is neither torch's nor ours."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno
