"""Which tensors the recording knows, and how arguments are written down with them.

Tensors are known by weak references: ``id(tensor)`` leads to a reference, and the tensor is known if that reference
still points at it. So nothing is kept alive, and an ``id`` that is used again is no mistake.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any
from weakref import ref

from torch import Tensor, nn

from recorder.capture.autograd_nodes import in_order
from recorder.capture.containers import DEEPEST, LISTED, OBJECT, PLAIN, label, look_into, named_tensors
from recorder.capture.mode_stack import depth
from recorder.capture.raw_records import END, LIST, MAP, Log, derived_record, meet_record
from recorder.capture.tensor_facts import (
    ACCUMULATE_GRAD,
    ADDRESS,
    NODE,
    SEQUENCE,
    Facts,
    Reference,
    facts,
    quietly,
    sequence_of,
)
from recorder.capture.views_of_outputs import WRITTEN
from recorder.capture.wrappers import Wrappers

__all__ = ["KnownTensors"]

_MANY = 10_000
"""After so many autograd nodes that were looked at, deep graphs are made safe to free."""

_PLAIN_TENSORS = (Tensor, nn.Parameter)
"""Those that wrap no other."""

_LONGEST = 64
"""So many items of a plain list among the arguments are kept."""


class KnownTensors:
    """The tensors that a recording knows.

    Args:
        append: appends a record: for tensors that are met for the first time.
        functions: whether functions are seen. If not, they may write known tensors, so autograd is asked about those
            too.

    Attributes:
        written: gives who is told of a tensor view that seems to have been written, and what is said of it.
        held: what models held when they were last asked, see `hold`.

    Where a tensor came from that was made unseen, autograd may know: by C++ code or an ``autograd.Function``, say.
    """

    def __init__(self, append: Callable[[Iterable[Any]], None], functions: bool) -> None:
        self.written: Callable[[], Callable[[Tensor, Facts], None] | None] = lambda: None
        self._append = append
        self._functions = functions
        self._references: dict[int, Reference] = {}
        self._trusted = self._references if functions else {}  # those that nobody can have written unseen
        self._by_sequence: dict[int, Reference] = {}
        self._horizon = 0
        self._seen = 0
        self._wrappers = Wrappers(self.reference)
        self.held: list[Reference] = []

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

    def unmake(self, reference: Reference, sequence: int | None) -> None:
        """Forget one tensor, where what made it is not going to be told."""
        if (tensor := reference()) is not None and self._references.get(id(tensor)) is reference:
            del self._references[id(tensor)]
        if sequence is not None and self._by_sequence.get(sequence) is reference:
            del self._by_sequence[sequence]

    def remembered(self) -> dict[int, int | None]:
        """The tensors that a later record may speak of: the `id` of each one's reference, and its storage's address."""
        references = (*self._by_sequence.values(), *self._wrappers.references())
        addresses: dict[int, int | None] = {id(reference): None for reference in references}
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
        self._wrappers.tidy()
        self._horizon = max(self._by_sequence, default=0)

    def encode(self, values: Iterable[Any], out: Log, around: tuple[int, ...] = ()) -> None:
        """Append arguments as they were given, with references for tensors, and text for what could keep something
        alive. ``around``: the lists and mappings that they are in.
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
            elif issubclass(kind, Tensor):
                out.append(self.refer(item))
            elif (kind is tuple or kind is list) and len(around) <= DEEPEST and id(item) not in around:
                self._encode_list(item, item, out, around)
            elif kind is dict and len(around) <= DEEPEST and id(item) not in around:
                out.append(MAP)
                self._encode_named(item.items(), out, (*around, id(item)))
                out.append(END)
            else:
                self._encode_holder(item, kind, out, around)

    def _encode_list(self, items: Any, holder: Any, out: Log, around: tuple[int, ...]) -> None:
        out.append(LIST)
        if len(items) > _LONGEST and all(type(i) in PLAIN for i in items):
            items = items[:_LONGEST]
        self.encode(items, out, (*around, id(holder)))
        out.append(END)

    def _encode_holder(self, item: Any, kind: type, out: Log, around: tuple[int, ...]) -> None:
        """Append a list or a mapping as it is, and of any other object its tensors, by where they are in it."""
        look = look_into(kind)
        if look is None or id(item) in around:
            out.append(f"<{kind.__name__}>" if look is None else "…")
        elif look.form is OBJECT or len(around) > DEEPEST:
            found = list(named_tensors(item))
            if not found:
                out.append(f"<{kind.__name__}>" if look.form is OBJECT else "…")
                return
            out.append(MAP)
            for name, tensor in found:
                out += (name, self.of(tensor))
            out.append(END)
        elif look.form is LISTED:
            self._encode_list(list(look.parts(item)[1]), item, out, around)
        else:
            out.append(MAP)
            self._encode_named(zip(*look.parts(item)), out, (*around, id(item)))
            out.append(END)

    def encode_keywords(self, keywords: Mapping[Any, Any], out: Log) -> None:
        """The same for a mapping: name and value in turn."""
        self._encode_named(keywords.items(), out, ())

    def _encode_named(self, items: Iterable[tuple[Any, Any]], out: Log, around: tuple[int, ...]) -> None:
        for number, (key, value) in enumerate(items):
            out.append(key if type(key) is str else label(key, number))
            self.encode((value,), out, around)

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
            if type(argument) is Tensor and not depth():  # nobody is asked: what is quiet anyway need not be made so
                if (first := argument.grad_fn) is not None:
                    self._derive(reference, first)
            else:
                with quietly():
                    if (first := argument.grad_fn) is not None:
                        self._derive(reference, first)
        return reference

    def meet(self, tensor: Tensor) -> Reference:
        """A tensor that was not seen made."""
        if type(tensor) is Tensor and not depth():
            return self._meet(tensor)
        with quietly():
            return self._meet(tensor)

    def _meet(self, tensor: Tensor) -> Reference:
        reference = ref(tensor)
        plain = type(tensor) in _PLAIN_TENSORS
        tied: Sequence[Reference] = () if plain and not self._wrappers else self._wrappers.sources(tensor)
        for outer in tied:
            if (source := outer()) is not None:
                self.refer(source)  # a parameter may not have been met
        said = facts(tensor)
        if not plain:
            said = self._wrappers.add(tensor, reference, said)
        self._append(meet_record(reference, said))
        self._references[id(tensor)] = reference  # no earlier: after an interrupt, it would be known and never met
        sequence = said[SEQUENCE]
        if tied:
            self._append(derived_record(reference, tied))
            if sequence is not None:
                self._by_sequence.setdefault(sequence, reference)
        elif sequence is not None:
            self._derive(reference, tensor.grad_fn)
        return reference

    def made(self, tensor: Tensor, out: Log) -> int | None:
        """Append a tensor that was seen made, with what is to be said of it. Returns its sequence number."""
        said = facts(tensor)
        reference = ref(tensor)
        if type(tensor) not in _PLAIN_TENSORS:
            said = self._wrappers.add(tensor, reference, said)
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
            if said[NODE] is WRITTEN:
                self._tell_written(tensor, said)
            self._seen += 1
            if self._seen >= _MANY:
                self._seen = 0
                self.protect()

    def _tell_written(self, tensor: Tensor, said: Facts) -> None:
        told = self.written()
        if told is not None:
            told(tensor, said)

    def hold(self, modules: Iterable[nn.Module]) -> None:
        """These modules' tensors are theirs, whatever takes their place. They may wrap others, which may be used before
        the tensors themselves are.
        """
        held = self.held
        for module in modules:
            for tensor in (*module._parameters.values(), *module._buffers.values()):
                if tensor is not None:
                    held.append(ref(tensor))
                    if type(tensor) not in _PLAIN_TENSORS:
                        self._wrappers.tie(tensor, held[-1])

    def _derive(self, reference: Reference, first: Any) -> None:
        """Tell which known tensors one was computed from that was made unseen, as far as its autograd node leads."""
        by_sequence = self._by_sequence
        own = sequence_of(first)
        if by_sequence.get(own) is reference:
            return
        sources: dict[int, Reference] = {}
        seen: set[int] = set()
        pending = [first]
        for node in pending:  # it grows
            number = sequence_of(node)
            if number in seen:
                continue
            seen.add(number)
            source = by_sequence.get(number)
            if source is not None:
                sources[number] = source
            else:
                pending += [n for n, _ in node.next_functions if n is not None and type(n) is not ACCUMULATE_GRAD]
        by_sequence[own] = reference
        if sources:
            # An autograd node made later has the higher number: in the order of making.
            self._append(derived_record(reference, [sources[n] for n in sorted(sources)]))
