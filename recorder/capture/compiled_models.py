"""What users compiled runs eagerly while it is recorded: of a compiled region, there would be nothing to see.

torch asks at each call of compiled code how it is to run, and there the answer is given that its own switch,
``torch.compiler.set_stance("force_eager")``, would give. The switch itself is not touched: it also hits what torch
builds on its compiler where nobody compiled anything, see `recorder.capture.higher_order`. What was compiled stays
compiled, and runs so again after the block; nothing is compiled anew. That goes for all threads: compiled code in
others runs eagerly as well for as long as a recorder is open.

The compiler takes seconds to import. It is not imported here: if nobody did so before, an import hook waits for it.
"""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock, get_ident
from types import FrameType, ModuleType
from typing import Any

from torch import _ops, nn
from torch.nn.modules import module as torch_module

from recorder.capture.higher_order import (
    GLOBAL_HOOKS,
    NOT_FOLLOWED,
    WRITTEN,
    aside,
    begins,
    ours_among,
    step_aside,
    watched,
)
from recorder.capture.module_hooks import Capture
from recorder.capture.shortfalls import Shortfalls
from recorder.capture.tensor_facts import quietly, tensors_in

__all__ = ["Eagerly", "original"]

_COMPILER = "torch._dynamo"


class Eagerly:
    """One recorder's part in it, from `start` to `stop`; may be started again.

    Args:
        capture: what records.
        meta: where it is noted, under ``"compiled"``, that compiled code was called in the recorder's thread.
        shortfalls: is told what is recorded otherwise than it runs, and what cannot be followed.
    """

    def __init__(self, capture: Capture, meta: dict[str, Any], shortfalls: Shortfalls) -> None:
        self._capture = capture
        self._meta = meta
        self._shortfalls = shortfalls
        self._owner = 0
        self._stance: Any = None

    def start(self) -> None:
        """Have compiled code run eagerly, now or as soon as the compiler is imported."""
        self._owner = get_ident()
        with _lock:
            _open.append(self)
            try:
                if _COMPILER in sys.modules:
                    self.take_over()
                elif _waiting not in sys.meta_path:
                    sys.meta_path.insert(0, _waiting)
            except BaseException:
                _open.remove(self)
                raise

    def take_over(self) -> None:
        """Make compiled code run eagerly from here on, unless the user takes another stance from now on."""
        self._stance = _eval_frame()._stance
        _watch()

    def stop(self) -> None:
        """Have it run as before."""
        with _lock:
            _open.remove(self)
            self._stance = None
            if not _open:
                _unwatch()
                if _waiting in sys.meta_path:
                    sys.meta_path.remove(_waiting)

    def overrules(self, stance: Any) -> bool:
        """Whether this stance is not one that was taken, and kept, inside the block."""
        return self._stance is stance

    def note(self, differs: bool) -> None:
        """Compiled code is being called. ``differs``: it would not have run eagerly otherwise."""
        if self._owner == get_ident():
            self._meta["compiled"] = "run eagerly while recorded"
            if differs:
                self._shortfalls.compiled = True

    def let_go(self) -> None:
        """Compiled code is being called, and runs as such, since the user says so."""
        if self._owner == get_ident():
            self._shortfalls.not_followed(
                "torch.compile", "a stance that was taken inside the block has it run compiled"
            )

    def fault(self, error: Exception) -> None:
        """An error of our own."""
        if self._owner == get_ident():
            self._capture.faults.add(error)

    def call(self, operator: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
        """Call ``run()``, an operator whose inside cannot be seen, and record that."""
        if self._owner != get_ident():
            return run()
        name = f"torch.ops.higher_order.{operator.__name__}"
        seen: list[list[int]] = []

        def noted() -> None:
            self._shortfalls.not_followed(name, NOT_FOLLOWED)
            seen.append(_versions(args))

        result = self._capture.record_opaque(operator, args, kwargs, run, noted)
        if seen and seen[0] != _versions(args):
            self._shortfalls.not_followed(name, WRITTEN)
        return result


def _versions(args: Any) -> list[int]:
    """How often each tensor among these was written."""
    with quietly():
        return [tensor._version for tensor in tensors_in(args) if not tensor.is_inference()]


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
                    eagerly.take_over()

        loader.exec_module = exec_module
        return spec


_waiting = _Waiting()


# Three of torch's own functions are watched meanwhile. The one that is asked at each call of something compiled how it
# is to be run is where such calls can be noticed. Another makes torch warn that a compiled module is called while there
# are global hooks: ours are no reason to. The third calls operators that take functions.

_watched: dict[tuple[Any, str], Callable[..., Any]] = {}


def _watch() -> None:
    for where, name, make in (
        (_eval_frame(), "_callback_from_stance", _answering),
        (torch_module, "_has_any_global_hook", _not_counting_ours),
        (_ops.HigherOrderOperator, "__call__", watched(_recorded)),
    ):
        if (where, name) not in _watched and hasattr(where, name):
            _watched[where, name] = getattr(where, name)
            setattr(where, name, make(_watched[where, name]))


def _unwatch() -> None:
    for (where, name), function in _watched.items():
        setattr(where, name, function)
    _watched.clear()


def _eval_frame() -> Any:
    return sys.modules[f"{_COMPILER}.eval_frame"]


def _answering(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def callback_from_stance(callback: Any) -> Any:
        answer = function(callback)
        if not callable(callback) or aside():  # not so where `torch.compiler.disable` asks
            return answer
        recorders, frame = tuple(_open), sys._getframe(1)
        try:
            if begins(frame):
                step_aside(frame)
                return answer
        except Exception as ours:
            for eagerly in recorders:
                eagerly.fault(ours)
            return answer
        if not any(eagerly.overrules(_eval_frame()._stance) for eagerly in recorders):
            if answer is not None:
                for eagerly in recorders:
                    eagerly.let_go()
            return answer
        if getattr(frame.f_locals.get("self"), "export", None) is not True:  # below torch 2.10, export asks, too
            for eagerly in recorders:
                eagerly.note(differs=answer is not None)
        _excuse(frame)
        return None

    return callback_from_stance


def _excuse(frame: FrameType) -> None:
    """Where ``fullgraph=True`` was asked for, torch counts what ran compiled, and raises if nothing did."""
    count = getattr(_eval_frame(), "set_fullgraph_compiled_frame_count", None)
    if count is not None and frame.f_locals.get("fullgraph_count_enabled") is True:
        count(-1)  # what is counting already takes no other number
        count(1)


def _recorded(operator: Any, args: Any, kwargs: Any, run: Callable[[], Any]) -> Any:
    for eagerly in tuple(_open):
        run = partial(eagerly.call, operator, args, kwargs, run)
    return run()


def _not_counting_ours(_: Callable[[], Any]) -> Callable[[], bool]:
    def has_any_global_hook() -> bool:
        ours = set().union(*map(ours_among, GLOBAL_HOOKS))
        return any(number not in ours for table in GLOBAL_HOOKS for number in table)

    return has_any_global_hook
