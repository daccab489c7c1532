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
from recorder.capture.call_stack import Entry
from recorder.capture.describe import name_function, plain
from recorder.capture.nested import list_from, mapping_from, only_tensors, references_in
from recorder.capture.raw_records import OUTERMOST, RECOMPUTED, Log, Tag
from recorder.capture.tensor_facts import SEQUENCE
from recorder.capture.tensor_stats import Measure

__all__ = ["Decoder"]

OP, LEAF, MODULE = Tag.OP, Tag.LEAF, Tag.MODULE  # an Enum's members are slow to get
LIST, MAP, END = Tag.LIST, Tag.MAP, Tag.END

Items = Iterator[Any]
Attributes = dict[str, Any]

_ROLES: tuple[Literal["parameter", "buffer"], ...] = ("parameter", "buffer")

_PASSES = 64
"""So many backward passes can be under way when a `Decoder` forgets."""

_Numbers = defaultdict[int, int]
"""Gives what is new the next number."""

_NONE: Attributes = {}
_as_key = msgspec.json.Encoder().encode


class _Reader:
    """A place in a log. ``items`` goes on from there, ``next`` takes one item, the others so many at once, which is
    faster than one by one.
    """

    __slots__ = ("five", "four", "items", "next", "seven", "six", "three")

    def __init__(self, log: Log) -> None:
        self.items = items = iter(log)
        self.next: Callable[[], Any] = items.__next__
        self.three, self.four, self.five, self.six, self.seven = (
            zip(*[items] * n, strict=True).__next__ for n in range(3, 8)
        )


class Decoder:
    """Turns the records of one recorder into events. Numbers go on from one call of `decode` to the next.

    Args:
        origin: the time, on the clock of the records, that counts as zero.
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
        self._source: str | None = None
        self._kinds: dict[Any, tuple[tuple[int, ...], str, str, str | None]] = {}
        self._metas: dict[tuple[Any, ...], ev.TensorMeta] = {}
        self._attributes: dict[bytes, Attributes] = {}
        self._listed: dict[bytes, Attributes] = {}

    def decode(self, log: Log) -> Iterator[ev.Event]:
        """The events for new records."""
        readers: dict[int, Callable[[_Reader], ev.Event | None]] = {  # by id, since an Enum's hash is slow
            id(Tag.ENTER): self._enter,
            id(Tag.LEAVE): self._leave,
            id(Tag.MEET): self._meet,
            id(Tag.MEMBERS): self._members,
            id(Tag.SOURCE): self._place,
            id(Tag.DERIVED): self._derived,
            id(Tag.GRAD): self._grad,
            id(Tag.PARAMETER): self._parameter,
        }
        reader = _Reader(log)
        for tag in reader.items:
            if tag is OP:
                yield self._op(reader)
            elif tag is LEAF:
                yield self._leaf(reader)
            elif tag is MODULE:
                yield from self._module(reader)
            else:
                event = readers[id(tag)](reader)
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
        for address in self._storages.keys() - remembered.values():
            del self._storages[address]
        for backward in sorted(self._passes)[:-_PASSES]:
            del self._passes[backward]
        for shared in (self._metas, self._attributes, self._listed, self._kinds):
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

    def _numbers(self, items: Items, parts: int = 1) -> tuple[int, ...]:
        """The tensors in some parts of a record, each up to its END, in order, in any nesting."""
        numbers: list[int] = []
        tensors = self._tensors
        depth = parts
        for item in items:
            if type(item) is ref:
                number = tensors.get(id(item))
                numbers.append(self._number(item) if number is None else number)
            elif item is END:
                depth -= 1
                if depth == 0:
                    break
            elif item is LIST or item is MAP:
                depth += 1
        return tuple(numbers)

    def _arguments(self, reader: _Reader) -> tuple[tuple[int, ...], Attributes, list[str]]:
        """The tensors among positional and keyword arguments; what is no tensor, by name, or as ``arg1`` by position;
        and the names of the keywords.
        """
        numbers: list[int] = []
        attributes: Attributes = {}
        tensors = self._tensors
        items = reader.items
        for position, item in enumerate(items):
            if type(item) is ref:
                number = tensors.get(id(item))
                numbers.append(self._number(item) if number is None else number)
            elif item is END:
                break
            else:
                self._argument(f"arg{position}", item, items, numbers, attributes)
        keywords: list[str] = []
        for name in items:
            if name is END:
                break
            keywords.append(name)
            self._argument(name, reader.next(), items, numbers, attributes)
        return tuple(numbers), self._same(attributes) if attributes else _NONE, keywords

    def _same(self, attributes: Attributes) -> Attributes:
        """One object for equal attributes; ``1`` and ``True`` are equal to Python, and not as JSON."""
        try:
            return self._attributes.setdefault(_as_key(attributes), attributes)
        except UnicodeError:  # a lone surrogate, which JSON cannot hold
            return attributes

    def _argument(self, name: str, item: Any, items: Items, numbers: list[int], attributes: Attributes) -> None:
        if item is LIST or item is MAP:
            item = list_from(items) if item is LIST else mapping_from(items)
            numbers += map(self._number, references_in(item))
        elif type(item) is ref:
            numbers.append(self._number(item))
        if not only_tensors(item):
            attributes[name] = plain(item)

    def _outputs(self, reader: _Reader, given: tuple[int, ...]) -> tuple[tuple[ev.Output, ...], list[int]]:
        """What a call returned or wrote to, and the tensors among it that the call was given."""
        outputs: list[ev.Output] = []
        again: list[int] = []
        for reference in reader.items:
            if reference is END:
                break
            number = self._tensors.get(id(reference))
            if number is None:
                number = self._number(reference)
            elif number in given:
                again.append(number)
            facts = reader.seven()
            meta = self._same_meta(facts) if facts[SEQUENCE] is None else self._meta(facts)
            outputs.append(ev.Output(number, meta))
        return tuple(outputs), again

    def _meta(self, facts: tuple[Any, ...]) -> ev.TensorMeta:
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
        storage = None if address is None else self._storages[address]
        return ev.TensorMeta(sizes, type_name, place, requires_grad, grad_fn, sequence, storage)

    def _same_meta(self, facts: tuple[Any, ...]) -> ev.TensorMeta:
        """The same for facts that are heard again and again: memory is used again, where autograd does not hold it."""
        meta = self._metas.get(facts)
        if meta is None:
            meta = self._metas[facts] = self._meta(facts)
        return meta

    def _gradient(self, shape: Any, reader: _Reader) -> ev.TensorMeta | None:
        """What facts that begin with this shape say of a gradient, whose memory is not told; None if there is none."""
        return None if shape is None else self._same_meta((shape, *reader.six()[:-1], None))

    # Records

    def _op(self, reader: _Reader) -> ev.Op:
        function, start, stop, error = reader.four()
        try:
            op_type, target = self._names[function]
        except KeyError:
            op_type, target = self._names[function] = name_function(function)
        inputs, attributes, keywords = self._arguments(reader)
        outputs, again = self._outputs(reader, inputs)
        source, self._source = self._source, None
        return ev.Op(
            op_type,
            start - self._origin,
            stop - self._origin,
            target,
            None,
            None,
            inputs,
            outputs,
            tuple(again) if again and _writes(op_type, target, attributes, keywords) else (),
            attributes,
            error,
            False,
            False,
            source,
        )

    def _leaf(self, reader: _Reader) -> ev.Op:
        entry, key, flags, start, stop, error = reader.six()
        inputs = self._numbers(reader.items, 2)
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
            _NONE,
            error,
            flags == OUTERMOST,
            flags == RECOMPUTED,
        )

    def _enter(self, reader: _Reader) -> ev.Enter:
        entry, key, flags, start = reader.four()
        module, inputs = self._modules[id(entry)][0], self._numbers(reader.items)
        return ev.Enter(key, module, start - self._origin, inputs, flags == OUTERMOST, flags == RECOMPUTED)

    def _leave(self, reader: _Reader) -> ev.Leave:
        key, stop, error = reader.three()
        inputs, outputs = self._numbers(reader.items, 2), self._numbers(reader.items)
        return ev.Leave(key, stop - self._origin, inputs, outputs, error)

    def _meet(self, reader: _Reader) -> ev.Tensor | None:
        reference = reader.next()
        new = id(reference) not in self._tensors
        number, meta = self._number(reference), self._meta(reader.seven())
        return ev.Tensor(number, meta) if new else None

    def _module(self, reader: _Reader) -> Iterator[ev.Event]:
        entry, fqn, root, listed = reader.four()
        before = f"{fqn}." if fqn else ""
        members: list[tuple[ev.Member, ...]] = []
        for role in _ROLES:
            held: list[ev.Member] = []
            for name in reader.items:
                if name is END:
                    break
                reference = reader.next()
                number, facts = self._tensors.get(id(reference)), reader.seven()
                if number is None:
                    number = self._number(reference)
                    yield ev.Tensor(number, self._meta(facts), role, before + name)
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
            return _named(listed)
        attributes = self._listed.get(key)
        if attributes is None:
            attributes = self._listed[key] = self._same(_named(listed))
        return attributes

    def _place(self, reader: _Reader) -> None:
        self._source = intern(f"{reader.next()}:{reader.next()}")

    def _members(self, reader: _Reader) -> ev.Members:
        return ev.Members(self._modules[id(reader.next())][0], self._numbers(reader.items))

    def _derived(self, reader: _Reader) -> ev.Derived:
        return ev.Derived(self._number(reader.next()), self._numbers(reader.items))

    def _grad(self, reader: _Reader) -> ev.Grad:
        key, phase, now, backward = reader.four()
        gradients: list[ev.TensorMeta | None] = []
        for shape in reader.items:
            if shape is END:
                break
            gradients.append(self._gradient(shape, reader))
        stats = tuple([_stats(measure) for measure in list_from(reader.items)])
        return ev.Grad(key, phase, now - self._origin, self._passes[backward], tuple(gradients), stats)

    def _parameter(self, reader: _Reader) -> ev.ParameterGrad | None:
        reference, now, backward, measure, shape = reader.five()
        meta = self._gradient(shape, reader)
        number = self.number(reference)
        if number is None:
            return None  # the model no longer has it
        return ev.ParameterGrad(number, now - self._origin, self._passes[backward], meta, _stats(measure))


def _stats(measure: Measure | None) -> ev.GradStats | None:
    numbers = None if measure is None else measure.numbers()
    return None if numbers is None else ev.GradStats(*numbers)


def _named(listed: list[Any]) -> Attributes:
    values = dict(zip(listed[::2], listed[1::2], strict=True))
    return {name: plain(values[name]) for name in sorted(values)}


def _writes(op_type: str, target: str, attributes: Attributes, keywords: list[str]) -> bool:
    """Whether a function that returned one of its inputs changed it, and did not just hand it on."""
    if op_type == "setitem" or "out" in keywords or attributes.get("inplace") is True:
        return True
    if op_type.endswith("_"):
        return op_type not in ("requires_grad_", "retain_grad_", "share_memory_")
    flags = (name for name, value in attributes.items() if value is True and name != "arg0" and name not in keywords)
    return target.startswith("torch.nn.functional.") and any(flags)
