"""The sources of events: what runs while the model runs.

Everything here is on the model's hot path, so it appends one small tuple for each call and decides nothing that can
wait: names, attributes and nesting are worked out afterwards, by `recorder.decode` and `recorder.assemble`.

What is seen, and how:

* **Module calls**, through torch's global module hooks. Hooks on each module would switch fused paths off.
* **Function calls** between modules, through a `TorchFunctionMode`. It leaves the stack while a childless ``torch.nn``
  module runs: its inside is no news, and an active mode would change which kernels torch picks there.
* **Backward**, through the hooks of `recorder.backward`.

Nothing here keeps a tensor, an autograd node or a module alive.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from threading import get_ident
from time import perf_counter_ns as clock
from types import MethodWrapperType
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from recorder.backward import Backward, Gradients, backward_id
from recorder.events import UNFINISHED
from recorder.interrupts import raised_by_handler
from recorder.known import Known
from recorder.modes import Mode, Popped, depth, pop_ours, push, put_back, remove
from recorder.records import OUTERMOST, RECOMPUTED, Log, Tag
from recorder.tensors import PLAIN, outputs_of, quietly, sequence_of, tensors_in

__all__ = ["Capture", "Entry"]

_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer)
"""Modules with children that look for an active mode, and run other kernels if there is one."""

_BACKWARD = frozenset({Tensor.backward, torch.autograd.backward, torch.autograd.grad})
"""Functions that begin a backward pass."""

OP, LEAF, ENTER, LEAVE, MEMBERS, END = Tag.OP, Tag.LEAF, Tag.ENTER, Tag.LEAVE, Tag.MEMBERS, Tag.END

NOBODY = 0
"""No thread."""

SKIPPED = -1
"""The flag of a call that is not recorded, nor is what it calls."""

UNKNOWN, HELD, KNOWN = range(3)
"""What a call from outside is given: nothing of the recording's, what the model holds, or what it computed."""


class Entry:
    """What the hot path needs to know of a module. ``leaf``: recorded as one call without an inside. ``root``: given to
    the recorder; ``own``: part of a root, None as long as nobody had to know; ``met``: a call of it was recorded;
    ``inplace``: it writes its input; ``early``: its description, if it may be gone when the others are described.
    """

    __slots__ = ("early", "fused", "inplace", "leaf", "met", "own", "reference", "root", "type")

    def __init__(self, module: nn.Module, root: bool, reference: "ref[nn.Module]") -> None:
        self.type = type(module)
        self.root = root
        self.own: bool | None = root or None
        self.met = False
        self.early: Any = None
        self.inplace = module.__dict__.get("inplace") is True
        self.reference = reference
        in_torch = self.type.__module__.startswith(("torch.nn.", "torch.ao.nn."))
        # MultiheadAttention has one child, which it never calls.
        self.leaf = in_torch and (not module._modules or isinstance(module, nn.MultiheadAttention))
        self.fused = isinstance(module, _FUSED)


class _Frame:
    """A module call in progress. ``popped``: the modes that have to be put back when it ends; ``silent``: nothing in it
    is recorded.
    """

    __slots__ = ("entry", "flags", "key", "popped", "silent", "start")

    def __init__(self, entry: Entry, start: int, key: int, flags: int, popped: Popped) -> None:
        self.entry = entry
        self.start = start
        self.key = key
        self.flags = flags
        self.popped = popped
        self.silent = entry.leaf or flags == SKIPPED


class Capture:
    """Records one thread from `start` to `stop` into `log`; may be started again.

    Args:
        roots: the modules whose calls are recorded, by the prefix of their names. They are not kept alive.
        functions: record functions too, not modules alone.
        describe_early: describes a module that is no part of a root, before its first call.
        gradients: how much of backward is recorded.
        every: record each so-many-th step alone. A step is a call of the module that was called first, from outside of
            every other, with what follows until its next one.
        before_backward: called before a backward begins, if functions are recorded.

    Attributes:
        log: the raw records. Take them out from the front at any time.
        met: modules of which a call was recorded for the first time. Take them out likewise.
        known: the tensors that the recording knows.
        backward: the hooks that are called in backward.
        after_call: called when an outermost call has returned. Set it before `start`.
        faults: our own errors. What they hit is missing, or recorded with an error that says so.
    """

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        functions: bool,
        describe_early: Callable[[Entry, nn.Module, Known], Any],
        gradients: Gradients,
        every: int = 1,
        before_backward: Callable[[], None] | None = None,
    ) -> None:
        self.log: Log = []
        self.met: list[Entry] = []
        self.known = Known(self.log.extend, functions)
        self.backward = Backward(self.log.extend, self.known.mark, gradients, self.failed)
        self._entries: dict[int, Entry] = {}
        self._roots = {prefix: ref(root) for prefix, root in roots.items()}
        self._functions = functions
        self._describe_early = describe_early
        self._every = every
        self._steps = count()
        self._first: Entry | None = None
        self._skipping = False
        self._before_backward = before_backward
        self.after_call: Callable[[], None] | None = None
        self._frames: list[_Frame] = []
        self._end: ref[Any] | None = None
        self._keys = count()
        self._owner = self._skipper = NOBODY
        self._mode: Mode | None = None
        self._paused = False
        self._closure = False
        self._step: Any = None
        self._own: set[int] = set()
        self._held: set[int] | None = None
        self._handles: list[Any] = []
        self.faults: list[str] = []

    def roots(self) -> dict[str, nn.Module]:
        """The recorded modules that are still there, by the prefix of their names."""
        return {prefix: root for prefix, reference in self._roots.items() if (root := reference()) is not None}

    def start(self) -> None:
        """Install every hook; the mode last, so that it is on top of the stack."""
        self._owner = get_ident()
        try:
            self.backward.watch_parameters(self.roots())
        except Exception as error:
            self.failed(error)
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        if self._functions:
            self._handles += [
                register_optimizer_step_pre_hook(self._pause),
                register_optimizer_step_post_hook(self._resume),
            ]
            self._mode = self._make_mode()
            push(self._mode)

    def stop(self, error: BaseException | None = None) -> None:
        """Remove every hook. Calls that are still in progress end here, with the error that ended the block."""
        self.backward.stop()
        for handle in self._handles:
            handle.remove()
            _global_forward_hooks_with_kwargs.pop(handle.id, None)  # torch forgets to
        self._handles = []
        while self._frames:
            self._abandon(self._frames.pop(), None if error is None else describe_error(error))
        if self._mode is not None:
            remove(self._mode)
            self._mode = None

    def failed(self, error: Exception, record: Iterable[Any] = ()) -> None:
        """An error of our own is never the run's: it is noted, and the recording goes on, without this record. One that
        a signal's handler raised meanwhile is the run's.
        """
        if raised_by_handler(error):
            raise error
        self.faults.append(describe_error(error))
        self.known.forget(record)

    # Module calls

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() != self._owner:
            if get_ident() == self._skipper:
                self._enter_skipped(module, args)
            return
        try:
            entry = self._entries.get(id(module))
            if entry is None:
                entry = self._meet_module(module)
            flags = 0
            frames = self._frames
            if frames and (entry.root or frames[-1].silent):
                self._drop_stale_frames()
            if not frames:
                if backward_id() != -1:
                    if self._skipping:
                        return
                    flags = RECOMPUTED
                elif self._is_own(entry, module):
                    if self._every != 1 and self._skips(entry):
                        self._skip(entry)
                        return
                    flags = OUTERMOST
                    self._begin_outermost()
                elif self._consumes(args) != KNOWN:
                    return
                self._watch_end(sys._getframe(1))
            if not entry.met:
                self._meet(entry, module)
            key = next(self._keys)
            # The frame is there before the modes are away, so that whatever ends the call finds them in it.
            if entry.leaf:
                frame = _Frame(entry, clock(), key, flags, ())
                frames.append(frame)
                if self._functions:
                    frame.popped = pop_ours(self._mode)
            else:
                inputs: Log = []
                if flags:
                    self.known.encode(args, inputs)
                start = clock()
                frame = _Frame(entry, start, key, flags, ())
                self.log.extend((ENTER, entry, key, flags, start, *inputs, END))
                frames.append(frame)
                if entry.fused and self._functions and not module.training:
                    frame.popped = pop_ours(self._mode)
        except Exception as error:
            self.failed(error)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # torch calls with (kwargs, output), but after an exception with (None,) alone.
        if get_ident() != self._owner:
            if get_ident() == self._skipper:
                self._leave_skipped(module)
            return
        stop = clock()
        frames = self._frames
        if (not frames or frames[-1].entry is not self._entries.get(id(module))) and not self._unwind_to(module):
            return
        frame = frames[-1]
        entry = frame.entry
        error = None
        record: Log = []
        try:
            if len(rest) == 2:
                kwargs, output = rest
            else:
                # The frame that called us still has the keyword arguments that torch does not hand over.
                kwargs, output = sys._getframe(1).f_locals.get("kwargs") or {}, None
                error = describe_error(sys.exception())
            if entry.leaf:
                record = [LEAF, entry, frame.key, frame.flags, frame.start, stop, error]
            else:
                record = [LEAVE, frame.key, stop, error]
            self.known.encode(args, record)
            record.append(END)
            if kwargs:
                self.known.encode_keywords(kwargs, record)
            record.append(END)
            if not entry.leaf:
                self._handed_back(output, frame.key, record)
            elif type(output) is Tensor and not depth():
                self._made_by_leaf((output,), frame.key, record)
            else:
                with quietly():
                    self._made_by_leaf(tensors_in(output), frame.key, record)
            record.append(END)
        except Exception as ours:
            self.failed(ours, record)
            if frames and frames[-1] is frame:
                del frames[-1]
            self._abandon(frame, error or f"not recorded: {describe_error(ours)}")
        else:
            # The frame goes no earlier: whatever interrupts this hook, the modes are in a frame or back on the stack.
            del frames[-1]
            try:
                self.log.extend(record)
            finally:
                for mode in frame.popped:
                    if not mode.gone:
                        push(mode)
        if not frames:
            self._end = None
        elif frames[-1].popped and not frames[-1].entry.leaf:
            # A fused module that calls its children did not take its fused path: from here on, all is seen.
            for mode in frames[-1].popped:
                push(mode)
            frames[-1].popped = ()
        if frame.flags == OUTERMOST and self.after_call is not None:
            try:
                self.after_call()
            except Exception as ours:
                self.failed(ours)

    def _begin_outermost(self) -> None:
        self._paused = self._paused and self._closure and self._stepping()
        self._held = None
        if self.backward.crowded:
            self.backward.tidy()
            self.known.tidy()
        self.backward.watch_parameters(self.roots())  # some may be new, or require a gradient only now

    def _meet(self, entry: Entry, module: nn.Module) -> None:
        entry.met = True
        self.met.append(entry)
        if not self._is_own(entry, module):
            with quietly():
                entry.early = self._describe_early(entry, module, self.known)

    def _handed_back(self, output: Any, key: int, record: Log) -> None:
        """What a call with an inside returned: all of it has been recorded already."""
        watched: set[int] = set()
        with quietly():
            for tensor in tensors_in(output):
                record.append(self.known.refer(tensor))
                if tensor.requires_grad and tensor.grad_fn is not None:
                    sequence = sequence_of(tensor.grad_fn)
                    if sequence not in watched:  # several outputs of one autograd node are reached together
                        watched.add(sequence)
                        self.backward.watch(tensor.grad_fn, key, leave=False)

    def _made_by_leaf(self, tensors: Iterable[Tensor], key: int, record: Log) -> None:
        watched: set[int] = set()
        for tensor in tensors:
            sequence = self.known.made(tensor, record)
            if sequence is not None and sequence not in watched:
                watched.add(sequence)
                self.backward.watch(tensor.grad_fn, key, leave=True)

    def _meet_module(self, module: nn.Module) -> Entry:
        key, entries = id(module), self._entries
        root = any(module is r for r in self.roots().values())
        entry = entries[key] = Entry(module, root, ref(module, lambda _: entries.pop(key, None)))
        return entry

    def _is_own(self, entry: Entry, module: nn.Module) -> bool:
        if entry.own is None:
            entry.own = id(module) in self._own
            if not entry.own:  # a forward may add to the model
                self._own = {id(m) for root in self.roots().values() for m in root.modules()}
                entry.own = id(module) in self._own
        return entry.own

    # Steps that are not recorded: nobody is the owner meanwhile, so that the recorded ones pay nothing for it.

    def _skips(self, entry: Entry) -> bool:
        if self._first is None:
            self._first = entry
        if entry is self._first:
            self._skipping = next(self._steps) % self._every != 0
            if self._skipping:
                self.backward.unwatch_parameters()
        return self._skipping

    def _skip(self, entry: Entry) -> None:
        self._frames.append(_Frame(entry, 0, 0, SKIPPED, pop_ours(self._mode) if self._functions else ()))
        self._skipper, self._owner = self._owner, NOBODY

    def _enter_skipped(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._entries.get(id(module)) is not self._frames[0].entry:
            return
        self._drop_stale_frames()
        if self._frames:
            self._frames.append(_Frame(self._frames[0].entry, 0, 0, SKIPPED, ()))  # it calls itself
        else:
            self._enter(module, args)

    def _leave_skipped(self, module: nn.Module) -> None:
        if self._entries.get(id(module)) is self._frames[0].entry:
            self._abandon(self._frames.pop(), None)

    def replaced(self, module: nn.Module) -> None:
        """Other tensors took the place of the parameters and buffers of a module and its parts."""
        if get_ident() != self._owner:
            return
        with quietly():
            for part in module.modules():
                entry = self._entries.get(id(part)) or self._meet_module(part)
                tensors = [*part.parameters(recurse=entry.leaf), *part.buffers(recurse=entry.leaf)]
                if tensors:
                    if not entry.met:  # so that it is described before
                        entry.met = True
                        self.met.append(entry)
                    references = [self.known.refer(tensor) for tensor in tensors]
                    self.log.extend((MEMBERS, entry, *references, END))

    # Calls that ended without torch telling: only an `Exception` is told, not a KeyboardInterrupt.

    def _watch_end(self, caller: Any) -> None:
        """Notice when an outermost call ends untold, so that what follows is not taken for a part of it: when a local
        variable of torch's own goes. While something holds the traceback, its frames live on with their variables; then
        the next call of a root tells.
        """
        local = caller.f_locals.get("called_always_called_hooks")
        self._end = None if local is None else ref(local, self._ended)

    def _ended(self, end: Any) -> None:
        if end is self._end and get_ident() == self._owner:
            while self._frames:
                self._abandon(self._frames.pop(), UNFINISHED)

    def _drop_stale_frames(self) -> None:
        """Forget the calls in progress that no Python frame is running any more."""
        running: list[nn.Module] = []
        frame: Any = sys._getframe(2)
        while frame is not None:
            if frame.f_code is nn.Module._call_impl.__code__:
                running.append(frame.f_locals["self"])
            frame = frame.f_back
        running.pop(0)  # the call that begins now
        keep = 0
        for module in reversed(running):
            if keep < len(self._frames) and self._frames[keep].entry.reference() is module:
                keep += 1
        while len(self._frames) > keep:
            self._abandon(self._frames.pop(), UNFINISHED)

    def _unwind_to(self, module: nn.Module) -> bool:
        """Forget the calls above this module's; False if it is not in progress at all."""
        entry = self._entries.get(id(module))
        if entry is None or all(frame.entry is not entry for frame in self._frames):
            return False
        while self._frames[-1].entry is not entry:
            self._abandon(self._frames.pop(), None)
        return True

    def _abandon(self, frame: _Frame, error: str | None) -> None:
        put_back(frame.popped)
        if frame.flags == SKIPPED:
            if not self._frames:
                self._owner, self._skipper = self._skipper, NOBODY
            return
        if frame.entry.leaf:  # leaves are recorded when they end, so the log does not have this one yet
            self.log.extend((ENTER, frame.entry, frame.key, frame.flags, frame.start, END))
        if error is not None:
            self.log.extend((LEAVE, frame.key, clock(), error, END, END, END))

    # Function calls

    def _make_mode(self) -> Mode:
        # Locals of a closure are read faster than attributes.
        extend, frames, alone, failed = self.log.extend, self._frames, depth() == 0, self.failed
        encode, keywords, made = self.known.encode, self.known.encode_keywords, self.known.made
        consumes = self._consumes

        class Recording(Mode):
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                # Below a mode of the user's, ours cannot step aside for a leaf: what is inside stays unrecorded.
                found = KNOWN
                if frames:
                    if frames[-1].silent:
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
                stop = clock()
                record = [OP, func, start, stop, None]
                try:
                    if found == HELD and not _requires_grad(result):
                        return result
                    if type(result) is Tensor and alone and type(func) is not MethodWrapperType:
                        encode(args, record)
                        record.append(END)
                        if kwargs:
                            keywords(kwargs, record)
                        record.append(END)
                        made(result, record)
                        record.append(END)
                        extend(record)
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

        if self._before_backward is None:
            return Recording()
        before_backward: Callable[[], None] = self._before_backward

        class Watching(Recording):
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                if func in _BACKWARD:
                    try:
                        before_backward()
                    except Exception as ours:
                        failed(ours)
                return super().__torch_function__(func, types, args, kwargs)

        return Watching()

    def _consumes(self, args: Any, kwargs: Any = None) -> int:
        """What a call from outside of every recorded one is given: a tensor that the recording knows, or parameters and
        buffers of the model alone. A penalty on these is part of the computation, a copy of them is not.
        """
        if self._skipping or (
            self._paused and not (torch.is_grad_enabled() and (self._closure or not self._stepping()))
        ):
            return UNKNOWN
        if backward_id() != -1:
            return UNKNOWN
        found = UNKNOWN
        try:
            with quietly():
                for tensor in (*tensors_in(args), *tensors_in(kwargs)):
                    if self._is_held(tensor):
                        found = HELD
                    elif tensor in self.known:
                        return KNOWN
        except Exception as error:
            self.failed(error)
        return found

    def _is_held(self, tensor: Tensor) -> bool:
        if self._held is None:
            roots = self.roots().values()
            self._held = {id(t) for root in roots for t in (*root.parameters(), *root.buffers())}
        return id(tensor) in self._held

    def _pause(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An optimizer's step is not the model's doing. Its closure is, which it calls with gradients on."""
        if get_ident() == self._owner:
            self._paused = True
            self._step = sys._getframe(1).f_code
            self._closure = len(args) > 1 or kwargs.get("closure") is not None

    def _stepping(self) -> bool:
        """Whether a step is still going on: one that raised did not say that it ended."""
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_code is not self._step:
            frame = frame.f_back
        self._paused = frame is not None
        return self._paused

    def _resume(self, *_: Any) -> None:
        if get_ident() == self._owner:
            self._paused = False


def _requires_grad(result: Any) -> bool:
    with quietly():
        return any(tensor.requires_grad for tensor in tensors_in(result))


def describe_error(error: BaseException | None) -> str:
    """``Type: message``, even where the message cannot be had."""
    if error is None:
        return "unknown error"
    try:
        text = str(error)
    except Exception:
        text = "<its message raised an error>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
