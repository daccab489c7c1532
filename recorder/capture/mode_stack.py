"""The stack of torch function modes, and how ours leave it for a while and come back.

torch has no public interface for that. Disabling torch functions altogether would break tensor subclasses and the modes
of users, so ours alone step aside.
"""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

__all__ = [
    "Mode", "Popped", "depth", "lift", "lower", "on_stack", "pop_ours", "push", "put_back", "remove", "restore",
]  # fmt: skip

depth = torch._C._len_torch_function_stack
push = torch._C._push_on_torch_function_stack
_at = torch._C._get_function_stack_at
_pop = torch._C._pop_torch_function_stack
_popping = iter(_pop, None)
"""Takes one mode off the stack with each step."""


class Mode(TorchFunctionMode):
    """The base of every recorder's mode, so that nested recorders know each other's. ``gone``: its recorder has
    stopped, perhaps while another one had taken the mode off the stack.
    """

    gone = False


Popped = tuple[Mode, ...]
"""Modes that were taken off the stack, from bottom to top: push them again in that order."""


class _Above(Popped):
    """The same where modes of users stay below: ``level`` of them."""

    level: int


def pop_ours(expected: Mode | None) -> Popped:
    """Take our modes off the top of the stack.

    Modes of users above ours stay where they are, and then nothing is popped. ``expected`` is the one most likely on
    top. An interrupt in here leaves the stack as it was.
    """
    height = depth()
    if not height:
        return ()
    # A loop, since Python handles a signal after each call, and what the call returned is lost; here it has a name.
    for top in _popping:  # noqa: B007 - it is used below
        break
    if top is expected and height == 1:
        return (expected,)
    try:
        push(top)
    except BaseException:
        _refill((top,), height - 1)
        raise
    return _pop_several(height)


def _pop_several(height: int) -> Popped:
    level = height
    while level and isinstance(_at(level - 1), Mode):
        level -= 1
    popped = _Above(_at(i) for i in range(level, height))
    popped.level = level
    try:
        for _ in popped:
            _pop()
    except BaseException:
        _refill(popped, level)
        raise
    return popped


def _refill(popped: Popped, level: int) -> None:
    """Push what is missing."""
    for mode in popped[depth() - level :]:
        push(mode)


def put_back(popped: Popped) -> None:
    """Push modes again after what they stepped aside for ended unnoticed: below those that users pushed since."""
    above = []
    while depth() > getattr(popped, "level", 0):
        above.append(_pop())
    for mode in (*popped, *reversed(above)):
        if not (isinstance(mode, Mode) and mode.gone):
            push(mode)


def remove(mode: Mode) -> None:
    """Take one mode out for good, wherever it is on the stack, or whoever has taken it off."""
    mode.gone = True
    above = []
    while depth():
        top = _pop()
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        push(other)


def on_stack(mode: Mode) -> bool:
    """Whether a mode would be told of a function that is called now; it is not in one that it was told of."""
    return any(_at(i) is mode for i in range(depth()))


def lift() -> list[TorchFunctionMode]:
    """Take our modes out from wherever they are on the stack. Returns the stack as it was; see `lower`."""
    whole = [_at(i) for i in range(depth())]
    if any(isinstance(mode, Mode) for mode in whole):
        _replace([mode for mode in whole if not isinstance(mode, Mode)])
    return whole


def lower(whole: list[TorchFunctionMode]) -> None:
    """Put them back to where they were among the modes of users, those that are there still and those that came."""
    now = [_at(i) for i in range(depth())]
    kept = [mode for mode in whole if (not mode.gone if isinstance(mode, Mode) else any(mode is m for m in now))]
    if any(isinstance(mode, Mode) for mode in kept):
        _replace([*kept, *(mode for mode in now if not any(mode is m for m in kept))])


def _replace(modes: list[TorchFunctionMode]) -> None:
    while depth():
        _pop()
    for mode in modes:
        push(mode)


def restore(asked: bool) -> None:
    """Have torch ask modes again, if it ``asked`` them before. Python 3.14 handles a signal between what a ``with``
    calls first and its block, too, and then nobody leaves what was entered: torch would ask no mode in this thread.
    """
    if asked and not torch._C._is_torch_function_enabled():
        _for_good.append(torch._C._EnableTorchFunction())


_for_good: list[Any] = []
"""What torch asks modes by for as long as it is here."""
