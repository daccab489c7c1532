"""What happens outside of every recorded call, and is recorded all the same if it uses what the model computed: a loss
does, a data loader does not, and a step of an optimizer is no part of the graph.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from recorder.capture.backward_hooks import backward_id
from recorder.capture.call_stack import CallStack
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.strangers import Strangers
from recorder.capture.tensor_facts import Reference, quietly, tensors_in

__all__ = ["HELD", "KNOWN", "UNKNOWN", "OutsideCalls"]

UNKNOWN, HELD, KNOWN = range(3)
"""What a call from outside is given: nothing of the recording's, what the model holds, or what it computed."""


class OutsideCalls:
    """Tells which calls from outside are part of the recording.

    Args:
        calls: its owner is the thread that records.
        known: the tensors that the recording knows.
        roots: gives the recorded models.
        failed: is told an error of our own.

    Attributes:
        skipping: the present step is not recorded.
        strangers: modules that are called before there is anything to record; None from then on.
        arrived: what came from other ranks, by `id`: it is not of the model's making until the model is given it.
    """

    def __init__(
        self,
        calls: CallStack,
        known: KnownTensors,
        roots: Callable[[], Mapping[str, nn.Module]],
        failed: Callable[[Exception], None],
    ) -> None:
        self.skipping = False
        self.strangers: Strangers | None = None
        self.arrived: dict[int, Reference] = {}
        self._calls = calls
        self._known = known
        self._roots = roots
        self._failed = failed
        self._held: dict[int, Reference] | None = None
        self._paused = self._closure = False
        self._step: Any = None

    def watch_optimizers(self) -> list[Any]:
        """Install the hooks that tell of steps; returns their handles."""
        return [register_optimizer_step_pre_hook(self._pause), register_optimizer_step_post_hook(self._resume)]

    def begin(self) -> None:
        """An outermost call begins."""
        self._paused = self._paused and self._closure and self._stepping()
        self._held = self.strangers = None

    def leaves_out(self, module: nn.Module, args: Any) -> bool:
        """Whether a call from outside of a module that is no part of the models is none of the recording's."""
        if self.strangers is not None:
            self.strangers.note(module)
        return self.consumes(args) != KNOWN

    def consumes(self, args: Any, kwargs: Any = None) -> int:
        """What a call from outside of every recorded one is given: a tensor that the recording knows, or parameters and
        buffers of the model alone, or what arrived from other ranks. A penalty on these is part of the computation, a
        copy of them is not.
        """
        if self.skipping or (self._paused and self._is_aside()) or backward_id() != -1:
            return UNKNOWN
        try:
            with quietly():
                return self._among((*tensors_in(args), *tensors_in(kwargs)) if kwargs else tensors_in(args))
        except Exception as error:
            self._failed(error)
        return UNKNOWN

    def issues(self, tensors: Iterable[Tensor]) -> int:
        """The same of an operation's tensors. Call it where it is quiet, outside of backward."""
        return UNKNOWN if self._paused and self._is_aside() else self._among(tensors)

    def _is_aside(self) -> bool:
        """Whether what happens in an optimizer's step is not the model's doing."""
        return not (torch.is_grad_enabled() and (self._closure or not self._stepping()))

    def _among(self, tensors: Iterable[Tensor]) -> int:
        found = UNKNOWN
        for tensor in tensors:
            if self.is_held(tensor) or self._has_arrived(tensor):
                found = HELD
            elif tensor in self._known:
                return KNOWN
        return found

    def is_held(self, tensor: Tensor) -> bool:
        """Whether it is a parameter or buffer of a model."""
        if self._held is None:
            roots = self._roots().values()
            self._held = {id(t): ref(t) for root in roots for t in (*root.parameters(), *root.buffers())}
        held = self._held.get(id(tensor))
        return held is not None and held() is tensor  # one that took the place of another may have its id

    def _has_arrived(self, tensor: Tensor) -> bool:
        reference = self.arrived.get(id(tensor))
        return reference is not None and reference() is tensor

    def _pause(self, _: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """An optimizer's step is not the model's doing. Its closure is, which it calls with gradients on."""
        if self._calls.are_mine():
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
        if self._calls.are_mine():
            self._paused = False
