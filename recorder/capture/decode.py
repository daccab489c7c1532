"""From raw records to events: numbers for identities, names for objects, times counted from the start.

Kept apart from the hot path, and incremental: what has been decoded is not looked at again, so a recording can be
read while it goes on, and written out while it grows.

Written to be fast, since a run of a minute may have a million events: each part of a record is read from the same
iterator over the log, several items at once where their number is known; and what many events say alike is one object
for all of them, found by what the log says.
"""

import marshal
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from sys import intern
from typing import Any, Literal
from weakref import ref

import msgspec

from recorder import events as ev
from recorder.capture.collective_records import between_ranks
from recorder.capture.describe import name_function, named, plain
from recorder.capture.holdings import HOLDINGS, holdings
from recorder.capture.measured_events import grad_stats, value_stats
from recorder.capture.memory_records import MEMORY, read_memory
from recorder.capture.modules import Entry
from recorder.capture.raw_records import (
    BEGUN,
    CALL,
    DERIVED,
    ENTER,
    GRAD,
    LEAF,
    LEAVE,
    MEET,
    MEMBERS,
    MODULE,
    OP,
    OUTERMOST,
    PARAMETER,
    RECOMPUTED,
    SOURCE,
    Log,
    Reader,
    only_tensors,
)
from recorder.capture.tensor_facts import SEQUENCE, Facts
from recorder.capture.transforms import Transformed
from recorder.capture.value_records import MEASURED, NOT_FINITE, read_measured, read_not_finite
from recorder.capture.writes import writes

__all__ = ["Decoder"]

Attributes = dict[str, Any]

_ROLES: tuple[Literal["parameter", "buffer"], ...] = ("parameter", "buffer")

_PASSES = 64
"""So many backward passes can be under way when a `Decoder` forgets."""

_Numbers = defaultdict[int, int]
"""Gives what is new the next number."""

_NONE: Attributes = {}
_as_key = msgspec.json.Encoder().encode


class Decoder:
    """Turns the records of one recorder into events. Numbers go on from one call of `decode` to the next. ``origin`` is
    the time, on the clock of the records, that counts as zero.
    """

    def __init__(self, origin: int) -> None:
        self._origin = origin
        # By the reference's own id, so the references are kept too: no id must be used again for another.
        self._tensors: dict[int, int] = {}
        self._references: list[ref[Any]] = []
        self._modules: dict[int, tuple[int, Entry]] = {}
        self._next, self._next_module = count().__next__, count().__next__
        self._storages, self._passes = _Numbers(count().__next__), _Numbers(count().__next__)
        self._names: dict[Any, tuple[str, str]] = {}
        self._source: tuple[str | None, bool] = None, False
        self._call: tuple[int | None, int | None] = None, None
        self._kinds: dict[Any, tuple[tuple[int, ...], str, str, str | None]] = {}
        self._metas: dict[tuple[Any, ...], ev.TensorMeta] = {}
        self._attributes: dict[bytes, Attributes] = {}
        self._entered: dict[int, Entry] = {}  # of calls that have not ended
        self._tuples: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._listed: dict[bytes, Attributes] = {}
        self._not_finite: dict[int, str] = {}
        self._parameters: set[int] = set()

    def decode(self, log: Log) -> Iterator[ev.Event]:
        """The events for new records."""
        readers: dict[Any, Callable[[Reader], ev.Event | None]] = {
            ENTER: self._enter,
            LEAVE: self._leave,
            MEET: self._meet,
            MEMBERS: self._members,
            SOURCE: self._place,
            DERIVED: self._derived,
            GRAD: self._grad,
            PARAMETER: self._parameter,
            CALL: self._called,
            BEGUN: self._begun,
            HOLDINGS: lambda reader: holdings(next(reader.tags), self.number, self._modules),
            MEASURED: self._measured,
            MEMORY: lambda reader: read_memory(reader.tags, self._origin, self.number),
            NOT_FINITE: self._checked,
            **between_ranks(self._outputs, self._origin, self.number),
        }
        reader = Reader(log, self._tensors, self._number)
        for tag in reader.tags:
            if tag is OP:
                yield self._op(reader)
            elif tag is LEAF:
                yield self._leaf(reader)
            elif tag is MODULE:
                yield from self._module(reader)
            else:
                event = readers[tag](reader)
                if event is not None:
                    yield event

    def __len__(self) -> int:
        return len(self._tensors) + len(self._modules)

    def forget(self, remembered: Mapping[int, int | None]) -> tuple[set[int], set[int]]:
        """Forget what no later record can speak of: all tensors but these, given by the `id` of their references with
        the addresses of their storages, and the modules that are gone. Returns the numbers of the tensors and modules
        that are left.
        """
        self._references = [reference for reference in self._references if id(reference) in remembered]
        self._tensors = {key: number for key, number in self._tensors.items() if key in remembered}
        self._modules = {key: met for key, met in self._modules.items() if met[1].reference() is not None}
        left = set(self._tensors.values())
        self._parameters &= left
        self._not_finite = {number: content for number, content in self._not_finite.items() if number in left}
        for address in self._storages.keys() - remembered.values():
            del self._storages[address]
        for backward in sorted(self._passes)[:-_PASSES]:
            del self._passes[backward]
        for shared in (self._metas, self._attributes, self._listed, self._kinds, self._tuples):
            shared.clear()  # what is not used again must not pile up
        return set(self._tensors.values()), {number for number, _ in self._modules.values()}

    # Identities

    def number(self, reference: "ref[Any]") -> int | None:
        """The number of a tensor in the events so far; None if it is in none."""
        return self._tensors.get(id(reference))

    def _number(self, reference: "ref[Any]") -> int:
        """The number of a tensor; a new one gets the next."""
        number = self._tensors.get(id(reference))
        if number is None:
            number = self._tensors[id(reference)] = self._next()
            self._references.append(reference)
        return number

    # Parts of a record

    def _plain(self, values: Mapping[str, Any]) -> Attributes:
        """Arguments that are no tensors."""
        attributes = {name: plain(value) for name, value in values.items() if not only_tensors(value)}
        return self._same(attributes) if attributes else _NONE

    def _told(self, values: Mapping[str, Any]) -> Attributes:
        """A module's arguments without a tensor."""
        return self._same({name: plain(value) for name, value in values.items()}) if values else _NONE

    def _same_names(self, reader: Reader, count: int) -> tuple[str, ...]:
        names = reader.names(count)
        return self._tuples.setdefault(names, names)

    def _same(self, attributes: Attributes) -> Attributes:
        """One object for equal attributes; ``1`` and ``True`` are equal to Python, and not as JSON."""
        try:
            return self._attributes.setdefault(_as_key(attributes), attributes)
        except UnicodeError:  # a lone surrogate, which JSON cannot hold
            return attributes

    def _outputs(self, reader: Reader, given: tuple[int, ...]) -> tuple[tuple[ev.Output, ...], list[int]]:
        """What a call returned or wrote to, and the tensors among it that the call was given."""
        outputs: list[ev.Output] = []
        again: list[int] = []
        metas = self._metas
        for number, facts in reader.outputs():
            if number in given:
                again.append(number)
            if facts[SEQUENCE] is None:
                meta = metas.get(facts) or self._same_meta(facts)
            else:
                meta = self._meta(facts)
            outputs.append(ev.Output(number, meta))
        return tuple(outputs), again

    def _meta(self, facts: Facts) -> ev.TensorMeta:
        """What facts say."""
        shape, dtype, device, requires_grad, node, sequence, address = facts
        kind = self._kinds.get((shape, dtype, device, node))
        if kind is None:
            kind = self._kinds[shape, dtype, device, node] = (
                tuple([size if type(size) is int else -1 for size in shape]),  # -1 for a symbolic size
                str(dtype).removeprefix("torch."),
                str(device),
                None if node is None else node.__name__,
            )
        sizes, type_name, place, grad_fn = kind
        rest = address if type(address) is Transformed else ()
        storage = None if rest or address is None else self._storages[address]
        return ev.TensorMeta(sizes, type_name, place, requires_grad, grad_fn, sequence, storage, *rest)

    def _same_meta(self, facts: Facts) -> ev.TensorMeta:
        """The same for facts that are heard again and again: memory is used again, where autograd does not hold it."""
        meta = self._metas.get(facts)
        if meta is None:
            meta = self._metas[facts] = self._meta(facts)
        return meta

    def _gradient(self, facts: Facts | None) -> ev.TensorMeta | None:
        return None if facts is None else self._same_meta(facts)

    # Records

    def _op(self, reader: Reader) -> ev.Op:
        function, start, stop, error = reader.op()
        try:
            op_type, target = self._names[function]
        except KeyError:
            op_type, target = self._names[function] = name_function(function)
        inputs, values, keywords = reader.arguments()
        attributes = self._plain(values) if values else _NONE
        outputs, again = self._outputs(reader, inputs)
        (source, hook), self._source = self._source, (None, False)
        (call, began), self._call = self._call, (None, None)
        return ev.Op(
            op_type,
            start - self._origin,
            stop - self._origin,
            target,
            None,
            call,
            inputs,
            outputs,
            tuple(again) if again and writes(op_type, target, attributes, keywords) else (),
            attributes,
            error,
            False,
            False,
            source,
            (),
            (),
            began,
            hook,
        )

    def _leaf(self, reader: Reader) -> ev.Op:
        entry, key, flags, began, start, stop, error = reader.leaf()
        inputs, names, values = reader.given(entry.signature)
        outputs, again = self._outputs(reader, inputs)
        return ev.Op(
            entry.kind.type.__name__,
            start - self._origin,
            stop - self._origin,
            "",
            self._modules[id(entry)][0],
            key,
            inputs,
            outputs,
            tuple(again) if entry.inplace else (),
            self._told(values),
            error,
            flags == OUTERMOST,
            flags == RECOMPUTED,
            None,
            self._tuples.setdefault(names, names),
            self._same_names(reader, len(outputs)),
            began,
        )

    def _enter(self, reader: Reader) -> ev.Enter:
        entry, key, flags, began, start = reader.enter()
        module, inputs = self._modules[id(entry)][0], reader.tensors()
        self._entered[key] = entry
        return ev.Enter(key, module, start - self._origin, inputs, flags == OUTERMOST, flags == RECOMPUTED, began)

    def _leave(self, reader: Reader) -> ev.Leave:
        key, stop, error = reader.leave()
        inputs, names, values = reader.given(self._entered.pop(key).signature)
        outputs = reader.tensors()
        return ev.Leave(
            key,
            stop - self._origin,
            inputs,
            outputs,
            error,
            self._tuples.setdefault(names, names),
            self._same_names(reader, len(outputs)),
            self._told(values),
        )

    def _meet(self, reader: Reader) -> ev.Tensor | None:
        reference, facts = reader.meet()
        new = id(reference) not in self._tensors
        number, meta = self._number(reference), self._meta(facts)
        return ev.Tensor(number, meta) if new else None

    def _module(self, reader: Reader) -> Iterator[ev.Event]:
        entry, fqn, root, listed = reader.module()
        before = f"{fqn}." if fqn else ""
        members: list[tuple[ev.Member, ...]] = []
        for role in _ROLES:
            held: list[ev.Member] = []
            for name, reference, facts in reader.held():
                number = self._tensors.get(id(reference))
                if number is None:
                    number = self._number(reference)
                    yield ev.Tensor(number, self._meta(facts), role, before + name)
                    if role == "parameter":
                        self._parameters.add(number)
                held.append(ev.Member(name, number))
            members.append(tuple(held))
        if entry is None:
            return
        kind = entry.kind.type
        number = self._next_module()
        self._modules[id(entry)] = (number, entry)
        yield ev.Module(
            number,
            fqn,
            kind.__name__,
            intern(f"{kind.__module__}.{kind.__qualname__}"),
            entry.leaf,
            root,
            self._hyper_parameters(listed),
            *members,
        )

    def _hyper_parameters(self, listed: list[Any]) -> Attributes:
        """Names and values in turn as attributes: worked out once for all that list the same."""
        try:
            key = marshal.dumps(listed, 2)  # which tells 1 from True
        except ValueError:  # a dtype, say
            return named(listed)
        attributes = self._listed.get(key)
        if attributes is None:
            attributes = self._listed[key] = self._same(named(listed))
        return attributes

    def _place(self, reader: Reader) -> None:
        file, line, hook = reader.source()
        self._source = None if file is None else intern(f"{file}:{line}"), hook

    def _called(self, reader: Reader) -> None:
        self._call = reader.call()

    def _members(self, reader: Reader) -> ev.Members:
        return ev.Members(self._modules[id(reader.members())][0], reader.tensors())

    def _derived(self, reader: Reader) -> ev.Derived:
        return ev.Derived(self._number(reader.derived()), reader.tensors())

    def _grad(self, reader: Reader) -> ev.Grad:
        key, phase, now, backward, sequence = reader.grad()
        metas = tuple([self._gradient(facts) for facts in reader.gradients()])
        stats = tuple([grad_stats(measure) for measure in reader.measures()])
        return ev.Grad(key, phase, now - self._origin, self._passes[backward], metas, stats, sequence)

    def _measured(self, reader: Reader) -> ev.Measured | None:
        reference, measure = read_measured(reader.tags)
        stats = value_stats(measure)
        return None if stats is None else ev.Measured(self._number(reference), stats)

    def _checked(self, reader: Reader) -> ev.NotFinite | None:
        """All that is not finite, if it is not what it was."""
        return read_not_finite(reader.tags, self._not_finite, self.number)

    def _parameter(self, reader: Reader) -> ev.ParameterGrad | None:
        reference, now, backward, measure, facts = reader.parameter()
        meta = self._gradient(facts)
        number = self.number(reference)
        if number is None or number not in self._parameters:
            return None  # the model no longer has it
        return ev.ParameterGrad(number, now - self._origin, self._passes[backward], meta, grad_stats(measure))

    def _begun(self, reader: Reader) -> ev.BackwardStart:
        reference, facts, measure = reader.begun()
        return ev.BackwardStart(self._number(reference), self._same_meta(facts), grad_stats(measure))
