"""`nn.TransformerEncoder`, its layers and `nn.MultiheadAttention` run as fused kernels where they may, and ask before
they do whether a function mode is active: one would switch those kernels off.

Ours need not: the kernels themselves run the same below it. So while a recorder is open, such a module is told what it
would be told without one, and our mode stays where it is, and sees what the module does before it takes one path or the
other. Of a module that took its fused path, that is dropped again: it is one node, that uses all it was given.
"""

import sys
from collections.abc import Callable
from threading import RLock
from typing import Any

import torch
from torch import nn

from recorder.capture.known_tensors import KnownTensors
from recorder.capture.mode_stack import lift, lower
from recorder.capture.raw_records import (
    CALL,
    DERIVED,
    END,
    ENTER,
    GRAD,
    LEAF,
    LEAVE,
    LIST,
    MAP,
    MEMBERS,
    OP,
    PARAMETER,
    SOURCE,
    Log,
    Tag,
)
from recorder.capture.tensor_facts import SEQUENCE

__all__ = ["asks_unheard", "drop_inside", "is_fusable", "pause", "resume", "unwatch", "watch"]

StepAside = Callable[[nn.Module], None]
"""Takes our modes off the stack until a module's call calls a child, or ends."""

_FUSABLE = (nn.TransformerEncoder, nn.TransformerEncoderLayer, nn.MultiheadAttention)

_KERNELS = (torch._transformer_encoder_layer_fwd, torch._native_multi_head_attention)
"""What they run as then. An encoder has none of its own."""

_LAYER = nn.TransformerEncoderLayer.forward.__code__

_MORE = frozenset((ENTER, LEAF, LEAVE, GRAD, PARAMETER, MEMBERS))
"""The tags of what is no function and no tensor: where one of them is, more happened than a fused kernel."""

_overrides: Any = torch.overrides
_asked: Any = _overrides.has_torch_function
_open: list[StepAside] = []
_lock = RLock()


def is_fusable(kind: type[nn.Module]) -> bool:
    """Whether modules of a class have children, and look for an active mode before they call them."""
    return issubclass(kind, _FUSABLE)


def asks_unheard(kind: type[nn.Module]) -> bool:
    """Whether modules of such a class may ask for modes in another way than the one that is watched. Torch's own did
    ask so from the first on.
    """
    for base in kind.__mro__:
        code = getattr(base.__dict__.get("forward"), "__code__", None)
        if code is not None and issubclass(base, _FUSABLE):
            names = code.co_names
            heard = "overrides" in names and "has_torch_function" in names
            if not heard and (base in _FUSABLE or "has_torch_function" in names):
                return True
    return False


def watch(step_aside: StepAside) -> None:
    """Answer as if no recorder were open, from here on. ``step_aside`` is called where a layer is about to go on to its
    kernel or to its first child, and does nothing on the way that is worth seeing.
    """
    with _lock:
        _open.append(step_aside)
        _overrides.has_torch_function = _has_torch_function


def unwatch(step_aside: StepAside) -> None:
    """No more."""
    with _lock:
        _open.remove(step_aside)
        if not _open:
            _overrides.has_torch_function = _asked


def pause() -> None:
    """Give torch its own function back for a while: where its compiler would look into ours."""
    with _lock:
        _overrides.has_torch_function = _asked


def resume() -> None:
    """Go on."""
    with _lock:
        if _open:
            _overrides.has_torch_function = _has_torch_function


def _has_torch_function(relevant_args: Any) -> Any:
    # Others who ask go on to hand over to the mode, and should.
    asker = sys._getframe(1)
    module = asker.f_locals.get("self") if "self" in asker.f_code.co_varnames else None
    if not isinstance(module, _FUSABLE):
        return _asked(relevant_args)
    modes = lift()
    try:
        answer = _asked(relevant_args)
    finally:
        lower(modes)
    if not answer and asker.f_code is _LAYER and type(module).forward is nn.TransformerEncoderLayer.forward:
        # From here it goes straight to its kernel or to its first child: what it looks at on the way would cost more
        # than all else of its record.
        for step_aside in tuple(_open):
            step_aside(module)
    return answer


_known_to_script = getattr(torch.jit._builtins, "_register_builtin", None)
if _known_to_script is not None:  # else `torch.jit.script` inside the block would compile it
    _known_to_script(_has_torch_function, "aten::has_torch_function")


def drop_inside(log: Log, known: KnownTensors, key: int, fused: bool) -> None:
    """Drop the functions that were recorded inside a call that ends now, if it took its fused path.

    A call that has called children, or whose begin was taken out of the log meanwhile, keeps them.

    Args:
        log: where they were recorded.
        known: told what is not known any more.
        key: the call's.
        fused: it took that path if it has called no child. If not, it did if its kernel is in the log.
    """
    begin = len(log)
    while begin:
        begin -= 1
        item = log[begin]
        fused = fused or item is _KERNELS[0] or item is _KERNELS[1]
        if item is ENTER and log[begin + 2] == key:
            if fused:
                at = _after(log, begin + 6, 1)
                log[at:] = _without_functions(log[at:], known)
            return
        if type(item) is Tag and item in _MORE:
            return


def _without_functions(inside: Log, known: KnownTensors) -> Log:
    """What else was recorded. What the functions made is not known any more."""
    kept: Log = []
    at = 0
    while at < len(inside):
        tag, begin = inside[at], at
        if tag is OP:
            at = _after(inside, at + 5, 2)
            while inside[at] is not END:
                known.unmake(inside[at], inside[at + 1 + SEQUENCE])
                at += 8
            at += 1
            continue
        at = _after(inside, at + 2, 1) if tag is DERIVED else at + (4 if tag is SOURCE else 3 if tag is CALL else 9)
        if tag is not SOURCE and tag is not CALL:
            kept += inside[begin:at]
    return kept


def _after(log: Log, at: int, parts: int) -> int:
    """Where so many parts of a record end that begin here."""
    while parts:
        item = log[at]
        parts += (item is LIST or item is MAP) - (item is END)
        at += 1
    return at
