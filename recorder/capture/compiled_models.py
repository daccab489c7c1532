"""Compiled code runs eagerly while it is recorded: of a compiled region, there would be nothing to see.

This goes through the compiler's own switch, ``torch.compiler.set_stance("force_eager")``. What was compiled stays
compiled, and runs so again after the block; nothing is compiled anew. The stance is one for the whole process, so
compiled code in other threads runs eagerly as well for as long as a recorder is open.

The compiler takes seconds to import. It is not imported here: if nobody did so before, an import hook waits for it.
"""

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock, get_ident
from types import ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from recorder.capture.module_hooks import Capture

__all__ = ["Eagerly", "original"]

_COMPILER = "torch._dynamo"


class Eagerly:
    """One recorder's part in it, from `start` to `stop`; may be started again.

    Args:
        meta: where it is noted, under ``"compiled"``, that compiled code was called in the recorder's thread.
    """

    def __init__(self, meta: dict[str, Any]) -> None:
        self._meta = meta
        self._owner = 0
        self._stance: Any = None

    def start(self) -> None:
        """Take the stance, now or as soon as the compiler is imported."""
        self._owner = get_ident()
        with _lock:
            _open.append(self)
            try:
                if _COMPILER in sys.modules:
                    self.take_stance()
                elif _waiting not in sys.meta_path:
                    sys.meta_path.insert(0, _waiting)
            except BaseException:
                _open.remove(self)
                raise

    def take_stance(self) -> None:
        """Make compiled code run eagerly from here on."""
        self._stance = torch.compiler.set_stance("force_eager")
        _watch()

    def stop(self) -> None:
        """Put back the stance that was there before. One that the user took inside the block, and kept, stays."""
        with _lock:
            _open.remove(self)
            if not _open:
                _unwatch()
                if _waiting in sys.meta_path:
                    sys.meta_path.remove(_waiting)
            mine, self._stance = self._stance, None
            if mine is None:
                return
            for other in _open:  # recorders may be left in any order: who came after us goes back to before us
                if other._stance is not None and other._stance.prev is mine.stance:
                    other._stance.prev = mine.prev
                    return
            if sys.modules[f"{_COMPILER}.eval_frame"]._stance is mine.stance:
                mine.__exit__(None, None, None)

    def note(self) -> None:
        """Compiled code is being called."""
        if self._owner == get_ident():
            self._meta["compiled"] = "run eagerly while recorded"


_open: list[Eagerly] = []
_lock = RLock()


def original(net: nn.Module) -> nn.Module:
    """What was compiled, if ``net`` is what `torch.compile` made of it; else ``net`` itself."""
    compiler = sys.modules.get(f"{_COMPILER}.eval_frame")
    if compiler is not None and isinstance(net, compiler.OptimizedModule):
        return original(net._modules["_orig_mod"])
    return net


class _Waiting(MetaPathFinder):
    """Sees the compiler being imported, and has the open recorders take their stance right after."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _COMPILER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        loader: Any = spec.loader
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module
            execute(module)
            with _lock:
                for eagerly in _open:
                    eagerly.take_stance()

        loader.exec_module = exec_module
        return spec


_waiting = _Waiting()


# Two of torch's own functions are watched meanwhile. The one that is asked at each call of something compiled how it is
# to be run is where such calls can be noticed. The other makes torch warn that a compiled module is called while there
# are global hooks: ours are no reason to.

_watched: dict[tuple[ModuleType, str], Callable[..., Any]] = {}


def _watch() -> None:
    compiler = sys.modules[f"{_COMPILER}.eval_frame"]
    for where, name, make in (
        (compiler, "_callback_from_stance", _noting),
        (torch_module, "_has_any_global_hook", _not_counting_ours),
    ):
        if (where, name) not in _watched and hasattr(where, name):
            _watched[where, name] = getattr(where, name)
            setattr(where, name, make(_watched[where, name]))


def _unwatch() -> None:
    for (where, name), function in _watched.items():
        setattr(where, name, function)
    _watched.clear()


def _noting(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def callback_from_stance(callback: Any) -> Any:
        if callable(callback):  # not so where `torch.compiler.disable` asks
            for eagerly in tuple(_open):
                eagerly.note()
        return function(callback)

    return callback_from_stance


def _not_counting_ours(_: Callable[[], Any]) -> Callable[[], bool]:
    names = "forward_pre_hooks forward_hooks forward_hooks_always_called forward_hooks_with_kwargs"
    tables = [getattr(torch_module, f"_global_{name}") for name in f"{names} backward_pre_hooks backward_hooks".split()]

    def has_any_global_hook() -> bool:
        ours = {
            number
            for table in tables
            for number, hook in table.items()
            if isinstance(getattr(hook, "__self__", None), Capture)
        }
        return any(number not in ours for table in tables for number in table)

    return has_any_global_hook
