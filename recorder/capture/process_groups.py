"""The process groups of a job, those made while it is recorded among them, and how each tells of what is issued in it.

From torch 2.14 on, a process group tells of each operation before and after it is issued, whoever issues it. Below, the
methods of its class are watched, so what C++ code issues is not seen: the reducer of `DistributedDataParallel`, the
functional collectives; and of backward nothing is recorded. Where `torch.distributed` is not available, nothing is
done, and where there is no process group, nothing but waiting for one.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial, wraps
from itertools import count
from socket import gethostname
from threading import RLock
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, ref

import torch
from torch import distributed

from recorder.capture.backward_hooks import backward_id
from recorder.capture.issues import GroupFacts
from recorder.capture.module_hooks import Capture
from recorder.capture.operations import Operations, frame_above
from recorder.capture.raw_records import Log
from recorder.capture.shortfalls import Shortfalls
from recorder.capture.tensor_facts import tensors_in

__all__ = ["ProcessGroups", "job"]

FORWARD_ONLY = "forward only: below torch 2.14, only operations are seen that Python code issues in forward"

_NAMES = {
    "ALLGATHER": "all_gather", "ALLREDUCE": "all_reduce", "ALLTOALL": "all_to_all", "BARRIER": "barrier",
    "BROADCAST": "broadcast", "GATHER": "gather", "RECV": "recv", "REDUCE": "reduce",
    "REDUCE_SCATTER": "reduce_scatter", "SCATTER": "scatter", "SEND": "send",
}  # fmt: skip
"""What process groups call the operations that they tell of."""

_members: Any = getattr(getattr(torch._C, "_distributed_c10d", None), "HookOpName", None)
_OPERATIONS = {} if _members is None else {_members.__members__[name].value: op for name, op in _NAMES.items()}
"""The same by the members' numbers: to ask one for its name, or to look it up, takes longer."""

_METHODS = {
    "_allgather_base": "all_gather", "_reduce_scatter_base": "reduce_scatter", "allgather": "all_gather",
    "allgather_coalesced": "all_gather", "allgather_into_tensor_coalesced": "all_gather", "allreduce": "all_reduce",
    "allreduce_coalesced": "all_reduce", "alltoall": "all_to_all", "alltoall_base": "all_to_all",
    "barrier": "barrier", "broadcast": "broadcast", "gather": "gather", "recv": "recv", "recv_anysource": "recv",
    "reduce": "reduce", "reduce_scatter": "reduce_scatter", "reduce_scatter_tensor_coalesced": "reduce_scatter",
    "scatter": "scatter", "send": "send",
}  # fmt: skip
"""The methods of a process group, where these are watched."""

_SENT_ONLY = frozenset({"all_reduce", "broadcast", "reduce", "send"})
"""Those whose first argument goes in; of the others, it comes out, and the second one goes in."""


def job() -> dict[str, Any]:
    """What a rank knows of the job that it belongs to, as a header's ``meta`` has it; nothing if it has no process
    group.
    """
    if not distributed.is_available() or not distributed.is_initialized():
        return {}
    return {"rank": distributed.get_rank(), "world_size": distributed.get_world_size(), "host": gethostname()}


class Given(NamedTuple):
    """The tensors of an operation, as a process group tells of them."""

    input_tensors: list[Any]
    output_tensors: list[Any]


class ProcessGroups:
    """One recorder's part in it, from `start` to `stop`; may be started again.

    Args:
        capture: what records.
        shortfalls: is told what cannot be followed.

    Attributes:
        operations: what is noted of operations.
    """

    def __init__(self, capture: Capture, shortfalls: Shortfalls) -> None:
        self.operations = Operations(capture)
        self._failed = self.operations.failed
        self._shortfalls = shortfalls
        self._groups: WeakKeyDictionary[Any, GroupFacts] = WeakKeyDictionary()
        self._telling: WeakSet[Any] = WeakSet()
        self._keys = count()

    def start(self) -> None:
        """Watch the process groups there are, and those to come."""
        if distributed.is_available():
            with _lock:
                _open.append(self)
                _watch()
            for group in list(_world().pg_map):
                self.adopt(group)

    def stop(self) -> None:
        """Watch no more."""
        if not distributed.is_available():
            return
        with _lock:
            _open.remove(self)
            if not _open:
                _unwatch()
        for group in self._telling:
            group.unregister_pre_hook(id(self))
            group.unregister_post_hook(id(self))
        self._telling.clear()
        self.operations.stop()

    @property
    def any(self) -> bool:
        """Whether anything was issued."""
        return bool(self._groups)

    def adopt(self, group: Any) -> None:
        """Have a process group tell of its operations."""
        try:
            if not _tells():
                self._shortfalls.not_followed("torch.distributed", FORWARD_ONLY)
            elif group not in self._telling:
                # By a number that nobody else gives: hooks of users stay where they are.
                told = _Told(ref(group), self._facts, self.operations)
                group.register_pre_hook(id(self), told.before)
                group.register_post_hook(id(self), told.after)
                self._telling.add(group)
        except Exception as ours:
            self._failed(ours)

    def _facts(self, group: Any) -> GroupFacts:
        """What is known of a group. Asked when something is issued in it: before, it may be half made."""
        facts = self._groups.get(group)
        if facts is None:
            facts = self._groups[group] = _facts(group, len(self._groups))
        return facts

    def call(self, group: Any, op_type: str, given: Any, root: int, run: Callable[[], Any]) -> Any:
        """Call ``run()``, which issues an operation."""
        if backward_id() != -1:
            return run()
        facts, key = None, next(self._keys)
        try:
            facts = self._facts(group)
            self.operations.begins(facts, op_type, given, root, key, frame_above())
        except Exception as ours:
            self._failed(ours)
        result = run()
        if facts is not None:
            self.operations.issued(facts, key)
        return result

    def carried(self) -> Iterator[Log]:
        """Records of the parameters in what was issued; see `Operations.carried`."""
        return self.operations.carried()


class _Told:
    """What one process group tells one recorder.

    Args:
        group: gives the group, which is not kept alive.
        facts: gives what is known of it.
        operations: what notes its operations.
    """

    __slots__ = ("_asked", "_facts", "_group", "_operations")

    def __init__(self, group: Callable[[], Any], facts: Callable[[Any], GroupFacts], operations: Operations) -> None:
        self._group = group
        self._asked = facts
        self._operations = operations
        self._facts: GroupFacts | None = None

    def before(self, told: Any) -> None:
        """An operation is about to be issued."""
        try:
            op_type = _OPERATIONS.get(told.name.value)
            if op_type is not None:
                facts = self._facts
                if facts is None:
                    facts = self._facts = self._asked(self._group())
                self._operations.begins(facts, op_type, told, told.root, told.op_id, sys._getframe().f_back)
        except Exception as ours:
            self._operations.failed(ours)

    def after(self, told: Any) -> None:
        """It has been issued."""
        try:
            if self._facts is not None:
                self._operations.issued(self._facts, told.op_id)
        except Exception as ours:
            self._operations.failed(ours)


def _facts(group: Any, index: int) -> GroupFacts:
    world = _world()
    ranks = tuple(world.pg_group_ranks.get(group) or range(group.size()))
    backend = world.pg_map.get(group, ("",))[0]
    name = world.pg_names.get(group, "") or getattr(group, "group_name", "")
    description = getattr(group, "group_desc", "")
    return GroupFacts(
        index, str(name), ranks, group.rank(), str(backend), "" if description == "undefined" else str(description)
    )


# Where process groups tell of themselves, torch's function that notes each new one is watched; else their methods are.

_open: list[ProcessGroups] = []
_lock = RLock()
_watched: dict[tuple[Any, str], Any] = {}


def _tells() -> bool:
    return hasattr(distributed.ProcessGroup, "register_pre_hook")


def _c10d() -> Any:
    return sys.modules["torch.distributed.distributed_c10d"]


def _world() -> Any:
    return _c10d()._world


def _watch() -> None:
    if _watched:
        return
    _replace(_c10d(), "_register_pg_in_world", _noticing)
    if not _tells():
        for method, op_type in _METHODS.items():
            _replace(distributed.ProcessGroup, method, partial(_telling, op_type))


def _unwatch() -> None:
    for (where, name), function in _watched.items():
        setattr(where, name, function)
    _watched.clear()


def _replace(where: Any, name: str, make: Callable[[Any], Any]) -> None:
    function = vars(where).get(name)  # as it is there: what is asked for may be bound
    if function is not None:
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


def _telling(op_type: str, method: Any) -> Any:
    @wraps(method)
    def issue(self: Any, *args: Any, **kwargs: Any) -> Any:
        run: Callable[[], Any] = partial(method.__get__(self, type(self)), *args, **kwargs)
        for groups in tuple(_open):
            groups.adopt(self)
            run = partial(groups.call, self, op_type, _given(op_type, args), _root(op_type, args), run)
        return run()

    return issue


def _given(op_type: str, args: tuple[Any, ...]) -> Given:
    """The tensors that go in and come out."""
    if op_type == "barrier" or not args:
        return Given([], [])
    first = tensors_in(args[0])
    if op_type in _SENT_ONLY:
        return Given(first, [])
    return Given([] if op_type == "recv" else tensors_in(args[1]), first)


def _root(op_type: str, args: tuple[Any, ...]) -> int:
    if op_type in ("send", "recv"):
        return args[1] if len(args) > 2 else -1
    return next((arg.rootRank for arg in args if hasattr(arg, "rootRank")), -1)
