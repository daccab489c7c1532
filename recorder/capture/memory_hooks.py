"""What is in memory, and what autograd keeps for backward: looked at after each call, and where gradients are seen.

Whoever did not ask for this pays nothing: here is an `append` that stands in the place of another. Nothing here keeps a
tensor alive, nor a storage or an autograd node, and nothing is unpacked: see `recorder.capture.saved_tensors`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from threading import get_ident
from time import perf_counter_ns as clock
from typing import Any
from weakref import WeakMethod, ref

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from recorder.capture.backward_hooks import backward_id
from recorder.capture.call_stack import CallStack
from recorder.capture.memory_records import memory_record
from recorder.capture.raw_records import CALL, END, LEAF, LEAVE, MEET, OP, SOURCE, Log, made_before
from recorder.capture.saved_tensors import Checkpoints, kept_by, made_since, may_be_number
from recorder.capture.storages import Storages
from recorder.capture.tensor_facts import Reference, next_sequence, quietly, tensors_in
from recorder.capture.written_savings import Savings, savings_of
from recorder.events.memory import Allocated, Kept, OptimizerStep

__all__ = ["MemoryHooks"]


class MemoryHooks:
    """Watches the memory of one recording.

    Args:
        log: where records go.
        append: appends a record, and may look at it, too.
        calls: the module calls in progress.
    """

    def __init__(self, log: Log, append: Callable[[Iterable[Any]], None], calls: CallStack) -> None:
        self._failed: Callable[[], Callable[[Exception], None] | None] = lambda: None
        self._log = log
        self._next = append
        self._calls = calls
        self._storages = Storages(lambda event, tensor: log.extend(memory_record(event, tensor)))
        self._checkpoints = Checkpoints()
        self._floor = next_sequence()
        self._visited: set[int] = set()
        self._parameters: dict[int, Reference] = {}
        self._gathered: set[int] = set()
        self._stepping = False

    def install(self, failed: Callable[[Exception], None]) -> list[Any]:
        """Install the hooks on modules and optimizers; returns their handles. ``failed``, a method, is told an error of
        our own; what it belongs to knows us.
        """
        self._failed = WeakMethod(failed)
        self._allocated()
        return [
            register_module_forward_pre_hook(self._before),
            register_optimizer_step_pre_hook(self._step_begins),
            register_optimizer_step_post_hook(self._step_ends),
        ]

    def begin(self, roots: Mapping[str, nn.Module]) -> None:
        """A call of a recorded model from outside begins: look at what the models hold."""
        self._stepping = False  # whatever became of it
        with quietly():
            if len(self._visited) > _CROWD:
                self._visited.clear()
                self._floor = next_sequence()
            for root in roots.values():
                for parameter in root.parameters():
                    self._parameters[id(parameter)] = ref(parameter)
                    self._see(parameter, "parameter")
                    if parameter.grad is not None:
                        self._see(parameter.grad, "gradient", whole=False)
                for buffer in root.buffers():
                    self._see(buffer, "buffer")

    def stop(self) -> None:
        """Watch nothing any more."""
        self._allocated()
        self._storages.forget()
        self._parameters.clear()
        self._gathered.clear()

    def append(self, record: Iterable[Any]) -> None:
        """Append a record, and say what the call that it tells of made and keeps."""
        record = record if type(record) is list else list(record)
        self._next(record)
        try:
            with quietly():
                self._look(record)
        except Exception as ours:
            self._fault(ours)

    def gradients(self, gradients: Iterable[Any]) -> None:
        """Gradients are on their way."""
        for gradient in gradients:
            if isinstance(gradient, Tensor):
                self._see(gradient, whole=False)

    def accumulated(self, parameter: Tensor) -> None:
        """A parameter has a gradient."""
        if parameter.grad is not None:
            self._see(parameter.grad, "gradient", whole=False)

    # What a call made

    def _look(self, record: Log) -> None:
        at = 3 if record[0] is SOURCE else 0
        key, began = None, None
        if record[at] is CALL:
            key, began = record[at + 1 : at + 3]
            at += 3
        tag = record[at]
        if tag is MEET:
            if (tensor := record[1]()) is not None:
                self._see(tensor)
            return
        if tag is OP:
            made = _alive(made_before(record, len(record) - 1))
        elif tag is LEAF:
            made = _alive(made_before(record, len(record) - 2))
            key, began = record[at + 2], record[at + 4]
        elif tag is LEAVE:
            made, key, began = _alive(_returned(record)), record[at + 1], 0
        else:
            return
        for tensor in made:
            self._see(tensor)
        self._keep_checkpoint()
        if backward_id() == -1:  # what a checkpoint computes again, it drops again
            self._keep(made, key, began, None if tag is LEAVE else savings_of(record, at))

    def _keep(self, made: list[Tensor], key: int | None, began: int | None, written: Savings | None) -> None:
        """Say what autograd keeps of a call, and of what happened unseen before it in the call around it."""
        own: dict[int, None] = {}
        others: dict[int, None] = {}
        unknown = [0, 0]
        for node, number in made_since(made, self._floor, self._visited):
            mine = began is not None and number >= began
            found = own if mine else others
            kept = kept_by(node)
            if kept is not None:
                for tensor in kept:
                    if self._storages.knows(tensor) or not may_be_number(tensor):
                        found.update(dict.fromkeys(self._storages.see(tensor)))
            elif written is None:
                unknown[mine] += 1
            elif written == "result":
                found.update(dict.fromkeys(self._storages.see(made[0])))
            elif written == "as much":
                found[self._storages.estimate(made[0])] = None
        for found in (own, others) if self._gathered else ():
            for number in self._gathered.intersection(found):
                del found[number]
        if others or unknown[0]:
            self._say(Kept(self._around(), tuple(others), unknown[0]))
        if own or unknown[1]:
            self._say(Kept(key, tuple(own), unknown[1]))

    def _keep_checkpoint(self) -> None:
        kept = self._checkpoints.begun()
        if kept and backward_id() == -1:
            found = dict.fromkeys(number for tensor in kept for number in self._storages.see(tensor))
            self._say(Kept(self._around(), tuple(found), int(self._checkpoints.selective())))

    def _around(self) -> int | None:
        """The call in progress."""
        stack = self._calls.stack
        return stack[-1].key if stack else None

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        """A module is called, maybe by a checkpoint, which keeps what it is given."""
        if get_ident() == self._calls.owner and self._calls.stack:
            try:
                with quietly():
                    self._keep_checkpoint()
                    self._gather(module)
            except Exception as ours:
                self._fault(ours)

    def _gather(self, module: nn.Module) -> None:
        """See what stands in for a module's parameters while it runs, as what FSDP gathers does. It is kept by the
        module, and not for backward.
        """
        for parameter in module._parameters.values():
            if parameter is None:
                continue
            own = self._parameters.get(id(parameter))
            if own is None or own() is not parameter:  # an id is used again
                self._gathered.update(self._storages.see(parameter))

    # What an optimizer holds

    def _step_begins(self, optimizer: Any, *_: Any) -> None:
        self._step(optimizer, "begin")

    def _step_ends(self, optimizer: Any, *_: Any) -> None:
        self._step(optimizer, "end")

    def _step(self, optimizer: Any, phase: Any) -> None:
        try:
            with quietly():
                own = (id(p) in self._parameters for group in optimizer.param_groups for p in group["params"])
                if not self._calls.are_mine() or not any(own):
                    return
                for state in optimizer.state.values():
                    for tensor in tensors_in(state):
                        self._see(tensor, "optimizer")
                self._say(OptimizerStep(type(optimizer).__name__, phase, clock()))
                self._stepping = phase == "begin"
        except Exception as ours:
            self._fault(ours)

    def stepped(self, made: Any) -> None:
        """A function has returned, perhaps one of an optimizer's step."""
        if self._stepping:
            try:
                with quietly():
                    for tensor in tensors_in(made):
                        self._see(tensor)
            except Exception as ours:
                self._fault(ours)

    # Records

    def _allocated(self) -> None:
        """What torch's allocator says; of the CPU it says nothing."""
        if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            for device in range(torch.cuda.device_count()):
                now, peak = torch.cuda.memory_allocated(device), torch.cuda.max_memory_allocated(device)
                if peak:
                    self._say(Allocated(f"cuda:{device}", now, peak))

    def _see(self, tensor: Tensor, kind: Any = "other", *, whole: bool = True) -> None:
        for _ in self._storages.see(tensor, kind, whole=whole):
            pass

    def _say(self, event: Any) -> None:
        self._log.extend(memory_record(event))

    def _fault(self, error: Exception) -> None:
        failed = self._failed()
        if failed is not None:
            failed(error)


_CROWD = 100_000
"""So many autograd nodes are remembered before those of earlier steps are forgotten."""


def _alive(references: Iterable[Reference]) -> list[Tensor]:
    return [tensor for reference in references if (tensor := reference()) is not None]


def _returned(record: Log) -> Iterator[Reference]:
    """Those in the record of a call with an inside: references alone."""
    at = len(record) - 3
    while record[at] is not END:
        yield record[at]
        at -= 1
