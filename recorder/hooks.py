"""The sources of events: what runs while the model runs.

Everything here is on the model's hot path, so it appends one small tuple for each call and decides nothing that can
wait: names, attributes and nesting are worked out afterwards, by `recorder.decode`.

What is seen, and how:

* **Module calls**, through torch's global module hooks. Hooks on each module would switch fused paths off.
* **Function calls** between modules, through a `TorchFunctionMode`. It leaves the stack while a childless ``torch.nn``
  module runs: its inside is no news, and an active mode would change which kernels torch picks there.
* **Backward**, through hooks on autograd nodes. They add nothing to the autograd graph.

Tensors are known by weak references: `known` maps ``id(tensor)`` to a reference, and a tensor is known if that
reference still points at it. Nothing here keeps a tensor, an autograd node or a module alive.

The raw records, by their first element:

    OP      function, args, kwargs, outputs, start, stop, error
    LEAF    entry, args, kwargs, outputs, start, stop, error, key, flags
    ENTER   entry, args, start, key, flags
    LEAVE   entry, args, kwargs, outputs, stop, error, key
    MEET    reference, facts
    DERIVED reference, references
    GRAD    key, phase, time, backward, facts of each gradient

``args`` are as they were given, with references for tensors and text for what is not plain. ``outputs`` of OP and LEAF
are pairs of a reference and facts, those of LEAVE references. Facts are a tuple: shape, dtype, device, requires_grad,
the type of grad_fn, its sequence number, the address of the storage.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import partial
from itertools import count
from threading import get_ident
from time import perf_counter_ns as clock
from types import MethodWrapperType
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode

__all__ = ["DERIVED", "ENTER", "GRAD", "LEAF", "LEAVE", "MEET", "OP", "OUTERMOST", "RECOMPUTED", "Capture", "Entry"]

OP, LEAF, ENTER, LEAVE, MEET, DERIVED, GRAD = range(7)
OUTERMOST, RECOMPUTED = 1, 2

Facts = tuple[Any, ...]
Reference = ref[Tensor]
Record = tuple[Any, ...]

# The stack of torch function modes has no public interface for a mode to leave it and come back.
_depth = torch._C._len_torch_function_stack
_pop = torch._C._pop_torch_function_stack
_push = torch._C._push_on_torch_function_stack
_backward_id: Callable[[], int] = torch._C._current_graph_task_id  # type: ignore[attr-defined]  # -1 outside of backward
_quietly = torch._C.DisableTorchFunction

_PLAIN = frozenset({int, float, bool, str, bytes, complex, type(None), torch.dtype, torch.device, torch.Size, slice})
_TENSOR_GETTERS = frozenset({"T", "H", "mT", "mH", "real", "imag", "data"})
_FUSED = (nn.TransformerEncoder, nn.TransformerEncoderLayer)
"""Modules with children that look for an active mode, and run other kernels if there is one."""
_LONGEST = 64
"""So many plain items of a list among the arguments are kept."""
_DEEPEST = 8
"""So many levels of lists, mappings and dataclasses among arguments and results are looked through."""


class Entry:
    """What the hot path needs to know of a module. ``leaf``: recorded as one call without an inside. ``root``: given to
    the recorder; ``own``: part of a root, None as long as nobody had to know."""

    __slots__ = ("__weakref__", "fused", "leaf", "own", "reference", "root", "type")

    def __init__(self, module: nn.Module, root: bool, reference: "ref[nn.Module]") -> None:
        self.type = type(module)
        self.root = root
        self.own: bool | None = root or None
        self.reference = reference
        in_torch = self.type.__module__.startswith(("torch.nn.", "torch.ao.nn."))
        # MultiheadAttention has one child, which it never calls.
        self.leaf = in_torch and (not module._modules or isinstance(module, nn.MultiheadAttention))
        self.fused = isinstance(module, _FUSED)


class _Frame:
    """A module call in progress. ``popped``: the modes that have to be put back when it ends."""

    __slots__ = ("entry", "flags", "key", "popped", "start")

    def __init__(self, entry: Entry, start: int, key: int, flags: int, popped: "tuple[_Mode, ...]") -> None:
        self.entry = entry
        self.start = start
        self.key = key
        self.flags = flags
        self.popped = popped


class _Mode(TorchFunctionMode):
    """The base of every recorder's mode, so that nested recorders know each other's."""


class Capture:
    """Records one thread from `start` to `stop` into `log`; may be started again.

    Args:
        roots: the modules whose calls are recorded. They are not kept alive.
        functions: record functions too, not modules alone.

    Attributes:
        log: the raw records. Take them out from the front at any time.
        met: modules that were called for the first time. Take them out likewise.
        known: the tensors that the recording knows, by ``id``.
    """

    def __init__(self, roots: tuple[nn.Module, ...], functions: bool) -> None:
        self.log: list[Record] = []
        self.met: list[Entry] = []
        self.known: dict[int, Reference] = {}
        self._entries: dict[int, Entry] = {}
        self._roots = [ref(root) for root in roots]
        self._functions = functions
        self._frames: list[_Frame] = []
        self._keys = count()
        self._owner = get_ident()
        self._below = 0
        self._paused = False
        self._parameters: set[int] | None = None
        self._handles: list[Any] = []
        self._node_handles: list[Any] = []
        self._mode: _Mode | None = None
        self._by_sequence: dict[int, Reference] = {}

    def start(self) -> None:
        """Install every hook; the mode last, so that it is on top of the stack."""
        self._owner = get_ident()
        self._handles = [
            register_module_forward_pre_hook(self._enter),
            register_module_forward_hook(self._leave, with_kwargs=True, always_call=True),
        ]
        if self._functions:
            self._handles += [
                register_optimizer_step_pre_hook(self._pause),
                register_optimizer_step_post_hook(self._resume),
            ]
            self._below = _depth()
            self._mode = self._make_mode()
            _push(self._mode)

    def stop(self, error: BaseException | None = None) -> None:
        """Remove every hook. Calls that are still in progress end here, with the error that ended the block."""
        for handle in (*self._handles, *self._node_handles):
            handle.remove()
        self._handles, self._node_handles = [], []
        while self._frames:
            self._abandon(self._frames.pop(), None if error is None else describe_error(error))
        if self._mode is not None:
            _take_out(self._mode)
            self._mode = None

    # Module calls

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if get_ident() != self._owner:
            return
        entry = self._entries.get(id(module))
        if entry is None:
            entry = self._meet_module(module)
        flags = 0
        frames = self._frames
        if frames and (entry.root or frames[-1].entry.leaf):
            self._drop_stale_frames()
        if not frames:
            if _backward_id() != -1:
                flags = RECOMPUTED
            elif self._is_own(entry, module):
                flags = OUTERMOST
                self._paused = False
                self._parameters = None
            elif not self._consumes(args):
                return
        key = next(self._keys)
        if entry.leaf:
            frames.append(_Frame(entry, clock(), key, flags, self._pop_modes() if self._functions else ()))
        else:
            inputs = self._encode(args) if flags else None
            popped = self._pop_modes() if entry.fused and self._functions and not module.training else ()
            start = clock()
            self.log.append((ENTER, entry, inputs, start, key, flags))
            frames.append(_Frame(entry, start, key, flags, popped))

    def _leave(self, module: nn.Module, args: tuple[Any, ...], *rest: Any) -> None:
        # torch calls with (kwargs, output), but after an exception with (None,) alone.
        if get_ident() != self._owner:
            return
        stop = clock()
        frames = self._frames
        if not frames or frames[-1].entry is not self._entries.get(id(module)):
            if not self._unwind_to(module):
                return
        frame = frames.pop()
        error = None
        if len(rest) == 2:
            kwargs, output = rest
        else:
            # The frame that called us still has the keyword arguments that torch does not hand over.
            kwargs, output = sys._getframe(1).f_locals.get("kwargs") or {}, None
            error = describe_error(sys.exception())
        entry = frame.entry
        inputs, keywords = self._encode(args), kwargs and self._encode_keywords(kwargs)
        if entry.leaf:
            if type(output) is Tensor and not _depth():
                outputs: Any = (self._made(output, frame.key),)
            else:
                with _quietly():
                    outputs = tuple(self._made(t, frame.key) for t in _tensors(output))
            self.log.append((LEAF, entry, inputs, keywords, outputs, frame.start, stop, error, frame.key, frame.flags))
        else:
            with _quietly():
                references = []
                for tensor in _tensors(output):
                    references.append(self._refer(tensor))
                    if tensor.requires_grad and tensor.grad_fn is not None:
                        self._watch(tensor.grad_fn, frame.key, leave=False)
            self.log.append((LEAVE, entry, inputs, keywords, references, stop, error, frame.key))
        for mode in frame.popped:
            _push(mode)
        if frames and frames[-1].popped and not frames[-1].entry.leaf:
            # A fused module that calls its children did not take its fused path: from here on, all is seen.
            for mode in frames[-1].popped:
                _push(mode)
            frames[-1].popped = ()

    def _meet_module(self, module: nn.Module) -> Entry:
        key, entries = id(module), self._entries
        root = any(module is r for r in self.roots())
        entry = entries[key] = Entry(module, root, ref(module, lambda _: entries.pop(key, None)))
        self.met.append(entry)
        return entry

    def _is_own(self, entry: Entry, module: nn.Module) -> bool:
        if entry.own is None:
            entry.own = any(module is m for root in self.roots() for m in root.modules())
        return entry.own

    def roots(self) -> list[nn.Module]:
        """The recorded modules that are still there."""
        return [root for reference in self._roots if (root := reference()) is not None]

    # Calls that ended without torch telling: only an `Exception` is told, not a KeyboardInterrupt.

    def _drop_stale_frames(self) -> None:
        """Forget the calls in progress that no Python frame is running any more."""
        running = set()
        frame: Any = sys._getframe(2)
        while frame is not None:
            if frame.f_code is nn.Module._call_impl.__code__:
                running.add(id(frame.f_locals.get("self")))
            frame = frame.f_back
        keep = 0
        for f in self._frames:
            module = f.entry.reference()
            if module is None or id(module) not in running:
                break
            keep += 1
        while len(self._frames) > keep:
            self._abandon(self._frames.pop(), None)

    def _unwind_to(self, module: nn.Module) -> bool:
        """Forget the calls above this module's; False if it is not in progress at all."""
        entry = self._entries.get(id(module))
        if entry is None or all(frame.entry is not entry for frame in self._frames):
            return False
        while self._frames[-1].entry is not entry:
            self._abandon(self._frames.pop(), None)
        return True

    def _abandon(self, frame: _Frame, error: str | None) -> None:
        if frame.entry.leaf:  # leaves are recorded when they end, so the log does not have this one yet
            self.log.append((ENTER, frame.entry, None, frame.start, frame.key, frame.flags))
        if error is not None:
            self.log.append((LEAVE, frame.entry, (), None, (), clock(), error, frame.key))
        for mode in frame.popped:
            _push(mode)

    # Function calls

    def _make_mode(self) -> _Mode:
        # Locals of a closure are read faster than attributes.
        append, frames, known, below = self.log.append, self._frames, self.known, self._below
        encode, keywords, made, consumes = self._encode, self._encode_keywords, self._made, self._consumes

        class Mode(_Mode):
            def __torch_function__(
                self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
            ) -> Any:
                if not frames and not consumes(args, kwargs):
                    return func(*args, **kwargs) if kwargs else func(*args)
                start = clock()
                try:
                    result = func(*args, **kwargs) if kwargs else func(*args)
                except BaseException as error:
                    if type(func) is MethodWrapperType:
                        raise  # an attribute that a tensor lacks is no operation that failed
                    stop = clock()
                    append(
                        (OP, func, encode(args), kwargs and keywords(kwargs), (), start, stop, describe_error(error))
                    )
                    raise
                if type(result) is Tensor and below == 0 and type(func) is not MethodWrapperType:
                    stop = clock()
                    append((OP, func, encode(args), kwargs and keywords(kwargs), (made(result),), start, stop, None))
                elif result is None or type(result) not in _PLAIN:
                    stop = clock()
                    with _quietly():
                        outputs = _outputs(func, args, kwargs, result)
                        if outputs:
                            inputs = encode(args), kwargs and keywords(kwargs)
                            append((OP, func, *inputs, tuple(made(t) for t in outputs), start, stop, None))
                return result

        return Mode()

    def _consumes(self, args: Any, kwargs: Any = None) -> bool:
        """Whether a call from outside of every recorded one is given a tensor that the recording knows."""
        if self._paused:
            return False
        with _quietly():
            for tensor in (*_tensors(args), *_tensors(kwargs)):
                reference = self.known.get(id(tensor))
                if reference is not None and reference() is tensor:
                    return _backward_id() == -1
                if type(tensor) is nn.Parameter and self._is_parameter(tensor):
                    return _backward_id() == -1
        return False

    def _is_parameter(self, tensor: nn.Parameter) -> bool:
        if self._parameters is None:
            self._parameters = {id(p) for root in self.roots() for p in root.parameters()}
        return id(tensor) in self._parameters

    def _pause(self, *_: Any) -> None:
        """An optimizer's step is not the model's doing."""
        if get_ident() == self._owner:
            self._paused = True

    def _resume(self, *_: Any) -> None:
        if get_ident() == self._owner:
            self._paused = False

    def _pop_modes(self) -> "tuple[_Mode, ...]":
        """Take our modes off the stack: this recorder's, and those of recorders around it or inside it."""
        if _depth() == self._below + 1:
            top = _pop()
            if top is self._mode:
                return (top,)
            _push(top)
        popped: list[_Mode] = []
        while _depth():
            top = _pop()
            if not isinstance(top, _Mode):
                _push(top)
                break
            popped.insert(0, top)
        return tuple(popped)

    # Tensors

    def _encode(self, values: Any, depth: int = 0) -> tuple[Any, ...]:
        """Arguments as they were given, with references for tensors, and text for what could keep something alive."""
        known = self.known
        out: list[Any] = []
        for item in values:
            kind = type(item)
            if kind is Tensor or kind is nn.Parameter:
                reference = known.get(id(item))
                if reference is None or reference() is not item:
                    reference = self._meet(item)
                elif self._by_sequence:
                    self._derive(item, reference)
                out.append(reference)
            elif kind in _PLAIN:
                out.append(item)
            elif isinstance(item, Tensor):
                out.append(self._refer(item))
            elif depth > _DEEPEST:
                out.append("…")
            elif isinstance(item, list | tuple):
                inner = self._encode(item, depth + 1)
                if len(inner) > _LONGEST:
                    inner = tuple(i for n, i in enumerate(inner) if n < _LONGEST or type(i) not in _PLAIN)
                out.append(inner)
            elif isinstance(item, Mapping):
                out.append(self._encode_keywords(item, depth + 1))
            elif is_dataclass(kind):
                out.append(
                    self._encode_keywords({f.name: getattr(item, f.name, None) for f in fields(item)}, depth + 1)
                )
            else:
                out.append(f"<{kind.__name__}>")
        return tuple(out)

    def _encode_keywords(self, keywords: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        names = [k if type(k) is str else f"<{type(k).__name__}>" for k in keywords]
        return dict(zip(names, self._encode(keywords.values(), depth), strict=True))

    def _refer(self, tensor: Tensor) -> Reference:
        reference = self.known.get(id(tensor))
        return reference if reference is not None and reference() is tensor else self._meet(tensor)

    def _meet(self, tensor: Tensor) -> Reference:
        """A tensor that was not seen made."""
        reference = self.known[id(tensor)] = ref(tensor)
        with _quietly():
            self.log.append((MEET, reference, facts(tensor)))
            if not self._functions:
                self._derive(tensor, reference)
        return reference

    def _made(self, tensor: Tensor, key: int | None = None) -> tuple[Reference, Facts]:
        """A tensor that was seen made, by the module call ``key`` or by a function."""
        reference = self.known.get(id(tensor))
        if reference is None or reference() is not tensor:
            reference = self.known[id(tensor)] = ref(tensor)
        made = facts(tensor)
        if key is not None and made[5] is not None:
            node = tensor.grad_fn
            self._watch(node, key, leave=True)
            if not self._functions:
                self._by_sequence[made[5]] = reference
        return reference, made

    def _derive(self, tensor: Tensor, reference: Reference) -> None:
        """Without functions, ask autograd which known tensors one was computed from that was made unseen."""
        with _quietly():
            first = tensor.grad_fn
        if first is None or self._by_sequence.get(_sequence(first)) is reference:
            return
        sources: dict[int, Reference] = {}
        seen: set[int] = set()
        pending = [first]
        while pending:
            node = pending.pop()
            number = _sequence(node)
            if number in seen:
                continue
            seen.add(number)
            source = self._by_sequence.get(number)
            if source is not None:
                sources[number] = source
            else:
                pending += [n for n, _ in node.next_functions if n is not None and _sequence(n) != _ACCUMULATES]
        self._by_sequence[_sequence(first)] = reference
        if sources:
            # An autograd node made later has the higher number: in the order of making.
            self.log.append((DERIVED, reference, tuple(sources[n] for n in sorted(sources))))

    # Backward

    def _watch(self, node: Any, key: int, leave: bool) -> None:
        self._node_handles.append(node.register_prehook(partial(self._arrived, key)))
        if leave:
            self._node_handles.append(node.register_hook(partial(self._left, key)))

    def _arrived(self, key: int, gradients: tuple[Tensor | None, ...]) -> None:
        now = clock()
        with _quietly():
            self.log.append((GRAD, key, "arrive", now, _backward_id(), _facts_of(gradients)))

    def _left(self, key: int, to_inputs: tuple[Tensor | None, ...], _: Any) -> None:
        now = clock()
        with _quietly():
            self.log.append((GRAD, key, "leave", now, _backward_id(), _facts_of(to_inputs)))


_ACCUMULATES = 2**64 - 1
"""The sequence number of every AccumulateGrad: nothing was computed there."""


def _sequence(node: Any) -> int:
    number: int = node._sequence_nr()
    return number


def _facts_of(gradients: Any) -> tuple[Facts | None, ...]:
    return tuple(facts(g) if isinstance(g, Tensor) else None for g in gradients)


def facts(tensor: Tensor) -> Facts:
    """What a record says of a tensor. Call it where no torch function mode is active."""
    try:
        shape: Any = tensor.shape
        address = tensor.untyped_storage()._cdata
    except RuntimeError:
        # A nested tensor has no single size in some dimensions, a sparse one has no storage.
        shape = tuple(_size(tensor, dim) for dim in range(tensor.dim()))
        address = None
    if tensor.requires_grad:
        node = tensor.grad_fn
        if node is not None:
            return (shape, tensor.dtype, tensor.device, True, type(node), _sequence(node), address)
        return (shape, tensor.dtype, tensor.device, True, None, None, address)
    return (shape, tensor.dtype, tensor.device, False, None, None, address)


def _size(tensor: Tensor, dim: int) -> int:
    try:
        return tensor.size(dim)
    except RuntimeError:
        return -1


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """The tensors in any nesting of lists, tuples, sets, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif type(value) in _PLAIN or depth > _DEEPEST:
        return
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item, depth + 1)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item, depth + 1)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from _tensors(getattr(value, field.name, None), depth + 1)


def _outputs(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any] | None, result: Any) -> list[Tensor]:
    """The tensors that a function made or wrote; none if it only looked at them."""
    name = getattr(func, "__name__", "")
    if type(func) is MethodWrapperType:  # the getter or setter of a property
        attribute = getattr(func.__self__, "__name__", "")
        if name == "__set__" and attribute == "data":
            return [args[0]]
        return list(_tensors(result)) if name == "__get__" and attribute in _TENSOR_GETTERS else []
    if result is None and args and (name == "__setitem__" or (name.endswith("_") and not name.endswith("__"))):
        return list(_tensors(args[0]))
    return list(_tensors(result))


def _take_out(mode: _Mode) -> None:
    """Remove one mode from wherever it is on the stack."""
    above = []
    while _depth():
        top = _pop()
        if top is mode:
            break
        above.append(top)
    for other in reversed(above):
        _push(other)


def describe_error(error: BaseException | None) -> str:
    """``Type: message``, even where the message cannot be had."""
    if error is None:
        return "unknown error"
    try:
        text = str(error)
    except Exception:
        text = "<its message raised an error>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
