"""What looks at tensors while they are there, beyond what is said of each: at values and memory, if they are wanted."""

from collections.abc import Callable, Iterable
from typing import Any

from recorder.capture.call_stack import CallStack
from recorder.capture.memory_hooks import MemoryHooks
from recorder.capture.modules import Modules
from recorder.capture.raw_records import Log
from recorder.capture.value_hooks import Values, value_hooks

__all__ = ["Watchers"]


class Watchers:
    """Those of one recording.

    Args:
        wanted: what is recorded of values.
        memory: whether memory is.
        log: where records go.
        calls: the module calls in progress.
        functions: whether functions are recorded.

    Attributes:
        values, memory: each of them, if it is wanted.
        append: appends a record, and has it looked at.
    """

    def __init__(self, wanted: Values | None, memory: bool, log: Log, calls: CallStack, functions: bool) -> None:
        self.append: Callable[[Iterable[Any]], None]
        self.values, self.append = value_hooks(wanted, log, calls, functions)
        self.memory: MemoryHooks | None = None
        if memory:
            self.memory = MemoryHooks(log, self.append, calls)
            self.append = self.memory.append

    def install(self, failed: Callable[[Exception], None]) -> list[Any]:
        """Install the hooks, before those that record calls; returns their handles."""
        return [
            handle
            for watcher in (self.values, self.memory)
            if watcher is not None
            for handle in watcher.install(failed)
        ]

    def begin(self, modules: Modules) -> None:
        """A call of a recorded model from outside begins."""
        if self.values is not None:
            self.values.begin(modules.parts())
        if self.memory is not None:
            self.memory.begin(modules.roots())

    def read(self) -> None:
        """Fetch from the devices what was measured so far. This waits for them; nothing else here does."""
        if self.values is not None:
            self.values.read()

    def stop(self) -> None:
        """Look at nothing any more."""
        if self.memory is not None:
            self.memory.stop()
