"""Where a backward begins: noticed on any path that Python takes there, whatever modes are active.

torch has no hook for that. All of its ways there, `torch.autograd.grad` too, call one function of its own, which is
watched for as long as a recorder is open. So nothing has to be asked of each function that is called, and a recording
without functions is told as well.
"""

from collections.abc import Callable
from threading import RLock, get_ident
from typing import Any

import torch

__all__ = ["pause", "resume", "unwatch", "watch"]

Tell = Callable[[Any], None]
"""Is given what backward is called on: tensors and gradient edges. It must not raise."""

_NAME = "_engine_run_backward"

_homes: tuple[Any, ...] = (torch.autograd, torch.autograd.graph)
_open: list[tuple[int, Tell]] = []
_lock = RLock()
_run: Any = torch.autograd.graph._engine_run_backward


def watch(tell: Tell) -> None:
    """Tell of each backward from here on that begins on the thread that asks."""
    with _lock:
        _open.append((get_ident(), tell))
        _put(_watched)


def unwatch(tell: Tell) -> None:
    """Tell no more."""
    with _lock:
        _open[:] = [(thread, told) for thread, told in _open if told != tell]
        if not _open:
            _put(_run)


def pause() -> None:
    """Give torch its own function back for a while: where its compiler would look into ours."""
    with _lock:
        _put(_run)


def resume() -> None:
    """Go on watching."""
    with _lock:
        if _open:
            _put(_watched)


def _put(function: Any) -> None:
    for home in _homes:
        setattr(home, _NAME, function)


def _watched(t_outputs: Any, *args: Any, **kwargs: Any) -> Any:
    for thread, tell in tuple(_open):
        if thread == get_ident():
            tell(t_outputs)
    return _run(t_outputs, *args, **kwargs)
