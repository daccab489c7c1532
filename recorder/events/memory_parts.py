"""What a part of a recording inherits of memory: the storages that were alive when it began, and for which calls of
earlier parts autograd kept some of them.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from recorder.events.memory import Freed, Kept, Storage

__all__ = ["Inheritance"]


class Inheritance:
    """Follows the events of a recording; what it holds grows no further than what is alive."""

    def __init__(self) -> None:
        self._alive: dict[int, Storage] = {}
        self._waiting: dict[int | None, dict[int, None]] = {}

    def take(self, event: Any) -> None:
        """An event of memory."""
        if isinstance(event, Storage):
            self._alive[event.storage] = event
        elif isinstance(event, Freed):
            self._alive.pop(event.storage, None)
        elif isinstance(event, Kept):
            self._waiting.setdefault(event.call, {}).update(dict.fromkeys(event.storages))

    def reached(self, call: int) -> None:
        """Backward came to a call: what is alive of what was kept for it is soon held by others alone."""
        for storage in self._waiting.pop(call, ()):
            if storage in self._alive and self._alive[storage].estimated:  # whose end nobody tells
                del self._alive[storage]

    def told(self) -> Iterator[Storage | Kept]:
        """What to say at the beginning of a part. No storage has a tensor there: the part does not know it."""
        yield from (msgspec.structs.replace(storage, tensor=None) for storage in self._alive.values())
        for call, kept in list(self._waiting.items()):
            alive = tuple(storage for storage in kept if storage in self._alive)
            if alive:
                yield Kept(call, alive)
            else:
                del self._waiting[call]
