"""From raw records to events: numbers for identities, names for objects, times counted from the start.

Kept apart from the hot path, and incremental: what has been decoded is not looked at again, so a recording can be
read while it goes on, and written out while it grows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count
from typing import Any
from weakref import ref

from recorder import events as ev
from recorder.describe import name_function, plain
from recorder.hooks import Entry
from recorder.measure import Measure
from recorder.records import OUTERMOST, RECOMPUTED, Log, Tag

__all__ = ["Decoder"]

END, LIST, MAP = Tag.END, Tag.LIST, Tag.MAP

_PASSES = 64
"""So many backward passes can be under way when a `Decoder` forgets."""

Next = Callable[[], Any]
"""Gives the next item of the log."""


class Decoder:
    """Turns the records of one recorder into events. Numbers go on from one call of `decode` to the next.

    Args:
        origin: the time, on the clock of the records, that counts as zero.
    """

    def __init__(self, origin: int) -> None:
        self._origin = origin
        # Keyed by the reference's own id, so the reference is kept too: it must not be reused for another.
        self._tensors: dict[int, tuple[int, ref[Any]]] = {}
        self._modules: dict[int, tuple[int, Entry]] = {}
        self._storages: dict[int, int] = {}
        self._passes: dict[int, int] = {}
        self._new_tensor, self._new_module, self._new_storage, self._new_pass = count(), count(), count(), count()
        self._names: dict[Any, tuple[str, str]] = {}
        self._kinds: dict[Any, tuple[tuple[int, ...], str, str]] = {}

    def decode(self, log: Log) -> Iterator[ev.Event]:
        """The events for new records."""
        makers: dict[Tag, Callable[[Next], ev.Event | None]] = {
            Tag.OP: self._op,
            Tag.LEAF: self._leaf,
            Tag.ENTER: self._enter,
            Tag.LEAVE: self._leave,
            Tag.MEET: self._meet,
            Tag.HELD: self._held,
            Tag.MODULE: self._module,
            Tag.MEMBERS: self._members,
            Tag.DERIVED: self._derived,
            Tag.GRAD: self._grad,
            Tag.PARAMETER: self._parameter,
        }
        items = iter(log)
        following = items.__next__
        for tag in items:
            event = makers[tag](following)
            if event is not None:
                yield event

    # Identities

    def number(self, reference: "ref[Any]") -> int | None:
        """The number of a tensor in the events so far; None if it is in none."""
        known = self._tensors.get(id(reference))
        return None if known is None else known[0]

    def __len__(self) -> int:
        return len(self._tensors) + len(self._modules)

    def forget(self, remembered: Mapping[int, int | None]) -> tuple[set[int], set[int]]:
        """Forget what no later record can speak of: all tensors but these, given by the `id` of their references with
        the addresses of their storages, and the modules that are gone. Returns the numbers of the tensors and modules
        that are left.
        """
        self._tensors = {key: known for key, known in self._tensors.items() if key in remembered}
        self._modules = {key: met for key, met in self._modules.items() if met[1].reference() is not None}
        addresses = set(remembered.values())
        self._storages = {key: number for key, number in self._storages.items() if key in addresses}
        self._passes = dict(sorted(self._passes.items())[-_PASSES:])
        return {number for number, _ in self._tensors.values()}, {number for number, _ in self._modules.values()}

    def _number(self, reference: "ref[Any]") -> int:
        known = self._tensors.get(id(reference))
        if known is None:
            known = self._tensors[id(reference)] = (next(self._new_tensor), reference)
        return known[0]

    def _numbers(self, values: Iterable[Any]) -> list[int]:
        """The tensors among arguments, in order, in any nesting."""
        numbers: list[int] = []
        for value in values:
            if type(value) is ref:
                numbers.append(self._number(value))
            elif type(value) is list:
                numbers += self._numbers(value)
            elif type(value) is dict:
                numbers += self._numbers(value.values())
        return numbers

    def _arguments(self, following: Next) -> tuple[int, ...]:
        """The tensors among positional and keyword arguments."""
        return (*self._numbers(_values(following)), *self._numbers(_values(following)))

    # Parts of a record

    def _meta(self, following: Next, shared: bool = True) -> ev.TensorMeta:
        return self._meta_of(following(), following, shared)

    def _meta_of(self, shape: Any, following: Next, shared: bool) -> ev.TensorMeta:
        dtype, device, requires_grad = following(), following(), following()
        kind = self._kinds.get((shape, dtype, device))
        if kind is None:
            sizes = tuple([size if type(size) is int else -1 for size in shape])  # -1 for a symbolic size
            kind = sizes, str(dtype).removeprefix("torch."), str(device)
            self._kinds[shape, dtype, device] = kind
        grad_fn, sequence, address = following(), following(), following()
        storage = None
        if address is not None and shared:
            storage = self._storages.get(address)
            if storage is None:
                storage = self._storages[address] = next(self._new_storage)
        return ev.TensorMeta(
            *kind,
            requires_grad,
            None if grad_fn is None else grad_fn.__name__,
            sequence,
            storage,
        )

    def _outputs(self, following: Next) -> tuple[ev.Output, ...]:
        outputs = []
        while (reference := following()) is not END:
            outputs.append(ev.Output(self._number(reference), self._meta(following)))
        return tuple(outputs)

    # Records

    def _op(self, following: Next) -> ev.Op:
        function, start, stop, error = following(), following(), following(), following()
        args, kwargs = _values(following), _pairs(following)
        outputs = self._outputs(following)
        names = self._names.get(function)
        if names is None:
            names = self._names[function] = name_function(function)
        op_type, target = names
        inputs = (*self._numbers(args), *self._numbers(kwargs.values()))
        writes: tuple[int, ...] = ()
        if any(output.tensor in inputs for output in outputs) and _writes(op_type, target, args, kwargs):
            writes = tuple(output.tensor for output in outputs if output.tensor in inputs)
        return ev.Op(
            op_type,
            start - self._origin,
            stop - self._origin,
            target,
            None,
            None,
            inputs,
            outputs,
            writes,
            _attributes(args, kwargs),
            error,
        )

    def _leaf(self, following: Next) -> ev.Op:
        entry, key, flags, start, stop, error = (following() for _ in range(6))
        inputs, outputs = self._arguments(following), self._outputs(following)
        writes: tuple[int, ...] = ()
        if entry.inplace:
            writes = tuple(output.tensor for output in outputs if output.tensor in inputs)
        return ev.Op(
            entry.type.__name__,
            start - self._origin,
            stop - self._origin,
            "",
            self._modules[id(entry)][0],
            key,
            inputs,
            outputs,
            writes,
            {},
            error,
            flags == OUTERMOST,
            flags == RECOMPUTED,
        )

    def _enter(self, following: Next) -> ev.Enter:
        entry, key, flags, start = following(), following(), following(), following()
        module, inputs = self._modules[id(entry)][0], tuple(self._numbers(_values(following)))
        return ev.Enter(key, module, start - self._origin, inputs, flags == OUTERMOST, flags == RECOMPUTED)

    def _leave(self, following: Next) -> ev.Leave:
        key, stop, error = following(), following(), following()
        inputs, outputs = self._arguments(following), tuple(self._numbers(_values(following)))
        return ev.Leave(key, stop - self._origin, inputs, outputs, error)

    def _meet(self, following: Next) -> ev.Tensor | None:
        return self._tensor(following(), "constant", None, following)

    def _held(self, following: Next) -> ev.Tensor | None:
        return self._tensor(following(), following(), following(), following)

    def _tensor(self, reference: "ref[Any]", role: Any, name: str | None, following: Next) -> ev.Tensor | None:
        new = id(reference) not in self._tensors
        number, meta = self._number(reference), self._meta(following)
        return ev.Tensor(number, meta, role, name) if new else None

    def _module(self, following: Next) -> ev.Module:
        entry, fqn, root = following(), following(), following()
        attributes, parameters, buffers = _pairs(following), _pairs(following), _pairs(following)
        number = next(self._new_module)
        self._modules[id(entry)] = (number, entry)
        return ev.Module(
            number,
            fqn,
            entry.type.__name__,
            f"{entry.type.__module__}.{entry.type.__qualname__}",
            entry.leaf,
            root,
            {name: plain(attributes[name]) for name in sorted(attributes)},
            tuple(ev.Member(name, self._number(reference)) for name, reference in parameters.items()),
            tuple(ev.Member(name, self._number(reference)) for name, reference in buffers.items()),
        )

    def _members(self, following: Next) -> ev.Members:
        entry = following()
        return ev.Members(self._modules[id(entry)][0], tuple(self._numbers(_values(following))))

    def _derived(self, following: Next) -> ev.Derived:
        return ev.Derived(self._number(following()), tuple(self._numbers(_values(following))))

    def _grad(self, following: Next) -> ev.Grad:
        key, phase, now, backward = following(), following(), following(), following()
        gradients = []
        while (shape := following()) is not END:
            gradients.append(None if shape is None else self._meta_of(shape, following, shared=False))
        stats = tuple([_stats(measure) for measure in _values(following)])
        return ev.Grad(key, phase, now - self._origin, self._pass(backward), tuple(gradients), stats)

    def _parameter(self, following: Next) -> ev.ParameterGrad | None:
        reference, now, backward, measure = following(), following(), following(), following()
        shape = following()
        meta = None if shape is None else self._meta_of(shape, following, shared=False)
        number = self.number(reference)
        if number is None:
            return None  # the model no longer has it
        return ev.ParameterGrad(number, now - self._origin, self._pass(backward), meta, _stats(measure))

    def _pass(self, backward: int) -> int:
        number = self._passes.get(backward)
        if number is None:
            number = self._passes[backward] = next(self._new_pass)
        return number


def _stats(measure: Measure | None) -> ev.GradStats | None:
    numbers = None if measure is None else measure.numbers()
    return None if numbers is None else ev.GradStats(*numbers)


def _values(following: Next) -> list[Any]:
    """Everything up to END, with lists and mappings put together again."""
    values: list[Any] = []
    while (item := following()) is not END:
        if item is LIST:
            values.append(_values(following))
        elif item is MAP:
            values.append(_pairs(following))
        else:
            values.append(item)
    return values


def _pairs(following: Next) -> dict[str, Any]:
    values = _values(following)
    return dict(zip(values[::2], values[1::2], strict=True))


def _attributes(args: list[Any], kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments that are not tensors: by name, or as ``arg1`` by position."""
    found = {f"arg{i}": plain(value) for i, value in enumerate(args) if not _only_tensors(value)}
    for name, value in kwargs.items():
        if not _only_tensors(value):
            found[name] = plain(value)
    return found


def _only_tensors(value: Any) -> bool:
    if isinstance(value, list):
        return bool(value) and all(_only_tensors(item) for item in value)
    return type(value) is ref


def _writes(op_type: str, target: str, args: list[Any], kwargs: dict[str, Any]) -> bool:
    """Whether a function that returned one of its inputs changed it, and did not just hand it on."""
    if op_type == "setitem" or "out" in kwargs or kwargs.get("inplace") is True:
        return True
    if op_type.endswith("_"):
        return op_type not in ("requires_grad_", "retain_grad_", "share_memory_")
    return target.startswith("torch.nn.functional.") and any(a is True for a in args[1:])
