"""What is in the values of forward: measured right after the call that made them, and read once at the end.

What a call is given is looked at before the call, so that nobody is blamed for it: a tensor that was met for the first
time, and one that was written since it was measured, which its version counter tells. What modules hold is asked all at
once: see `recorder.capture.held_tensors`.

Whoever did not ask for this pays nothing: here are a mode, an `append` and hooks that stand in the place of others.
Nothing here keeps a tensor alive but the small ones with the numbers.
"""

from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, Literal
from weakref import WeakMethod, ref

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook

from recorder.capture.call_stack import CallStack
from recorder.capture.collectives import COLLECTIVES
from recorder.capture.function_mode import Watching
from recorder.capture.held_tensors import HeldTensors
from recorder.capture.raw_records import CALL, LEAF, MEET, OP, SOURCE, Log, made_before
from recorder.capture.tensor_facts import Reference, quietly, tensors_in
from recorder.capture.tensor_stats import Measure, Measures, tracing
from recorder.capture.value_records import measured_record, not_finite_record

__all__ = ["Measuring", "ValueHooks", "Values", "value_hooks"]

Values = Literal["stats", "digest"]
"""What is recorded of the values of forward: what is in them, and what two recordings compare of them."""

_CROWD = 10_000
"""So many tensors are remembered before those that are gone are looked for."""

_PLAIN = (Tensor, nn.Parameter)

_NOT_YET = -1
"""The version of a tensor that is to be measured when it is next used."""


def _functions(*names: str) -> frozenset[Any]:
    return frozenset(f for name in names for home in (torch, Tensor) if (f := getattr(home, name, None)) is not None)


_UNINITIALIZED = _functions(
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_", "resize_as_"
)
"""What these make holds whatever was in memory."""

_RESHAPING = _functions(
    "clone", "contiguous", "detach", "flatten", "reshape", "squeeze", "unflatten", "unsqueeze", "view", "view_as"
)
"""What these make has the elements of what they are given, in the same order, if it is of the same dtype."""

_REARRANGING = _RESHAPING | _functions(
    "adjoint", "movedim", "moveaxis", "permute", "swapaxes", "swapdims", "t", "transpose"
)
"""The same, in whatever order."""

_COPYING = _functions("to", "cpu", "copy_")
"""These may go on from device to device after they have returned."""


class _Seen:
    """A tensor that was looked at: which version of it, and what was measured; None where nothing could be."""

    __slots__ = ("measure", "reference", "version")

    def __init__(self, reference: Reference, version: int, measure: Measure | None) -> None:
        self.reference = reference
        self.version = version
        self.measure = measure


class ValueHooks:
    """Measures the tensors of one recording.

    Args:
        log: where records go.
        calls: the module calls in progress.
        functions: whether functions are recorded. If not, they may write what nobody sees.
        digest: whether there is to be a digest of each, for which the order of the elements counts, and of integers,
            too, since what differs may have come of an index.
    """

    def __init__(self, log: Log, calls: CallStack, functions: bool, digest: bool = False) -> None:
        self._failed: Callable[[], Callable[[Exception], None] | None] = lambda: None
        self._log = log
        self._calls = calls
        self._functions = functions
        self._measures = Measures(mean=True, digest=digest)
        self._digest = digest
        self._alike = _RESHAPING if digest else _REARRANGING
        self._held = HeldTensors()
        self._seen: dict[int, _Seen] = {}
        self._crowded = _CROWD
        self._writes = 0  # the version of tensors that do not count theirs: how many writes were seen

    def install(self, failed: Callable[[Exception], None]) -> list[Any]:
        """Install the hooks on modules, before those that record calls; returns their handles. ``failed``, a method, is
        told an error of our own; what it belongs to knows us.
        """
        self._failed = WeakMethod(failed)
        return [register_module_forward_pre_hook(self._before), register_module_forward_hook(self._after)]

    def begin(self, modules: Iterable[nn.Module]) -> None:
        """A call of a recorded model from outside begins. ``modules``: all that may be called in it."""
        with quietly():
            check = self._held.look_at_all(modules)
        if check is not None:
            self._log.extend(not_finite_record(check))
        if len(self._seen) > self._crowded:
            for key in [key for key, seen in self._seen.items() if seen.reference() is None]:
                del self._seen[key]
            self._crowded = max(_CROWD, 2 * len(self._seen))

    def read(self) -> None:
        """Fetch from the devices what was measured so far. This waits for them; nothing else here does."""
        self._measures.read()
        self._held.read()

    def append(self, record: Iterable[Any]) -> None:
        """Append a record, and what is in the tensors that it tells of."""
        record = record if type(record) is list else list(record)
        self._log.extend(record)
        if tracing() is not None:
            return
        try:
            at = 4 if record[0] is SOURCE else 0
            if record[at] is CALL:
                at += 3
            tag = record[at]
            if tag is MEET:
                self._met(record[1])
            elif tag is OP:
                self._made(made_before(record, len(record) - 1), record[at + 1], record[at + 5 : at + 7])
            elif tag is LEAF:
                self._made(made_before(record, len(record) - 2))
        except Exception as ours:
            self._fault(ours)

    # What is given

    def look(self, args: Any, kwargs: Any = None) -> None:
        """Look at what a call is going to be given, or has returned, whose own record tells of it."""
        inside = bool(self._calls.stack)
        with quietly():
            for item in args:
                if type(item) in _PLAIN:
                    self._look_at(item, inside)
                elif isinstance(item, list | tuple | dict):
                    for tensor in tensors_in(item):
                        self._look_at(tensor, inside)
            if kwargs:
                for tensor in tensors_in(kwargs):
                    self._look_at(tensor, inside)
                if "out" in kwargs:
                    self._writes += 1

    def _before(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        stack = self._calls.stack
        if get_ident() != self._calls.owner or (stack and stack[-1].silent):
            return
        try:
            if not self._functions:
                self._writes += 1
            self.look(args)
            if (module._parameters or module._buffers) and (stack or any(id(item) in self._seen for item in args)):
                with quietly():
                    check = self._held.look_at((module,))
                if check is not None:
                    self._log.extend(not_finite_record(check))
        except Exception as ours:
            self._fault(ours)

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        stack = self._calls.stack
        if get_ident() == self._calls.owner and stack and not stack[-1].silent:
            try:
                self.look((output,))
            except Exception as ours:
                self._fault(ours)

    def _look_at(self, tensor: Tensor, inside: bool) -> None:
        if type(tensor) not in _PLAIN:
            return
        seen = self._known(tensor)
        if seen is not None:
            version = self._version(tensor)
            if seen.version != version:
                seen.version, seen.measure = version, self._measures.measure(tensor)
                self._tell(seen)
        elif inside and self._counts(tensor) and tensor not in self._held:
            self._measure(tensor, ref(tensor))  # it is told of if it is met

    # What is met and made

    def _met(self, reference: Reference) -> None:
        tensor = reference()
        if tensor is None or type(tensor) not in _PLAIN or not self._counts(tensor) or tensor in self._held:
            return
        self._tell(self._known(tensor) or self._measure(tensor, reference))

    def _made(self, made: Iterable[Reference], function: Any = None, given: Log | tuple[()] = ()) -> None:
        """``given``: the first arguments of a function."""
        for reference in made:
            tensor = reference()
            if tensor is None or type(tensor) not in _PLAIN or not self._counts(tensor):
                continue
            seen = self._known(tensor)
            wrote = seen is not None and function is not None and getattr(function, "__name__", "").endswith("_")
            if wrote:
                self._writes += 1
            version = self._version(tensor)
            if function in COLLECTIVES or (function in _COPYING and _crosses(tensor, given)):
                self._seen[id(tensor)] = _Seen(reference, _NOT_YET, None)
                continue
            if function in _UNINITIALIZED:
                self._seen[id(tensor)] = _Seen(reference, version, None)
                continue
            if seen is None or wrote or seen.version != version or seen.measure is None:
                measure = self._same(tensor, given) if function in self._alike else None
                seen = self._seen[id(tensor)] = _Seen(reference, version, measure or self._measures.measure(tensor))
            self._tell(seen)

    def _same(self, tensor: Tensor, given: Log | tuple[()]) -> Measure | None:
        """What was measured of the tensor that another one has the elements of."""
        if not given:
            return None
        source = _alive(given[0])
        seen = self._known(source)
        if seen is None or seen.measure is None:
            return None
        return seen.measure if source.dtype == tensor.dtype and seen.version == self._version(source) else None

    def _known(self, tensor: Any) -> _Seen | None:
        seen = self._seen.get(id(tensor))
        return seen if seen is not None and seen.reference() is tensor else None

    def _measure(self, tensor: Tensor, reference: Reference) -> _Seen:
        seen = self._seen[id(tensor)] = _Seen(reference, self._version(tensor), self._measures.measure(tensor))
        return seen

    def _fault(self, error: Exception) -> None:
        failed = self._failed()
        if failed is not None:
            failed(error)

    def _tell(self, seen: _Seen) -> None:
        if seen.measure is not None:
            self._log.extend(measured_record(seen.reference, seen.measure))

    def _counts(self, tensor: Tensor) -> bool:
        return self._digest or tensor.dtype.is_floating_point or tensor.dtype.is_complex

    def _version(self, tensor: Tensor) -> int:
        return self._writes if tensor.is_inference() else tensor._version


def value_hooks(
    wanted: Values | None, log: Log, calls: CallStack, functions: bool
) -> tuple[ValueHooks | None, Callable[[Iterable[Any]], None]]:
    """What measures values, if they are wanted, and what appends records then."""
    hooks = None if wanted is None else ValueHooks(log, calls, functions, wanted == "digest")
    return hooks, log.extend if hooks is None else hooks.append


class Measuring(Watching):
    """Records the functions that are called, and before each looks at what it is given."""

    def __init__(self, look: Callable[..., None], before_backward: Callable[[], None] | None, *recording: Any) -> None:
        super().__init__(before_backward or _nothing, *recording)
        self._look = look

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if not (self._stack and self._stack[-1].silent):
            try:
                self._look(args, kwargs)
            except Exception as ours:
                self._failed(ours)
        return super().__torch_function__(func, types, args, kwargs)


def _nothing() -> None:
    pass


def _crosses(tensor: Tensor, given: Iterable[Any]) -> bool:
    """Whether a copy comes from another device to the CPU, where nobody waits for it."""
    if tensor.device.type != "cpu":
        return False
    sources = map(_alive, given)
    return any(source is not None and source.device.type != "cpu" for source in sources)


def _alive(argument: Any) -> Any:
    """The tensor that an argument of a record is, if it is one."""
    return argument() if type(argument) is ref else None
