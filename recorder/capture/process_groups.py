"""What is sent between ranks by others than the functions of `torch.distributed`, which the function mode sees called:
by methods of a process group, by C++ code, and, on older versions of torch, by functions that ask no mode.

From torch 2.14 on, a process group tells of each operation that is issued through it. Below, the methods of its class
are watched, so what C++ code issues is not seen: the reducer of `DistributedDataParallel` is the one that matters.
Inside of a function that is recorded itself, what is issued is no news. Where `torch.distributed` is not available,
nothing is done, and where there is no process group, nothing but waiting for one.
"""

import sys
from collections.abc import Callable
from functools import partial, wraps
from threading import RLock
from types import FrameType
from typing import Any
from weakref import WeakSet

from torch import distributed

from recorder.capture.backward_hooks import backward_id
from recorder.capture.collectives import COLLECTIVES
from recorder.capture.function_mode import Recording
from recorder.capture.module_hooks import Capture
from recorder.capture.raw_records import Log
from recorder.capture.shortfalls import Shortfalls
from recorder.capture.tensor_facts import tensors_in

__all__ = ["ProcessGroups"]

IN_BACKWARD = "issued in backward: of that, a recording has the gradients, and no operations"
UNSEEN = "issued inside a recorded call by C++ code, with tensors of its own"
REDUCER = "it sums gradients in C++ code, which is not seen below torch 2.14"

_PLAIN = {
    "allgather": "all_gather", "allreduce": "all_reduce", "alltoall": "all_to_all", "broadcast": "broadcast",
    "gather": "gather", "recv": "recv", "reduce": "reduce", "reduce_scatter": "reduce_scatter", "scatter": "scatter",
    "send": "send",
}  # fmt: skip

_METHODS = {
    **_PLAIN,
    "_allgather_base": "all_gather_into_tensor", "_reduce_scatter_base": "reduce_scatter_tensor",
    "allgather_coalesced": "all_gather_coalesced", "allgather_into_tensor_coalesced": "all_gather",
    "allreduce_coalesced": "all_reduce_coalesced", "alltoall_base": "all_to_all_single",
    "recv_anysource": "recv", "reduce_scatter_tensor_coalesced": "reduce_scatter",
}  # fmt: skip
"""Of the methods of a process group, the functions that call them. What they write is their first argument, if they are
not to send."""

_NAMES = {method.removeprefix("_").upper(): name for method, name in _METHODS.items()}
"""The same of the operations that a process group tells of, which are called after its methods; torch 2.14 has one name
for those that are alike. The others send no tensors."""

_ONLY = frozenset({"all_reduce", "all_reduce_coalesced", "broadcast", "recv", "reduce", "send"})
"""Those that are given tensors of one kind, and write these, or send them."""


class ProcessGroups:
    """One recorder's part in it, from `start` to `stop`; may be started again.

    Args:
        capture: what records.
        shortfalls: is told what cannot be followed.
    """

    def __init__(self, capture: Capture, shortfalls: Shortfalls) -> None:
        self._capture = capture
        self._shortfalls = shortfalls
        self._groups: WeakSet[Any] = WeakSet()
        self._begun: dict[tuple[int, int], tuple[Recording, Log]] = {}

    def start(self) -> None:
        """Watch the process groups there are, and those to come."""
        if distributed.is_available():
            with _lock:
                _open.append(self)
                _watch()
            if _TELL:
                for group in list(_c10d()._world.pg_map):
                    self.adopt(group)

    def stop(self) -> None:
        """Watch no more."""
        if not distributed.is_available():
            return
        with _lock:
            _open.remove(self)
            if not _open:
                _unwatch()
        for group in self._groups:
            group.unregister_pre_hook(id(self))
            group.unregister_post_hook(id(self))
        self._groups.clear()
        for _, record in self._begun.values():
            self._capture.known.forget(record)
        self._begun.clear()
        if not _TELL:
            self._find_reducers()

    def adopt(self, group: Any) -> None:
        """Have a process group tell of its operations."""
        if group not in self._groups and hasattr(group, "register_pre_hook"):
            # By a number that nobody else gives: hooks of users stay where they are.
            group.register_pre_hook(id(self), partial(self._begins, id(group)))
            group.register_post_hook(id(self), partial(self._issued, id(group)))
            self._groups.add(group)

    def call(self, name: str, args: tuple[Any, ...], run: Callable[[], Any]) -> Any:
        """Call ``run()``, which issues an operation, and record it as a call of the function of this name."""
        mode = None
        try:
            mode = self._mode(name, args)
        except Exception as ours:
            self._capture.faults.add(ours)
        return run() if mode is None else mode.record_opaque(getattr(distributed, name), args, {}, run)

    def _begins(self, group: int, issued: Any) -> None:
        """An operation is about to be issued."""
        try:
            name = _NAMES.get(issued.name.name)
            if name is not None and not _together(sys._getframe(1)):
                args = _arguments(name, issued.input_tensors, issued.output_tensors)
                mode = self._mode(name, args)
                if mode is not None:
                    self._begun[group, issued.op_id] = mode, mode.begin(getattr(distributed, name), args)
        except Exception as ours:
            self._capture.faults.add(ours)

    def _issued(self, group: int, issued: Any) -> None:
        """It has been issued. Of one that failed, nobody tells."""
        begun = self._begun.pop((group, issued.op_id), None)
        if begun is not None:
            begun[0].end(begun[1])

    def _mode(self, name: str, args: tuple[Any, ...]) -> Recording | None:
        """The mode that is to record an operation; None if it is no part of the recording, or recorded already."""
        if backward_id() != -1:
            if self._capture.backward.watching:
                self._shortfalls.not_followed(f"torch.distributed.{name}", IN_BACKWARD)
            return None
        mode = self._capture.seeing(args)
        if mode is not None and not any(tensor in self._capture.known for tensor in tensors_in(args)):
            self._shortfalls.not_followed(f"torch.distributed.{name}", UNSEEN)
            return None
        return mode

    def _find_reducers(self) -> None:
        """Say so where gradients were summed unseen."""
        for entry in self._capture.modules.entries.values():
            parallel = entry.met and entry.kind.type.__name__ == "DistributedDataParallel"
            if parallel and getattr(entry.reference(), "require_forward_param_sync", False):
                self._shortfalls.not_followed("torch.nn.parallel.DistributedDataParallel", REDUCER)


def _together(caller: FrameType) -> bool:
    """Whether operations are issued together that were recorded one by one, as functions."""
    return caller.f_code.co_name == "_coalescing_manager"


def _arguments(name: str, inputs: list[Any], outputs: list[Any]) -> tuple[Any, ...]:
    """Tensors as the function of this name would be given them."""
    if name in _ONLY:
        return ([*inputs, *outputs],)
    return (inputs, outputs) if name == "gather" else (outputs, inputs)


# Where process groups tell of themselves, torch's function that notes each new one is watched; else their methods are.

_open: list[ProcessGroups] = []
_lock = RLock()
_watched: dict[tuple[Any, str], Any] = {}
_TELL = distributed.is_available() and hasattr(distributed.ProcessGroup, "register_pre_hook")


def _c10d() -> Any:
    return sys.modules["torch.distributed.distributed_c10d"]


def _watch() -> None:
    if _watched:
        return
    if _TELL:
        _replace(_c10d(), "_register_pg_in_world", _noticing)
    else:
        for method, name in _METHODS.items():
            if method in vars(distributed.ProcessGroup) and getattr(distributed, name, None) in COLLECTIVES:
                _replace(distributed.ProcessGroup, method, partial(_recording, name))


def _unwatch() -> None:
    for (where, name), function in _watched.items():
        setattr(where, name, function)
    _watched.clear()


def _replace(where: Any, name: str, make: Callable[[Any], Any]) -> None:
    function = vars(where)[name]  # as it is there: what is asked for may be bound
    _watched[where, name] = function
    setattr(where, name, make(function))


def _noticing(function: Any) -> Any:
    @wraps(function)
    def register(group: Any, *args: Any, **kwargs: Any) -> Any:
        result = function(group, *args, **kwargs)
        for groups in tuple(_open):
            groups.adopt(group)
        return result

    return register


def _recording(name: str, method: Any) -> Any:
    @wraps(method)
    def issue(self: Any, *args: Any, **kwargs: Any) -> Any:
        run: Callable[[], Any] = partial(method.__get__(self, type(self)), *args, **kwargs)
        if _together(sys._getframe(1)):
            return run()
        given = args[:1] if name in _ONLY else args[1::-1] if name == "gather" else args[:2]
        for groups in tuple(_open):
            run = partial(groups.call, name, given, run)
        return run()

    return issue
