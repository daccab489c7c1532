"""Steps that are not recorded, where only each so-many-th is.

Nobody is the owner of the calls meanwhile, so that the recorded steps pay nothing for it: of a step that is left out,
only the calls of the module that begins steps are looked at, since one of them has to end it.
"""

from collections.abc import Callable
from itertools import count
from typing import Any

from torch import nn

from recorder.capture.call_stack import NOBODY, SKIPPED, CallStack, OpenCall
from recorder.capture.mode_stack import Mode, pop_ours
from recorder.capture.modules import Entry, Modules
from recorder.capture.outside_calls import OutsideCalls

__all__ = ["EveryNth"]


class EveryNth:
    """Leaves steps out. A step is a call of the module that was called first, from outside of every other, with what
    follows until its next one.

    Args:
        every: one of so many is recorded, the first one included.
        modules: whose calls begin steps.
        calls: those in progress.
        outside: is told whether the present step is recorded.
        unwatch: is called when a step is left out.
    """

    def __init__(
        self, every: int, modules: Modules, calls: CallStack, outside: OutsideCalls, unwatch: Callable[[], None]
    ) -> None:
        self._every = every
        self._modules = modules
        self._calls = calls
        self._outside = outside
        self._unwatch = unwatch
        self._steps = count()
        self._first: Entry | None = None

    def leaves_out(self, entry: Entry, mode: Mode | None) -> bool:
        """Whether an outermost call that begins is not recorded. Until it ends, ``mode`` is off the stack then."""
        if self._first is None:
            self._first = entry
        if entry is self._first:
            self._outside.skipping = next(self._steps) % self._every != 0
            if self._outside.skipping:
                self._unwatch()
        if self._outside.skipping:
            self._skip(entry, mode)
        return self._outside.skipping

    def _skip(self, entry: Entry, mode: Mode | None) -> None:
        call = OpenCall(entry, 0, 0, 0, SKIPPED)
        calls = self._calls
        calls.stack.append(call)
        if mode is not None:
            call.popped = pop_ours(mode)
        calls.skipper, calls.owner = calls.owner, NOBODY

    def enter(self, module: nn.Module, caller: Any) -> bool:
        """A call begins while nothing is recorded. Whether that tells that the one that was left out had ended, and it
        is an outermost call itself. ``caller``: torch's Python frame of it.
        """
        stack = self._calls.stack
        if self._modules.entries.get(id(module)) is not stack[0].entry:
            return False
        self._calls.drop_stale(caller)
        if stack:
            stack.append(OpenCall(stack[0].entry, 0, 0, 0, SKIPPED))  # it calls itself
        return not stack

    def leave(self, module: nn.Module) -> None:
        """A call ends while nothing is recorded."""
        stack = self._calls.stack
        if self._modules.entries.get(id(module)) is stack[0].entry:
            self._calls.abandon(stack.pop(), None)
