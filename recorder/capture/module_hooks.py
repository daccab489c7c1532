"""The sources of events: what runs while the model runs.

Everything here is on the model's hot path, so it appends one record for each call and decides nothing that can wait:
names, attributes and nesting are worked out afterwards, by `recorder.capture.decode` and `recorder.assembly`.

What is seen, and how:

* **Module calls**, through torch's global module hooks. Hooks on each module would switch fused paths off.
* **Function calls** between modules, through the mode of `recorder.capture.function_mode`. It leaves the stack while a
  childless ``torch.nn`` module runs: its inside is no news, and an active mode would change which kernels torch picks
  there.
* **Backward**, through the hooks of `recorder.capture.backward_hooks`.

Nothing here keeps a tensor, an autograd node or a module alive.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import count
from threading import get_ident
from time import perf_counter_ns as clock
from typing import Any
from weakref import ref

from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from recorder.capture.backward_hooks import Gradients, backward_hooks, backward_id
from recorder.capture.call_stack import NOBODY, SKIPPED, Entry, Frame, Frames, Kind
from recorder.capture.faults import Faults, describe_error
from recorder.capture.function_mode import Recording, Watching
from recorder.capture.known_tensors import Known
from recorder.capture.mode_stack import Mode, depth, pop_ours, push, remove
from recorder.capture.outside_calls import KNOWN, UNKNOWN, Outside
from recorder.capture.raw_records import END, ENTER, LEAF, LEAVE, MEMBERS, OUTERMOST, RECOMPUTED, Log
from recorder.capture.tensor_facts import SEQUENCE, facts, quietly, sequence_of, tensors_in

__all__ = ["Capture", "Entry"]

_CROWD = 10_000
"""So many modules are kept before those that are gone are looked for."""


class Capture:
    """Records one thread from `start` to `stop` into `log`; may be started again.

    Args:
        roots: the modules whose calls are recorded, by the prefix of their names. They are not kept alive.
        functions: record functions too, not modules alone.
        describe_early: describes a module that is no part of a root, before its first call.
        gradients: how much of backward is recorded.
        every: record each so-many-th step alone. A step is a call of the module that was called first, from outside of
            every other, with what follows until its next one.
        before_backward: called before a backward begins. Only where functions are recorded.
        source: record where functions are called.

    Attributes:
        log: the raw records. Take them out from the front at any time.
        met: modules of which a call was recorded for the first time. Take them out likewise.
        known: the tensors that the recording knows.
        backward: the hooks that are called in backward.
        after_call: called when an outermost call has returned. Set it before `start`.
        faults: our own errors.
        roots: gives the recorded modules that are still there, by the prefix of their names.
    """

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        functions: bool,
        describe_early: Callable[[Entry, nn.Module, Known], Any],
        gradients: Gradients,
        every: int = 1,
        before_backward: Callable[[], None] | None = None,
        source: bool = False,
    ) -> None:
        self.log: Log = []
        self.met: list[Entry] = []
        self.known = Known(self.log.extend, functions)
        self.faults = Faults(self.known.forget)
        self.roots = partial(_alive, {prefix: ref(root) for prefix, root in roots.items()})
        self.backward = backward_hooks(before_backward, self.log.extend, self.known.mark, gradients, self.faults.add)
        self._entries: dict[int, Entry] = {}
        self._kinds: dict[type[nn.Module], Kind] = {}
        self._frames = Frames(self.log)
        self._stack = self._frames.stack
        self._outside = Outside(self._frames, self.known, self.roots, self.faults.add)
        self._root_ids = {id(root) for root in roots.values()}
        self._own: set[int] = set()
        self._crowded = _CROWD
        self._functions = functions
        self._describe_early = describe_early
        self._every = every
        self._steps = count()
        self._first: Entry | None = None
        self._before_backward = before_backward
        self._source = source
        self.after_call: Callable[[], None] | None = None
        self._keys = count()
        self._mode: Mode | None = None
        self._handles: list[Any] = []

    def start(self) -> None:
        """Install every hook; the mode last, so that it is on top of the stack."""
        self._frames.owner = get_ident()
        try:
            self.backward.watch_parameters(self.roots())
            self.known.hold(self.roots().values())
        except Exception as error:
            self.faults.add(error)
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        if self._functions:
            self._handles += self._outside.watch_optimizers()
            self._mode = self._make_mode()
            push(self._mode)

    def _make_mode(self) -> Mode:
        how = self.log, self._stack, self.known, self._outside.consumes, self.faults.add, self._source
        return Recording(*how) if self._before_backward is None else Watching(self._before_backward, *how)

    def stop(self, error: BaseException | None = None) -> None:
        """Remove every hook. Calls that are still in progress end here, with the error that ended the block."""
        self.backward.stop()
        for handle in self._handles:
            handle.remove()
            _global_forward_hooks_with_kwargs.pop(handle.id, None)  # torch forgets to
        self._handles = []
        while self._stack:
            self._frames.abandon(self._stack.pop(), None if error is None else describe_error(error))
        if self._mode is not None:
            remove(self._mode)
            self._mode = None

    @property
    def started(self) -> bool:
        """Whether the hooks are installed."""
        return bool(self._handles)

    def record_opaque(
        self, function: Any, args: Any, kwargs: Any, run: Callable[[], Any], noted: Callable[[], None]
    ) -> Any:
        """Call ``run()`` and record it as a call of a function with these arguments, if it is part of the recording.
        ``noted`` is called if so, whether functions are recorded or not.
        """
        if self._stack[-1].silent if self._stack else self._outside.consumes(args, kwargs) == UNKNOWN:
            return run()
        noted()
        return self._mode.record_opaque(function, args, kwargs, run) if isinstance(self._mode, Recording) else run()

    # Module calls

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        frames = self._frames
        if get_ident() != frames.owner:
            if get_ident() == frames.skipper:
                self._enter_skipped(module, args)
            return
        try:
            entry = self._entries.get(id(module))
            if entry is None or entry.reference() is not module:
                entry = self._meet_module(module)
            stack = self._stack
            if not stack or entry.root or stack[-1].silent:
                self._begin(entry, module, args, sys._getframe(1))
                return
            if not entry.met:
                self._meet(entry, module)
            if entry.idle:  # a leaf, as most calls are
                entry.idle = False
                entry.key = next(self._keys)
                entry.start = clock()
                # On the stack before the modes are off theirs, so that whatever ends the call finds them in the frame.
                stack.append(entry)
                if self._functions:
                    entry.popped = pop_ours(self._mode)
            else:
                self._open(entry, module, 0)
        except Exception as error:
            self.faults.add(error)

    def _begin(self, entry: Entry, module: nn.Module, args: tuple[Any, ...], caller: Any) -> None:
        """A call from outside, or one that may be. ``caller``: torch's Python frame of it."""
        flags = 0
        inputs: Log = []
        stack = self._stack
        if stack:
            self._frames.drop_stale(caller)
        if not stack:
            if backward_id() != -1:
                if self._outside.skipping:
                    return
                flags = RECOMPUTED
            elif self._is_own(entry, module):
                if self._every != 1 and self._skips(entry):
                    self._skip(entry)
                    return
                flags = OUTERMOST
                self._begin_outermost()
            elif self._outside.consumes(args) != KNOWN:
                return
            self._frames.watch_end(caller)
        if not entry.met:
            self._meet(entry, module)
        if flags and not entry.leaf:
            self.known.encode(args, inputs)
        self._open(entry, module, flags, inputs)

    def _open(self, entry: Entry, module: nn.Module, flags: int, inputs: Iterable[Any] = ()) -> None:
        """Put a frame on the stack."""
        key, start = next(self._keys), clock()
        frame = Frame(entry, start, key, flags)
        if not entry.leaf:
            self.log.extend((ENTER, entry, key, flags, start, *inputs, END))
        self._stack.append(frame)
        if self._functions and (entry.leaf or (entry.fused and not module.training)):
            frame.popped = pop_ours(self._mode)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # torch calls with (kwargs, output), but after an exception with (None,) alone.
        frames = self._frames
        if get_ident() != frames.owner:
            if get_ident() == frames.skipper:
                self._leave_skipped(module)
            return
        stop = clock()
        stack = self._stack
        if (not stack or stack[-1].reference() is not module) and not frames.unwind_to(module):
            return
        frame = stack[-1]
        error = None
        record: Log = []
        try:
            if len(rest) == 2:
                kwargs, output = rest
            else:
                # The frame that called us still has the keyword arguments that torch does not hand over.
                kwargs, output = sys._getframe(1).f_locals.get("kwargs") or {}, None
                error = describe_error(sys.exception())
            known = self.known
            if (
                type(output) is Tensor
                and type(frame) is Entry
                and len(args) == 1
                and type(args[0]) is Tensor
                and not kwargs
                and not depth()
            ):
                # Most calls are like this. What follows would come to the same, and takes longer.
                reference, said, made = known.of(args[0]), facts(output), ref(output)
                record = [LEAF, frame, frame.key, 0, frame.start, stop, None, reference, END, END, made, *said, END]
                known.now(output, made, said)
                if said[SEQUENCE] is not None:
                    self.backward.watch(output.grad_fn, frame.key, leave=True)
            else:
                entry = frame.entry
                record = [LEAF, entry, frame.key, frame.flags, frame.start] if entry.leaf else [LEAVE, frame.key]
                record += (stop, error)
                known.encode(args, record)
                record.append(END)
                if kwargs:
                    known.encode_keywords(kwargs, record)
                record.append(END)
                if not entry.leaf:
                    self._handed_back(output, frame.key, record)
                else:
                    with quietly():
                        self._made_by_leaf(tensors_in(output), frame.key, record)
                record.append(END)
        except Exception as ours:
            self.faults.add(ours, record)
            if stack and stack[-1] is frame:
                del stack[-1]
            frames.abandon(frame, error or f"not recorded: {describe_error(ours)}")
        else:
            # The frame goes no earlier: whatever interrupts this hook, the modes are in a frame or back on the stack.
            del stack[-1]
            try:
                self.log.extend(record)
            finally:
                for mode in frame.popped:
                    if not mode.gone:
                        push(mode)
            if type(frame) is Entry:
                frame.popped = ()
                frame.idle = True
        if not stack:
            frames.unwatch_end()
        elif stack[-1].popped and not stack[-1].silent:
            # A fused module that calls its children did not take its fused path: from here on, all is seen.
            for mode in stack[-1].popped:
                push(mode)
            stack[-1].popped = ()
        if frame.flags == OUTERMOST and self.after_call is not None:
            try:
                self.after_call()
            except Exception as ours:
                self.faults.add(ours)

    def _begin_outermost(self) -> None:
        self._outside.begin()
        if self.backward.crowded:
            self.backward.tidy()
            self.known.tidy()
        if len(self._entries) > self._crowded:
            for key in [key for key, entry in self._entries.items() if entry.reference() is None]:
                del self._entries[key]
            self._crowded = max(_CROWD, 2 * len(self._entries))
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
        kind = self._kinds.get(type(module))
        if kind is None:
            kind = self._kinds[type(module)] = Kind(type(module))
        root = id(module) in self._root_ids and any(module is r for r in self.roots().values())
        entry = self._entries[id(module)] = Entry(module, kind, root)
        return entry

    def _is_own(self, entry: Entry, module: nn.Module) -> bool:
        if entry.own is None:
            entry.own = id(module) in self._own
            if not entry.own:  # a forward may add to the model
                self._own = set()
                pending: list[nn.Module | None] = [*self.roots().values()]
                while pending:
                    part = pending.pop()
                    if part is not None and id(part) not in self._own:
                        self._own.add(id(part))
                        pending += part._modules.values()
                entry.own = id(module) in self._own
        return entry.own

    # Steps that are not recorded: nobody is the owner meanwhile, so that the recorded ones pay nothing for it.

    def _skips(self, entry: Entry) -> bool:
        if self._first is None:
            self._first = entry
        if entry is self._first:
            self._outside.skipping = next(self._steps) % self._every != 0
            if self._outside.skipping:
                self.backward.unwatch_parameters()
        return self._outside.skipping

    def _skip(self, entry: Entry) -> None:
        frame = Frame(entry, 0, 0, SKIPPED)
        self._stack.append(frame)
        if self._functions:
            frame.popped = pop_ours(self._mode)
        frames = self._frames
        frames.skipper, frames.owner = frames.owner, NOBODY

    def _enter_skipped(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._entries.get(id(module)) is not self._stack[0].entry:
            return
        self._frames.drop_stale(sys._getframe(2))
        if self._stack:
            self._stack.append(Frame(self._stack[0].entry, 0, 0, SKIPPED))  # it calls itself
        else:
            self._enter(module, args)

    def _leave_skipped(self, module: nn.Module) -> None:
        if self._entries.get(id(module)) is self._stack[0].entry:
            self._frames.abandon(self._stack.pop(), None)

    def replaced(self, module: nn.Module) -> None:
        """Other tensors took the place of the parameters and buffers of a module and its parts."""
        if get_ident() != self._frames.owner:
            return
        with quietly():
            for part in module.modules():
                entry = self._entries.get(id(part))
                if entry is None or entry.reference() is not part:
                    entry = self._meet_module(part)
                tensors = [*part.parameters(recurse=entry.leaf), *part.buffers(recurse=entry.leaf)]
                if tensors:
                    if not entry.met:  # so that it is described before
                        entry.met = True
                        self.met.append(entry)
                    references = [self.known.refer(tensor) for tensor in tensors]
                    self.log.extend((MEMBERS, entry, *references, END))


def _alive(references: Mapping[str, "ref[nn.Module]"]) -> dict[str, nn.Module]:
    return {name: module for name, reference in references.items() if (module := reference()) is not None}
