"""Which tensors the recording knows, and how arguments are written down with them.

Tensors are known by weak references: ``id(tensor)`` leads to a reference, and the tensor is known if that reference
still points at it. So nothing is kept alive, and an ``id`` that is used again is no mistake.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any
from weakref import ref

from torch import Tensor, nn

from recorder.capture.autograd_nodes import in_order
from recorder.capture.raw_records import END, LIST, MAP, Log, derived_record, meet_record
from recorder.capture.tensor_facts import (
    ACCUMULATES,
    ADDRESS,
    DEEPEST,
    PLAIN,
    SEQUENCE,
    Facts,
    Reference,
    facts,
    quietly,
    sequence_of,
)

__all__ = ["KnownTensors"]

_MANY = 10_000
"""After so many autograd nodes that were looked at, deep graphs are made safe to free."""

_LONGEST = 64
"""So many items of a plain list among the arguments are kept."""


class KnownTensors:
    """The tensors that a recording knows.

    Args:
        append: appends a record: for tensors that are met for the first time.
        functions: whether functions are seen. If not, they may write known tensors, so autograd is asked about those
            too.

    Where a tensor came from that was made unseen, autograd may know: by C++ code or an ``autograd.Function``, say.
    """

    def __init__(self, append: Callable[[Iterable[Any]], None], functions: bool) -> None:
        self._append = append
        self._functions = functions
        self._references: dict[int, Reference] = {}
        self._trusted = self._references if functions else {}  # those that nobody can have written unseen
        self._by_sequence: dict[int, Reference] = {}
        self._horizon = 0
        self._seen = 0

    def __contains__(self, tensor: Tensor) -> bool:
        reference = self._references.get(id(tensor))
        return reference is not None and reference() is tensor

    def protect(self) -> None:
        """Make deep autograd graphs safe to free: looking at nodes has made that dangerous (see
        `recorder.capture.autograd_nodes`).
        """
        with quietly():
            in_order(node for tensor in self.alive() if (node := tensor.grad_fn) is not None)

    def alive(self) -> list[Tensor]:
        """The known tensors that are still there."""
        references = list(self._references.values())
        return [tensor for reference in references if (tensor := reference()) is not None]

    def reference(self, identity: int) -> Reference | None:
        """The reference for a tensor that is there, by its `id`; None if it is not known."""
        reference = self._references.get(identity)
        return None if reference is None or reference() is None else reference

    def mark(self, tensor: Tensor) -> Reference:
        """Make a tensor known without a record. Python gives the same reference again for the same tensor."""
        reference = self._references[id(tensor)] = ref(tensor)
        return reference

    def forget(self, record: Iterable[Any]) -> None:
        """Forget the tensors of a record that is not going to be appended: they are met when they are used."""
        lost = {id(item) for item in record if type(item) is ref}
        for known in (self._references, self._by_sequence):
            for key in [key for key, reference in known.items() if id(reference) in lost]:
                del known[key]

    def remembered(self) -> dict[int, int | None]:
        """The tensors that a later record may speak of: the `id` of each one's reference, and its storage's address."""
        addresses: dict[int, int | None] = {id(reference): None for reference in self._by_sequence.values()}
        with quietly():
            for reference in self._references.values():
                tensor = reference()
                if tensor is not None:
                    addresses[id(reference)] = facts(tensor)[ADDRESS]
        return addresses

    def __len__(self) -> int:
        return len(self._references) + len(self._by_sequence)

    def tidy(self) -> None:
        """Forget tensors that are gone. Autograd may lead to one that is gone itself, so those made since the last time
        are kept: a graph does not reach back that far.
        """
        for key in [key for key, reference in self._references.items() if reference() is None]:
            del self._references[key]
        old = [n for n, reference in self._by_sequence.items() if n < self._horizon and reference() is None]
        for number in old:
            del self._by_sequence[number]
        self._horizon = max(self._by_sequence, default=0)

    def encode(self, values: Iterable[Any], out: Log, depth: int = 0) -> None:
        """Append arguments as they were given, with references for tensors, and text for what could keep something
        alive.
        """
        references = self._trusted
        for item in values:
            kind: type = type(item)
            if kind is Tensor or kind is nn.Parameter:
                reference = references.get(id(item))
                if reference is None or reference() is not item:
                    reference = self.of(item)
                out.append(reference)
            elif kind in PLAIN:
                out.append(item)
            elif isinstance(item, Tensor):
                out.append(self.refer(item))
            elif depth > DEEPEST:
                out.append("…")
            elif isinstance(item, list | tuple):
                out.append(LIST)
                if len(item) > _LONGEST and all(type(i) in PLAIN for i in item):
                    item = item[:_LONGEST]
                self.encode(item, out, depth + 1)
                out.append(END)
            elif isinstance(item, Mapping):
                out.append(MAP)
                self.encode_keywords(item, out, depth + 1)
                out.append(END)
            elif is_dataclass(kind):
                out.append(MAP)
                self.encode_keywords({f.name: getattr(item, f.name, None) for f in fields(item)}, out, depth + 1)
                out.append(END)
            else:
                out.append(f"<{kind.__name__}>")

    def encode_keywords(self, keywords: Mapping[Any, Any], out: Log, depth: int = 0) -> None:
        """The same for a mapping: name and value in turn."""
        for number, (key, value) in enumerate(keywords.items()):
            # A key that is not plain could keep something alive.
            out.append(str(key) if type(key) in (str, int) else f"<{type(key).__name__}> {number}")
            self.encode((value,), out, depth)

    def refer(self, tensor: Tensor) -> Reference:
        """The reference for a tensor; one that is not known is met."""
        reference = self._references.get(id(tensor))
        return reference if reference is not None and reference() is tensor else self.meet(tensor)

    def of(self, argument: Tensor) -> Reference:
        """The same for an argument, which may have been written unseen."""
        reference = self._references.get(id(argument))
        if reference is None or reference() is not argument:
            return self.meet(argument)
        if not self._functions:
            with quietly():
                self._derive(argument, reference)
        return reference

    def meet(self, tensor: Tensor) -> Reference:
        """A tensor that was not seen made."""
        reference = ref(tensor)
        with quietly():
            self._append(meet_record(reference, facts(tensor)))
            self._references[id(tensor)] = reference  # no earlier: after an interrupt, it would be known and never met
            self._derive(tensor, reference)
        return reference

    def made(self, tensor: Tensor, out: Log) -> int | None:
        """Append a tensor that was seen made, with what is to be said of it. Returns its sequence number."""
        said = facts(tensor)
        reference = ref(tensor)
        out += (reference, *said)
        self.now(tensor, reference, said)
        sequence: int | None = said[SEQUENCE]
        return sequence

    def now(self, tensor: Tensor, reference: Reference, said: Facts) -> None:
        """From now on a tensor is known: a record tells of it."""
        self._references[id(tensor)] = reference
        sequence = said[SEQUENCE]
        if sequence is not None:
            self._by_sequence[sequence] = reference
            self._seen += 1
            if self._seen == _MANY:
                self._seen = 0
                self.protect()

    def _derive(self, tensor: Any, reference: Reference) -> None:
        """Ask autograd which known tensors one was computed from that was made unseen."""
        first = tensor.grad_fn
        if first is None or self._by_sequence.get(sequence_of(first)) is reference:
            return
        sources: dict[int, Reference] = {}
        seen: set[int] = set()
        pending = [first]
        while pending:
            node = pending.pop()
            number = sequence_of(node)
            if number in seen:
                continue
            seen.add(number)
            source = self._by_sequence.get(number)
            if source is not None:
                sources[number] = source
            else:
                pending += [n for n, _ in node.next_functions if n is not None and sequence_of(n) != ACCUMULATES]
        self._by_sequence[sequence_of(first)] = reference
        if sources:
            # An autograd node made later has the higher number: in the order of making.
            self._append(derived_record(reference, [sources[n] for n in sorted(sources)]))
