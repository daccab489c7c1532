"""Modules that are called while nothing was recorded yet, and are no part of what is recorded: most often a copy of it.

They are looked at from when a block begins until the first call that is recorded, and then nobody pays for them.
"""

from collections.abc import Collection, Set

from torch import nn

__all__ = ["Strangers"]

_MANY = 64
"""So many types of them are told apart."""


class Strangers:
    """The types of such modules, in the order of their first calls, so that the first one was called from outside."""

    def __init__(self) -> None:
        self._types: dict[str, str] = {}

    def note(self, module: nn.Module) -> None:
        """One is called."""
        kind = type(module)
        if len(self._types) < _MANY:
            self._types.setdefault(_name(kind), kind.__name__)

    def instead(self, roots: Collection[nn.Module], elsewhere: Set[int], heard: bool) -> str | None:
        """That these were not called, what was called instead, and what to do about it; None if that is as it may be.

        Args:
            roots: the recorded models.
            elsewhere: the `id` of each module that was called on another thread.
            heard: something was recorded, if no call of these.
        """
        names = {_name(type(root)): type(root).__name__ for root in roots}
        alike = [short for name, short in names.items() if name in self._types]
        if any(id(root) in elsewhere for root in roots):
            hint = "it was called on another thread: enter the block on the one that calls it"
        elif alike:
            hint = f"calls of {alike[0]} were seen, which is another object of the same class: {_ADVICE}"
        elif heard:
            return None
        elif not roots:
            hint = "it is gone: keep the model in a variable"
        elif self._types:
            hint = f"calls of {next(iter(self._types.values()))} were seen, which is no part of it: {_ADVICE}"
        else:
            hint = "call the model itself inside the block, as net(x)"
        call = f"no call of {' or '.join(names.values()) or 'a model'}"
        if heard:
            return f"{call} was recorded in this block; {hint}"
        return f"nothing was recorded in this block: {call} was seen; {hint}"


_ADVICE = "record the object that is called"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
