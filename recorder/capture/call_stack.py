"""The module calls in progress, and how they end: also those of which torch does not tell the end.

torch tells of a call that returned or raised an `Exception`; of a KeyboardInterrupt, a SystemExit or a checkpoint that
stops half-way it does not. Calls that ended so are found out, and abandoned.
"""

from threading import get_ident
from time import perf_counter_ns as clock
from typing import Any
from weakref import ref

from torch import nn

from recorder.capture.mode_stack import Popped, put_back
from recorder.capture.modules import Entry
from recorder.capture.raw_records import Log, enter_record, unreturned_record
from recorder.events.types import UNFINISHED

__all__ = ["NOBODY", "SKIPPED", "CallStack", "OpenCall"]

SKIPPED = -1
"""The flag of a call that is not recorded, nor is what it calls."""

NOBODY = 0
"""No thread."""


class OpenCall:
    """A module call in progress. ``popped``: the modes that have to be put back when it ends; ``silent``: nothing in it
    is recorded.
    """

    __slots__ = ("began", "entry", "flags", "key", "popped", "reference", "silent", "start")

    def __init__(self, entry: Entry, began: int, start: int, key: int, flags: int) -> None:
        self.entry = entry
        self.reference = entry.reference
        self.began = began
        self.start = start
        self.key = key
        self.flags = flags
        self.popped: Popped = ()
        self.silent = entry.leaf or flags == SKIPPED


class CallStack:
    """Those calls, one in another.

    Args:
        log: where ends are recorded.

    Attributes:
        stack: the calls in progress, the outermost one first.
        owner: the thread that records.
        skipper: the same while nothing is recorded, and then nobody is the owner.
    """

    def __init__(self, log: Log) -> None:
        self.stack: list[OpenCall | Entry] = []
        self.owner = self.skipper = NOBODY
        self._log = log
        self._end: ref[Any] | None = None

    def are_mine(self) -> bool:
        """Whether the thread that asks is the one that records."""
        return get_ident() == self.owner

    def watch_end(self, caller: Any) -> None:
        """Notice when an outermost call ends untold, so that what follows is not taken for a part of it: when a local
        variable of torch's own goes. While something holds the traceback, its frames live on with their variables; then
        the next call of a root tells.
        """
        local = caller.f_locals.get("called_always_called_hooks")
        self._end = None if local is None else ref(local, self._ended)

    def unwatch_end(self) -> None:
        """The outermost call ended as it should."""
        self._end = None

    def _ended(self, end: Any) -> None:
        if end is self._end and self.are_mine():
            while self.stack:
                self.abandon(self.stack.pop(), UNFINISHED)

    def drop_stale(self, caller: Any) -> None:
        """Forget the calls in progress that no Python frame is running any more. ``caller`` is a frame above the call
        that begins now.
        """
        running: list[nn.Module] = []
        frame = caller
        while frame is not None:
            if frame.f_code is nn.Module._call_impl.__code__:
                running.append(frame.f_locals["self"])
            frame = frame.f_back
        running.pop(0)  # the call that begins now
        keep = 0
        for module in reversed(running):
            if keep < len(self.stack) and self.stack[keep].reference() is module:
                keep += 1
        while len(self.stack) > keep:
            self.abandon(self.stack.pop(), UNFINISHED)

    def unwind_to(self, module: nn.Module) -> bool:
        """Forget the calls above this module's; False if it is not in progress at all."""
        if all(call.reference() is not module for call in self.stack):
            return False
        while self.stack[-1].reference() is not module:
            self.abandon(self.stack.pop(), None)
        return True

    def abandon(self, call: OpenCall | Entry, error: str | None) -> None:
        """End a call that was taken off the stack, as one that did not return."""
        put_back(call.popped)
        call.popped = ()
        if call.flags == SKIPPED:
            if not self.stack:
                self.owner, self.skipper = self.skipper, NOBODY
            return
        entry = call.entry
        if entry.leaf:  # leaves are recorded when they end, so the log does not have this one yet
            self._log.extend(enter_record(entry, call.key, call.flags, call.began, call.start))
        if error is not None:
            self._log.extend(unreturned_record(call.key, clock(), error))
        if call is entry:
            entry.idle = True
