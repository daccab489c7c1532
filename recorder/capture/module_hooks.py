"""The sources of events: what runs while the model runs.

Everything here is on the model's hot path, so it appends one record for each call and decides nothing that can wait:
names, attributes and nesting are worked out afterwards, by `recorder.capture.decode` and `recorder.assembly`. Nothing
here keeps a tensor, an autograd node or a module alive.

What is seen, and how:

* **Module calls**, through torch's global module hooks. Hooks on each module would switch fused paths off.
* **Function calls** between modules, through the mode of `recorder.capture.function_mode`. It leaves the stack while a
  childless ``torch.nn`` module runs: its inside is no news, and an active mode would change which kernels torch picks
  there.
* **Backward**, by the hooks of `recorder.capture.backward_hooks`.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from itertools import count
from threading import get_ident
from time import perf_counter_ns as clock
from typing import Any
from weakref import WeakMethod, ref

from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

from recorder.capture import backward_begins, fused_paths
from recorder.capture.backward_hooks import Gradients, backward_hooks, backward_id
from recorder.capture.call_stack import CallStack, OpenCall
from recorder.capture.containers import named_tensors
from recorder.capture.every_nth import EveryNth
from recorder.capture.faults import Faults
from recorder.capture.function_mode import Recording
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.mode_choice import mode_maker
from recorder.capture.mode_stack import Mode, depth, pop_ours, push, remove
from recorder.capture.modules import Entry, Modules
from recorder.capture.outside_calls import UNKNOWN, OutsideCalls
from recorder.capture.raw_records import (
    END,
    LEAF,
    OUTERMOST,
    RECOMPUTED,
    Log,
    enter_record,
    leaf_record,
    leave_record,
)
from recorder.capture.replacements import replacements
from recorder.capture.tensor_facts import NODE, SEQUENCE, facts, next_sequence, quietly, sequence_of
from recorder.capture.value_hooks import Values
from recorder.capture.watchers import Watchers
from recorder.errors import describe_error

__all__ = ["Capture"]


class Capture:
    """Records one thread from `start` to `stop` into `log`; may be started again.

    Args:
        roots: the modules whose calls are recorded, by the prefix of their names. They are not kept alive.
        functions: record functions too, not modules alone.
        describe_early: describes a module that is no part of a root, before its first call.
        gradients: how much of backward is recorded.
        every: record each so-many-th step alone: see `recorder.capture.every_nth`.
        before_backward: called before a backward begins. Only where functions are recorded.
        source: record where functions are called.
        values: what is recorded of the values of forward.
        memory: record what is in memory, and what autograd keeps.

    Attributes:
        log: the raw records. Take them out from the front at any time.
        modules: those that were called, and those that are recorded.
        known: the tensors that the recording knows.
        backward: the hooks that are called in backward.
        watchers: what looks at tensors beyond that.
        after_call: called when an outermost call has returned. Set it before `start`.
        is_model: tells whether an outermost call, of which torch's frame is given, is one of a recorded model.
        outside, elsewhere, faults: calls from outside; the `id` of modules called on other threads; our own errors.
    """

    def __init__(
        self,
        roots: Mapping[str, nn.Module],
        functions: bool,
        describe_early: Callable[[Entry, nn.Module, KnownTensors], Any],
        gradients: Gradients,
        every: int = 1,
        before_backward: Callable[[], None] | None = None,
        source: bool = False,
        values: Values | None = None,
        memory: bool = False,
    ) -> None:
        self.log: Log = []
        self._calls = CallStack(self.log)
        self.watchers = Watchers(values, memory, self.log, self._calls, functions)
        self._append = self.watchers.append
        self.known = KnownTensors(self._append, functions)
        self.faults = Faults(self.known.forget)
        self.modules = Modules(roots, describe_early, self.known)
        self.backward = backward_hooks(before_backward, self.log.extend, self.known, gradients, self.faults.add)
        self.backward.memory = self.watchers.memory
        self.known.written = WeakMethod(self.backward.written)  # which refers to what is known
        self.after_call: Callable[[], None] | None = None
        self.is_model: Callable[[Entry, nn.Module, Any], bool] = self.modules.is_own
        self._entries, self._stack = self.modules.entries, self._calls.stack
        self.outside = OutsideCalls(self._calls, self.known, self.modules.roots, self.faults.add)
        skips = self.modules, self._calls, self.outside, self.backward.unwatch_parameters
        self._every_nth = EveryNth(every, *skips) if every != 1 else None
        self._keys, self._handles, self.elsewhere = count(), list[Any](), set[int]()
        how = self._stack, self.known, self.outside.consumes, self.faults.add, source, self.modules.hooked
        grading = (self._keys, self.backward) if gradients != "calls" else None
        self._make_mode = mode_maker(before_backward, self.watchers, grading, self._append, *how) if functions else None
        self._mode: Mode | None = None

    def start(self) -> None:
        """Install every hook; the mode last, so that it is on top of the stack."""
        self._calls.owner = get_ident()
        self.faults.run(lambda: self.backward.watch_parameters(self.modules.roots()))
        self.faults.run(lambda: self.known.hold(self.modules.parts()))
        self._handles = [
            *self.watchers.install(self.faults.add),
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        backward_begins.watch(self.backward.begins)
        if self._make_mode is not None:
            self._handles += self.outside.watch_optimizers()
            self._mode = self._make_mode()
            fused_paths.watch(self._step_aside)
            push(self._mode)

    def stop(self, error: BaseException | None = None) -> None:
        """Remove every hook. Calls in progress end here, with the error that ended the block."""
        backward_begins.unwatch(self.backward.begins)
        self.backward.stop()
        self.watchers.stop()
        for handle in self._handles:
            handle.remove()
            _global_forward_hooks_with_kwargs.pop(handle.id, None)  # torch forgets to
        self._handles = []
        while self._stack:
            self._calls.abandon(self._stack.pop(), None if error is None else describe_error(error))
        if self._mode is not None:
            remove(self._mode)
            fused_paths.unwatch(self._step_aside)
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
        if self._stack[-1].silent if self._stack else self.outside.consumes(args, kwargs) == UNKNOWN:
            return run()
        noted()
        return self._mode.record_opaque(function, args, kwargs, run) if isinstance(self._mode, Recording) else run()

    @property
    def calls(self) -> CallStack:
        """The module calls in progress."""
        return self._calls

    @property
    def mode(self) -> Mode | None:
        """The mode that functions are recorded by, if they are."""
        return self._mode

    # Module calls

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        calls = self._calls
        if get_ident() != calls.owner and not self._ends_skipping(module, sys._getframe(1)):
            return
        try:
            entry = self._entries.get(id(module))
            if entry is None or entry.reference() is not module:
                entry = self.modules.add(module)
            stack = self._stack
            if not stack or entry.root or stack[-1].silent:
                self._begin(entry, module, args, sys._getframe(1))
                return
            if not entry.met:
                self.modules.meet(entry, module)
            if entry.idle:  # a leaf, as most calls are
                entry.idle = False
                entry.key = next(self._keys)
                entry.began = next_sequence()
                entry.start = clock()
                # On the stack before the modes are off theirs, so that whatever ends the call finds them with it.
                stack.append(entry)
                if self._mode is not None:
                    entry.popped = pop_ours(self._mode)
            else:
                self._open(entry, module, 0)
        except Exception as error:
            self.faults.add(error)

    def _ends_skipping(self, module: nn.Module, caller: Any) -> bool:
        """Whether a call of which we are told while we do not record is one to record after all."""
        if self._every_nth is None or get_ident() != self._calls.skipper:
            self.elsewhere.add(id(module))
            if backward_id() == -1:  # what a checkpoint computes again in a device's thread is not added to the graph
                self.backward.not_alone()
            return False
        return self._every_nth.enter(module, caller)

    def _begin(self, entry: Entry, module: nn.Module, args: tuple[Any, ...], caller: Any) -> None:
        """A call from outside, or one that may be. ``caller``: torch's Python frame of it."""
        flags = 0
        inputs: Log = []
        stack = self._stack
        if stack:
            self._calls.drop_stale(caller)
        if not stack:
            if backward_id() != -1:
                if self.outside.skipping:
                    return
                flags = RECOMPUTED
            elif self.is_model(entry, module, caller):
                if self._every_nth is not None and self._every_nth.leaves_out(entry, self._mode):
                    return
                flags = OUTERMOST
                self._begin_outermost()
            elif not self.started or self.outside.leaves_out(module, args):
                return
            self._calls.watch_end(caller)
        if not entry.met:
            self.modules.meet(entry, module)
        if flags and not entry.leaf:
            self.known.encode(args, inputs)
        self._open(entry, module, flags, inputs)

    def _open(self, entry: Entry, module: nn.Module, flags: int, inputs: Iterable[Any] = ()) -> None:
        """Put a call on the stack."""
        key, began, start = next(self._keys), next_sequence(), clock()
        call = OpenCall(entry, began, start, key, flags)
        if not entry.leaf:
            self.log.extend(enter_record(entry, key, flags, began, start, inputs))
        self._stack.append(call)
        if self._mode is not None and (entry.leaf or (entry.kind.unheard and not module.training)):
            call.popped = pop_ours(self._mode)

    def _step_aside(self, module: nn.Module) -> None:
        """A call in progress goes on to its fused path or its first child: see `recorder.capture.fused_paths`."""
        if self._calls.are_mine() and self._stack and self._stack[-1].reference() is module:
            self._stack[-1].popped = pop_ours(self._mode)

    def _leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # torch calls with (kwargs, output), but after an exception with (None,) alone.
        calls = self._calls
        if get_ident() != calls.owner:
            if self._every_nth is not None and get_ident() == calls.skipper:
                self._every_nth.leave(module)
            return
        stop, stack = clock(), self._stack
        if (not stack or stack[-1].reference() is not module) and not calls.unwind_to(module):
            return
        call = stack[-1]
        error = output = None
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
                and type(call) is Entry
                and len(args) == 1
                and type(args[0]) is Tensor
                and not kwargs
                and not depth()
            ):
                # Most calls are like this. It comes to what `_write` does, which takes longer.
                reference, said, made = known.of(args[0]), facts(output), ref(output)
                record = [LEAF, call, call.key, 0, call.began, call.start, stop, None, reference, END, END, made]
                record += (*said, END, None)
                known.now(output, made, said)
                if (sequence := said[SEQUENCE]) is not None:
                    self.backward.watch(output, call.key, said[NODE], sequence, sequence >= call.began, args)
            else:
                self._write(record, call, stop, error, args, kwargs, output)
        except Exception as ours:
            self._spoiled(call, record, ours, error)
        else:
            # The call goes no earlier: whatever interrupts this hook, the modes are in it or back on the stack.
            del stack[-1]
            try:
                self._append(record)
            finally:
                for mode in call.popped:
                    if not mode.gone:
                        push(mode)
            if type(call) is Entry:
                call.popped, call.idle = (), True
        if not stack:
            calls.unwatch_end()
            self.faults.run(lambda: self._ended(call, output))
        elif stack[-1].popped and not stack[-1].silent:
            # It calls its children, so it did not take its fused path: from here on, all is seen.
            for mode in stack[-1].popped:
                push(mode)
            stack[-1].popped = ()

    def _spoiled(self, call: OpenCall | Entry, record: Log, ours: Exception, error: str | None) -> None:
        """What was to be said of a call is lost to an error of ours, and that is said."""
        self.faults.add(ours, record)
        if self._stack and self._stack[-1] is call:
            del self._stack[-1]
        self._calls.abandon(call, error or f"not recorded: {describe_error(ours)}")

    def _ended(self, call: OpenCall | Entry, output: Any) -> None:
        """A call from outside has returned."""
        if backward_id() == -1:
            with quietly():
                self.backward.opens([tensor for _, tensor in named_tensors(output)], call.began)
        if call.flags == OUTERMOST and self.after_call is not None:
            self.after_call()

    def _write(
        self, record: Log, call: OpenCall | Entry, stop: int, error: str | None, args: Any, kwargs: Any, output: Any
    ) -> None:
        """Say what a call was given and returned, in a record that is there: what an error of ours spoils is known."""
        entry, known = call.entry, self.known
        if entry.leaf:
            record += leaf_record(entry, call.key, call.flags, call.began, call.start, stop, error)
        else:
            if entry.kind.fusable and self._mode is not None:
                fused_paths.drop_inside(self.log, known, call.key, fused=bool(call.popped))
            record += leave_record(call.key, stop, error)
        known.encode(args, record)
        record.append(END)
        if kwargs:
            known.encode_keywords(kwargs, record)
        record.append(END)
        with quietly():
            if entry.leaf:
                names = self._made_by_leaf(named_tensors(output), call, record, (args, kwargs))
            else:
                names = self._handed_back(named_tensors(output), call.key, record)
        record += (END, tuple(names) if any(names) else None)

    def _begin_outermost(self) -> None:
        self.outside.begin()
        if self.backward.crowded:
            self.backward.tidy()
            self.known.tidy()
        self.modules.tidy()
        self.backward.watch_parameters(self.modules.roots())  # some may be new, or require a gradient only now
        self.watchers.begin(self.modules)

    def _handed_back(self, tensors: Iterable[tuple[str, Tensor]], key: int, record: Log) -> list[str]:
        """What a call with an inside returned: all of it has been recorded already. Returns the names."""
        watched: set[int] = set()
        names: list[str] = []
        for name, tensor in tensors:
            names.append(name)
            record.append(self.known.refer(tensor))
            if tensor.requires_grad and tensor.grad_fn is not None:
                sequence = sequence_of(tensor.grad_fn)
                if sequence not in watched:  # several outputs of one autograd node are reached together
                    watched.add(sequence)
                    self.backward.watch(tensor, key, type(tensor.grad_fn), sequence, leave=False)
        return names

    def _made_by_leaf(self, tensors: Iterable[tuple[str, Tensor]], call: Any, record: Log, given: Any) -> list[str]:
        watched: set[int] = set()
        names: list[str] = []
        for name, tensor in tensors:
            names.append(name)
            sequence = self.known.made(tensor, record)
            if sequence is not None and sequence not in watched:
                watched.add(sequence)
                kind = type(tensor.grad_fn)
                self.backward.watch(tensor, call.key, kind, sequence, sequence >= call.began, given)
        return names

    def replaced(self, module: nn.Module) -> None:
        """Other tensors took the place of the parameters and buffers of a module and its parts."""
        if self._calls.are_mine():
            with quietly():
                for record in replacements(module, self.modules, self.known):
                    self.log.extend(record)
