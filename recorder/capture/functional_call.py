"""`torch.func.functional_call` runs a module with other tensors in the place of its own; here that is noticed.

While it runs, the module holds those tensors as if they were its parameters and buffers. A recording that showed the
module's own would be wrong: nothing was computed from them. Looking at each call would cost on the hot path, so torch's
function that puts the tensors there is watched for as long as a recorder is open.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from torch import nn
from torch.nn.utils import stateless

__all__ = ["pause", "resume", "unwatch", "watch"]

Tell = Callable[[nn.Module], None]
"""Is told of a module that it, or its parts, hold other tensors now than before."""

_open: list[Tell] = []
_lock = RLock()
_replace: Any = stateless._reparametrize_module


def watch(tell: Tell) -> None:
    """Tell of each replacement from here on."""
    with _lock:
        _open.append(tell)
        stateless._reparametrize_module = _watched


def unwatch(tell: Tell) -> None:
    """Tell no more."""
    with _lock:
        _open.remove(tell)
        if not _open:
            stateless._reparametrize_module = _replace


def pause() -> None:
    """Give torch its own function back for a while: where its compiler would look into ours."""
    with _lock:
        stateless._reparametrize_module = _replace


def resume() -> None:
    """Go on watching."""
    with _lock:
        if _open:
            stateless._reparametrize_module = _watched


@contextmanager
def _watched(module: nn.Module, *args: Any, **kwargs: Any) -> Iterator[None]:
    try:
        with _replace(module, *args, **kwargs):
            _tell(module)
            yield
    finally:
        _tell(module)


def _tell(module: nn.Module) -> None:
    for tell in tuple(_open):
        tell(module)
