"""What a module's forward calls its arguments."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

__all__ = ["Signature", "signature_of"]


class Signature(NamedTuple):
    """``names`` of what is given by position, and of ``*rest``; empty where it cannot be known."""

    names: tuple[str, ...] = ()
    rest: str = ""

    def name(self, position: int) -> str:
        """Of the argument at a position: ``hidden_states``, or ``args.0`` of ``*args``; nothing if nobody knows."""
        if position < len(self.names):
            return self.names[position]
        return f"{self.rest}.{position - len(self.names)}" if self.rest else ""


def signature_of(forward: Callable[[], Any], skip: int = 0) -> Signature:
    """The signature of the function that ``forward()`` gets, without its first so many arguments. Whatever it is, and
    if it cannot be got: what cannot be asked has no names.
    """
    try:
        parameters = list(inspect.signature(forward()).parameters.values())[skip:]
    except Exception:
        return Signature()
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
    return Signature(tuple(names), rest[0] if rest else "")
