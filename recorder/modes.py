"""The stack of torch function modes, and how ours leave it for a while and come back.

torch has no public interface for that. Disabling torch functions altogether would break tensor subclasses and the modes
of users, so ours alone step aside.
"""

import torch
from torch.overrides import TorchFunctionMode

__all__ = ["Mode", "depth", "pop_ours", "push", "remove"]

depth = torch._C._len_torch_function_stack
push = torch._C._push_on_torch_function_stack
_pop = torch._C._pop_torch_function_stack


class Mode(TorchFunctionMode):
    """The base of every recorder's mode, so that nested recorders know each other's."""


def pop_ours(expected: Mode | None) -> tuple[Mode, ...]:
    """Take our modes off the top of the stack, and return them from bottom to top: push them again in that order.

    Modes of users above ours stay where they are, and then nothing is popped. ``expected`` is the one most likely on
    top.
    """
    if not depth():
        return ()
    top = _pop()
    if top is expected and not depth() and expected is not None:
        return (expected,)
    popped: list[Mode] = []
    while isinstance(top, Mode):
        popped.append(top)
        if not depth():
            return tuple(reversed(popped))
        top = _pop()
    push(top)
    return tuple(reversed(popped))


def remove(mode: Mode) -> None:
    """Take one mode out, wherever it is on the stack."""
    above = []
    while depth():
        top = _pop()
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        push(other)
