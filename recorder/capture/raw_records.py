"""The raw records: what the hot path appends, and `recorder.capture.decode` reads. Writers and reader side by side.

They stand in one flat list, one after another, without a tuple or an object for each: what Python's garbage collector
has to visit again and again costs more than writing it down. A record is appended in one step, since gradients may
arrive on other threads.

Each begins with its tag and its head. Parts follow, each up to an END:

    OP       function, start, stop, error; args, kwargs, outputs
    CALL     key, began: of the OP that follows
    LEAF     entry, key, flags, began, start, stop, error; args, kwargs, outputs; names
    ENTER    entry, key, flags, began, start; args
    LEAVE    key, stop, error; args, kwargs, references; names
    MEET     reference, facts
    MODULE   entry or None, qualified name, root, attributes; parameters, buffers
    DERIVED  reference; references
    MEMBERS  entry; references
    SOURCE   file or None, line, hook: where the OP that follows was called, and whether by a hook around a forward
    GRAD     key, phase, time, backward, sequence; gradients, measures
    PARAMETER  reference, time, backward, measure, gradient
    BEGUN    reference, facts, measure: what backward is called on

``args`` are as they were given, with references for tensors and text for what is not plain; a list among them is LIST
… END, a mapping MAP … END: `recorder.capture.known_tensors` writes them. Keyword arguments and the items of mappings
are a name and a value in turn; attributes, too, in a sequence of their own; parameters and buffers are a name, a
reference and facts. A MODULE without an entry was not called, and holds tensors. Each output is a reference and facts;
each gradient facts without the address, since its memory is soon used again, or None. ``names`` of what a module
returned are one tuple, or None if that is a tensor by itself, or nothing. ``began`` is the number that autograd would
have given to the next node when the call began, ``sequence`` that of the node that gradients were seen at. Facts
are seven values: see `recorder.capture.tensor_facts`. Measures are `recorder.capture.tensor_stats.Measure`, or None.

Here is a writer for each record, and a method of `Reader` that is called as the record is. Where a call would cost on
the hot path, the record is written as a list in place; a test takes such records apart and writes them anew with the
writers.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal
from weakref import ref

from recorder.capture.encoded import END, LIST, MAP, Tag, listed, mapped, named_references, only_tensors, references_in
from recorder.capture.signatures import Signature
from recorder.capture.tensor_facts import ADDRESS, Facts, Reference

__all__ = [
    "BEGUN",
    "CALL",
    "DERIVED",
    "END",
    "ENTER",
    "GRAD",
    "LEAF",
    "LEAVE",
    "LIST",
    "MAP",
    "MEET",
    "MEMBERS",
    "MODULE",
    "OP",
    "OUTERMOST",
    "PARAMETER",
    "RECOMPUTED",
    "SOURCE",
    "Log",
    "Reader",
    "Tag",
    "begun_record",
    "call_record",
    "derived_record",
    "enter_record",
    "grad_record",
    "gradient_part",
    "leaf_record",
    "leave_record",
    "made_before",
    "meet_record",
    "members_record",
    "module_record",
    "only_tensors",
    "op_record",
    "parameter_record",
    "source_record",
    "unreturned_record",
]

Log = list[Any]

Phase = Literal["arrive", "leave"]
"""Of the gradients of a call."""

OUTERMOST, RECOMPUTED = 1, 2
"""Flags of a module call."""


OP, LEAF, ENTER, LEAVE, MEET, MODULE = map(Tag, ("OP", "LEAF", "ENTER", "LEAVE", "MEET", "MODULE"))
DERIVED, MEMBERS, SOURCE, CALL = map(Tag, ("DERIVED", "MEMBERS", "SOURCE", "CALL"))
GRAD, PARAMETER, BEGUN = map(Tag, ("GRAD", "PARAMETER", "BEGUN"))


# Writers. Those of calls, modules and gradients give the head: whoever has the parts appends them.


def op_record(function: Any, start: int, stop: int, error: str | None = None) -> Log:
    """A function was called."""
    return [OP, function, start, stop, error]


def leaf_record(entry: Any, key: int, flags: int, began: int, start: int, stop: int, error: str | None = None) -> Log:
    """A module without an inside was called."""
    return [LEAF, entry, key, flags, began, start, stop, error]


def enter_record(entry: Any, key: int, flags: int, began: int, start: int, args: Iterable[Any] = ()) -> Log:
    """A call of a module begins. ``args`` are encoded, and only those of an outermost call."""
    return [ENTER, entry, key, flags, began, start, *args, END]


def leave_record(key: int, stop: int, error: str | None = None) -> Log:
    """It has ended."""
    return [LEAVE, key, stop, error]


def unreturned_record(key: int, stop: int, error: str) -> Log:
    """It has ended, and nobody told with what."""
    return [*leave_record(key, stop, error), END, END, END, None]


def meet_record(reference: Reference, facts: Facts) -> Log:
    """A tensor is known from now on, which was not seen made."""
    return [MEET, reference, *facts]


def module_record(entry: Any, fqn: str, root: bool, attributes: Log) -> Log:
    """A module, of which `MODULE` says what it holds: parameters and buffers follow."""
    return [MODULE, entry, fqn, root, attributes]


def derived_record(reference: Reference, sources: Iterable[Reference]) -> Log:
    """A tensor was computed from these, unseen."""
    return [DERIVED, reference, *sources, END]


def members_record(entry: Any, references: Iterable[Reference]) -> Log:
    """A module holds other tensors now."""
    return [MEMBERS, entry, *references, END]


def source_record(file: str | None, line: int, hook: bool = False) -> Log:
    """Where the function was called whose record follows."""
    return [SOURCE, file, line, hook]


def call_record(key: int, began: int) -> Log:
    """Gradients are recorded at the function whose record follows."""
    return [CALL, key, began]


def begun_record(reference: Reference, facts: Facts, measure: Any) -> Log:
    """Backward is called on a tensor, and this is in it."""
    return [BEGUN, reference, *facts, measure]


def grad_record(key: int, phase: Phase, time: int, backward: int, sequence: int | None) -> Log:
    """Gradients arrived at a call, or left it."""
    return [GRAD, key, phase, time, backward, sequence]


def parameter_record(reference: Reference, time: int, backward: int, measure: Any, gradient: Iterable[Any]) -> Log:
    """A gradient was accumulated. What is said of it is a `gradient_part`."""
    return [PARAMETER, reference, time, backward, measure, *gradient]


def gradient_part(facts: Facts | None) -> Facts:
    """What is said of a gradient; None if there is none."""
    return (None,) if facts is None else facts[:ADDRESS]


def made_before(record: Log, end: int) -> Iterator[Reference]:
    """The outputs in the record of a call, the last one first: references with facts, between END and that place."""
    while record[end - 1] is not END:
        end -= 8
        yield record[end]


class Reader:
    """A place in a log. ``tags`` goes on from record to record, if of each one all is taken: its head, by the method
    that has its name, then its parts, in their order.

    Several items at once are read faster than one by one.

    Args:
        log: where to read.
        numbers: the numbers of tensors, by the `id` of their references.
        number: gives the number of one that is not among them.
    """

    __slots__ = (
        "_five", "_items", "_next", "_number", "_numbers", "_seven",
        "call", "enter", "grad", "leaf", "leave", "module", "op", "source", "tags",
    )  # fmt: skip

    op: Callable[[], tuple[Any, int, int, str | None]]
    leaf: Callable[[], tuple[Any, int, int, int, int, int, str | None]]
    enter: Callable[[], tuple[Any, int, int, int, int]]
    leave: Callable[[], tuple[int, int, str | None]]
    module: Callable[[], tuple[Any, str, bool, Log]]
    source: Callable[[], tuple[str | None, int, bool]]
    call: Callable[[], tuple[int, int]]
    grad: Callable[[], tuple[int, Phase, int, int, int | None]]

    def __init__(self, log: Log, numbers: Mapping[int, int], number: Callable[[Reference], int]) -> None:
        self._numbers, self._number = numbers, number
        self.tags: Iterator[Any] = iter(log)
        self._items = self.tags
        self._next: Callable[[], Any] = self._items.__next__
        two, three, four, five, seven = (zip(*[self._items] * n, strict=True).__next__ for n in (2, 3, 4, 5, 7))
        self.leave = self.source = three
        self.leaf, self.call = seven, two
        self.op = self.module = four
        self.enter = self.grad = five
        self._five, self._seven = five, seven

    # Heads that are one item, and records without parts

    def meet(self) -> tuple[Reference, Facts]:
        """The tensor, and what is said of it."""
        return self._next(), self._seven()

    def derived(self) -> Reference:
        """The tensor; `tensors` are what it was computed from."""
        reference: Reference = self._next()
        return reference

    def members(self) -> Any:
        """The module's entry; `tensors` are what it holds."""
        return self._next()

    def parameter(self) -> tuple[Reference, int, int, Any, Facts | None]:
        """The tensor, the time, the backward pass, the measure, the gradient."""
        reference, time, backward, measure, shape = self._five()
        return reference, time, backward, measure, self._gradient(shape)

    def begun(self) -> tuple[Reference, Facts, Any]:
        """The tensor, what is said of it, the measure."""
        return self._next(), self._seven(), self._next()

    # Parts

    def tensors(self) -> tuple[int, ...]:
        """The tensors in a part, in order, in any nesting."""
        found: list[int] = []
        numbers = self._numbers
        depth = 1
        for item in self._items:
            if type(item) is ref:
                number = numbers.get(id(item))
                found.append(self._number(item) if number is None else number)
            elif item is END:
                depth -= 1
                if depth == 0:
                    break
            elif item is LIST or item is MAP:
                depth += 1
        return tuple(found)

    def arguments(self) -> tuple[tuple[int, ...], dict[str, Any], list[str]]:
        """The tensors among positional and keyword arguments, in any nesting; what is no tensor itself, by name, or as
        ``arg1`` by position, with lists and mappings put together again; the names of the keywords.
        """
        found: list[int] = []
        values: dict[str, Any] = {}
        items, numbers = self._items, self._numbers
        for position, item in enumerate(items):
            if type(item) is ref:
                number = numbers.get(id(item))
                found.append(self._number(item) if number is None else number)
            elif item is END:
                break
            else:
                values[f"arg{position}"] = self._value(item, found)
        keywords: list[str] = []
        for name in items:
            if name is END:
                break
            keywords.append(name)
            item = self._next()
            if type(item) is ref:
                found.append(self._number(item))
            else:
                values[name] = self._value(item, found)
        return tuple(found), values, keywords

    def given(self, signature: Signature) -> tuple[tuple[int, ...], tuple[str, ...], dict[str, Any]]:
        """The tensors that a module was given, in any nesting; their names in the call; the arguments without any."""
        found: list[int] = []
        names: list[str] = []
        values: dict[str, Any] = {}
        items, numbers, name_of = self._items, self._numbers, signature.name

        def take(name: str, item: Any, position: int = 0) -> None:
            if item is LIST or item is MAP:
                item = listed(items) if item is LIST else mapped(items)
            inside = list(named_references(item, name))
            found.extend(self._number(reference) for _, reference in inside)
            names.extend(path for path, _ in inside)
            if not inside:
                values[name or f"arg{position}"] = item

        for position, item in enumerate(items):
            if type(item) is ref:  # as most are
                number = numbers.get(id(item))
                found.append(self._number(item) if number is None else number)
                names.append(name_of(position))
            elif item is END:
                break
            else:
                take(name_of(position), item, position)
        for name in items:
            if name is END:
                break
            take(name, self._next())
        return tuple(found), tuple(names), values

    def names(self, count: int) -> tuple[str, ...]:
        """Of so many outputs, which were read before."""
        names: tuple[str, ...] | None = self._next()
        return ("",) * count if names is None else names

    def _value(self, item: Any, found: list[int]) -> Any:
        """An argument that is no tensor. Those in it are added to what was found."""
        if item is LIST or item is MAP:
            item = listed(self._items) if item is LIST else mapped(self._items)
            found += map(self._number, references_in(item))
        return item

    def outputs(self) -> list[tuple[int, Facts]]:
        """What was returned or written to, and what is said of it."""
        found: list[tuple[int, Facts]] = []
        numbers, facts = self._numbers, self._seven
        for reference in self._items:
            if reference is END:
                break
            number = numbers.get(id(reference))
            found.append((self._number(reference) if number is None else number, facts()))
        return found

    def held(self) -> Iterator[tuple[str, Reference, Facts]]:
        """A module's parameters; the next time, its buffers."""
        for name in self._items:
            if name is END:
                break
            yield name, self._next(), self._seven()

    def gradients(self) -> list[Facts | None]:
        """What is said of gradients, but for where they are."""
        found: list[Facts | None] = []
        for shape in self._items:
            if shape is END:
                break
            found.append(self._gradient(shape))
        return found

    def measures(self) -> list[Any]:
        """What was measured of gradients."""
        return listed(self._items)

    def _gradient(self, shape: Any) -> Facts | None:
        return None if shape is None else (shape, *self._five(), None)
