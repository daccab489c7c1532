"""From raw records to events: numbers for identities, names for objects, times counted from the start.

Kept apart from the hot path, and incremental: what has been decoded is not looked at again, so a recording can be
read while it goes on, and written out while it grows.
"""

from collections.abc import Iterable, Iterator
from typing import Any
from weakref import ref

from recorder import events as ev
from recorder.describe import Described, Held, name_function, plain
from recorder.hooks import Entry
from recorder.measure import Measure
from recorder.records import DERIVED, ENTER, GRAD, LEAF, LEAVE, MEET, OP, OUTERMOST, PARAMETER, RECOMPUTED, Record
from recorder.tensors import Facts

__all__ = ["Decoder"]


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
        self._calls: dict[int, int] = {}
        self._passes: dict[int, int] = {}
        self._names: dict[Any, tuple[str, str]] = {}
        self._texts: dict[Any, str] = {}
        self._next_tensor = 0
        self._next_call = 0

    def decode(
        self, described: Iterable[Described], held: Iterable[Held], records: Iterable[Record]
    ) -> Iterator[ev.Event]:
        """The events for new descriptions and new records."""
        for item in held:
            if id(item.reference) not in self._tensors:
                yield ev.Tensor(self._number(item.reference), self._meta(item.facts), item.role, item.name)  # type: ignore[arg-type]
        for module in described:
            yield self._module(module)
        makers = {
            OP: self._op,
            LEAF: self._leaf,
            ENTER: self._enter,
            LEAVE: self._leave,
            DERIVED: self._derived,
            GRAD: self._grad,
            PARAMETER: self._parameter,
        }
        for record in records:
            tag = record[0]
            if tag == MEET:
                if id(record[1]) not in self._tensors:
                    yield ev.Tensor(self._number(record[1]), self._meta(record[2]))
            else:
                event = makers[tag](*record[1:])  # type: ignore[operator]
                if event is not None:
                    yield event

    # Identities

    def _number(self, reference: "ref[Any]") -> int:
        known = self._tensors.get(id(reference))
        if known is None:
            known = self._tensors[id(reference)] = (self._next_tensor, reference)
            self._next_tensor += 1
        return known[0]

    def _call(self, key: int) -> int:
        number = self._calls.get(key)
        if number is None:
            number = self._calls[key] = self._next_call
            self._next_call += 1
        return number

    def _module(self, described: Described) -> ev.Module:
        entry = described.entry
        number = len(self._modules)
        self._modules[id(entry)] = (number, entry)
        return ev.Module(
            number,
            described.fqn,
            entry.type.__name__,
            f"{entry.type.__module__}.{entry.type.__qualname__}",
            entry.leaf,
            described.root,
            described.attributes,
            tuple(ev.Member(name, self._number(reference)) for name, reference in described.parameters),
            tuple(ev.Member(name, self._number(reference)) for name, reference in described.buffers),
        )

    def _meta(self, facts: Facts, shared: bool = True) -> ev.TensorMeta:
        shape, dtype, device, requires_grad, grad_fn, sequence, address = facts
        storage = None
        if address is not None and shared:
            storage = self._storages.get(address)
            if storage is None:
                storage = self._storages[address] = len(self._storages)
        return ev.TensorMeta(
            tuple(shape) if type(shape) is tuple else tuple(_size(size) for size in shape),
            self._text(dtype).removeprefix("torch."),
            self._text(device),
            requires_grad,
            None if grad_fn is None else grad_fn.__name__,
            sequence,
            storage,
        )

    def _text(self, thing: Any) -> str:
        text = self._texts.get(thing)
        if text is None:
            text = self._texts[thing] = str(thing)
        return text

    def _numbers(self, *arguments: Any) -> tuple[int, ...]:
        return tuple([self._number(reference) for reference in _references(arguments)])

    # Events

    def _op(
        self, function: Any, args: Any, kwargs: Any, outputs: Any, start: int, stop: int, error: str | None
    ) -> ev.Op | None:
        names = self._names.get(function)
        if names is None:
            names = self._names[function] = name_function(function)
        op_type, target = names
        inputs = self._numbers(args, kwargs)
        made = tuple([ev.Output(self._number(r), self._meta(facts)) for r, facts in outputs])
        writes: tuple[int, ...] = ()
        if any(output.tensor in inputs for output in made) and _writes(op_type, target, args, kwargs):
            writes = tuple(output.tensor for output in made if output.tensor in inputs)
        return ev.Op(
            op_type,
            start - self._origin,
            stop - self._origin,
            target,
            None,
            None,
            inputs,
            made,
            writes,
            _attributes(args, kwargs),
            error,
        )

    def _leaf(
        self,
        entry: Entry,
        args: Any,
        kwargs: Any,
        outputs: Any,
        start: int,
        stop: int,
        error: str | None,
        key: int,
        flags: int,
    ) -> ev.Op:
        inputs = self._numbers(args, kwargs)
        made = tuple([ev.Output(self._number(r), self._meta(facts)) for r, facts in outputs])
        writes: tuple[int, ...] = ()
        if entry.inplace:
            writes = tuple(output.tensor for output in made if output.tensor in inputs)
        return ev.Op(
            entry.type.__name__,
            start - self._origin,
            stop - self._origin,
            "",
            self._modules[id(entry)][0],
            self._call(key),
            inputs,
            made,
            writes,
            {},
            error,
            flags == OUTERMOST,
            flags == RECOMPUTED,
        )

    def _enter(self, entry: Entry, args: Any, start: int, key: int, flags: int) -> ev.Enter:
        module = self._modules[id(entry)][0]
        inputs = self._numbers(args)
        return ev.Enter(self._call(key), module, start - self._origin, inputs, flags == OUTERMOST, flags == RECOMPUTED)

    def _leave(
        self, _: Entry, args: Any, kwargs: Any, outputs: Any, stop: int, error: str | None, key: int
    ) -> ev.Leave:
        inputs = self._numbers(args, kwargs)
        return ev.Leave(self._call(key), stop - self._origin, inputs, self._numbers(outputs), error)

    def _derived(self, reference: "ref[Any]", sources: "tuple[ref[Any], ...]") -> ev.Derived:
        return ev.Derived(self._number(reference), self._numbers(sources))

    def _grad(self, key: int, phase: Any, now: int, backward: int, gradients: Any, measures: Any) -> ev.Grad:
        metas = tuple([None if facts is None else self._meta(facts, shared=False) for facts in gradients])
        stats = tuple([_stats(measure) for measure in measures])
        return ev.Grad(self._call(key), phase, now - self._origin, self._pass(backward), metas, stats)

    def _parameter(
        self, reference: "ref[Any]", now: int, backward: int, facts: Facts | None, measure: Measure | None
    ) -> ev.ParameterGrad | None:
        known = self._tensors.get(id(reference))
        if known is None:
            return None  # the model no longer has it
        meta = None if facts is None else self._meta(facts, shared=False)
        return ev.ParameterGrad(known[0], now - self._origin, self._pass(backward), meta, _stats(measure))

    def _pass(self, backward: int) -> int:
        return self._passes.setdefault(backward, len(self._passes))


def _stats(measure: Measure | None) -> ev.GradStats | None:
    numbers = None if measure is None else measure.numbers()
    return None if numbers is None else ev.GradStats(*numbers)


def _references(value: Any) -> Iterator["ref[Any]"]:
    """The references in encoded arguments, in order."""
    if type(value) is ref:
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _references(item)


def _attributes(args: Any, kwargs: Any) -> dict[str, Any]:
    """The arguments that are not tensors: by name, or as ``arg1`` by position."""
    found = {f"arg{i}": plain(a) for i, a in enumerate(args or ()) if not _only_tensors(a)}
    for name, value in (kwargs or {}).items():
        if not _only_tensors(value):
            found[name] = plain(value)
    return found


def _only_tensors(value: Any) -> bool:
    if isinstance(value, tuple):
        return bool(value) and all(_only_tensors(item) for item in value)
    return type(value) is ref


def _writes(op_type: str, target: str, args: Any, kwargs: Any) -> bool:
    """Whether a function that returned one of its inputs changed it, and did not just hand it on."""
    keywords = kwargs or {}
    if op_type == "setitem" or "out" in keywords or keywords.get("inplace") is True:
        return True
    if op_type.endswith("_"):
        return op_type not in ("requires_grad_", "retain_grad_", "share_memory_")
    return target.startswith("torch.nn.functional.") and any(a is True for a in args[1:])


def _size(size: Any) -> int:
    """-1 for a symbolic size."""
    return size if type(size) is int else -1
