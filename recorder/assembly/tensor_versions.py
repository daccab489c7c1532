"""What each tensor is at each moment.

A tensor is written in place again and again; each write, and each module that hands a tensor on, makes a new `Value` of
it. Tensors that share memory share the writes: reading one after another was written yields a value made by the writer.
"""

from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import msgspec

from recorder.events.types import TensorMeta
from recorder.graph.core import Node, Role, Value
from recorder.graph.names import of_output
from recorder.limits import FREE_USES, USES_PER_EVENT

__all__ = ["Absurd", "State", "Versions"]


class Absurd(Exception):
    """What an event says is known, and yet makes no sense."""


class State(msgspec.Struct, eq=False, gc=False):  # made for each tensor: a third of a dataclass's time
    """A tensor's present value, and the version of its memory that the value shows. ``sources`` stand for the value of
    a tensor that was made unseen.
    """

    value: Value
    meta: TensorMeta
    memory: int
    version: int
    sources: tuple[Value, ...] = ()


@dataclass(slots=True, eq=False)
class _Written:
    """Memory that was written: how often, by whom last, and as which node."""

    writer: Node
    position: int
    version: int = 0


class Versions:
    """The tensors of a stream, by number. What is read is made up to date first.

    Args:
        nodes: those so far; their number tells the time.
        events: how many there are in all.

    ``first`` has the first value of each tensor; ``inside`` what a call had made of tensors, when that ended with the
    call.
    """

    def __init__(self, nodes: list[Node], events: int) -> None:
        self.states: dict[int, State] = {}
        self.first: dict[int, Value] = {}
        self.inside: dict[int, State] = {}
        self._nodes = nodes
        self._written: dict[int, _Written] = {}
        self._late: dict[int, tuple[Node, list[Value]]] = {}  # by node, its outputs and those that were met later
        self._uses_left = FREE_USES + USES_PER_EVENT * events
        self._born: dict[int, int] = {}  # of tensors that a node made, how many nodes there were before
        self._before: dict[int, list[tuple[int, Value]]] = {}  # what was current until the node of that number

    def set(self, tensor: int, meta: TensorMeta, role: Role, name: str = "") -> Value:
        """Give a tensor a new value, which is up to date with its memory."""
        told: dict[str, Any] = {}
        if meta.examples != 1 or meta.tangents:
            told = {"examples": meta.examples} | ({"tangents": True} if meta.tangents else {})
        value = Value(name, meta.shape, meta.dtype, meta.device, meta.requires_grad, meta.grad_fn, role, told)
        memory = -1 - tensor if meta.storage is None else meta.storage
        written = self._written.get(memory)
        old = self.states.get(tensor)
        if old is None:
            self.first[tensor] = value
            if role == "activation":
                self._born[tensor] = len(self._nodes)
        else:
            self._remember(tensor, old.value, len(self._nodes))
            self.inside.pop(tensor, None)
        self.states[tensor] = State(value, meta, memory, 0 if written is None else written.version)
        return value

    def write(self, tensor: int, writer: Node) -> None:
        """The node that comes next writes the tensor's memory."""
        memory = self.states[tensor].memory
        written = self._written.get(memory)
        if written is None:
            written = self._written[memory] = _Written(writer, 0)
        written.version += 1
        written.writer = writer
        written.position = len(self._nodes)

    def read(self, tensor: int) -> State:
        """The tensor now. If its memory was written through another tensor, the writer made this value too."""
        state = self.states[tensor]
        if self.inside:
            self.inside.pop(tensor, None)  # it is used again as it was
        written = self._written.get(state.memory)
        if written is not None and state.version != written.version:
            old, writer = state.value, written.writer
            self._remember(tensor, old, written.position)
            state.version = written.version
            state.sources = ()
            late = self._late.get(id(writer))
            if late is None:
                late = self._late[id(writer)] = (writer, list(writer.outputs))
            name = of_output(writer.name, len(late[1]))
            state.value = Value(name, old.shape, old.dtype, old.device, old.requires_grad, old.grad_fn)
            state.value.meta |= {key: old.meta[key] for key in ("examples", "tangents") if key in old.meta}
            late[1].append(state.value)
        return state

    def derive(self, tensor: int, sources: Iterable[int]) -> None:
        """A tensor that was made unseen was computed from these.

        Autograd tells it late: what the sources were when they were last used, not what they are by now. A tensor that
        was written in place is a source of itself.
        """
        state = self.states[tensor]
        if state.value.role == "constant":
            state.value.role = "activation"
        found: dict[int, Value] = {}
        for source in sources:
            known = self.inside.get(source) or self.states[source]
            for value in known.sources or (known.value,):
                found[id(value)] = value
        state.sources = tuple(found.values())
        self.use(len(found))

    def values(self, tensors: Iterable[int]) -> list[Value]:
        """What a call is given with these tensors."""
        values: list[Value] = []
        for tensor in tensors:
            state = self.read(tensor)
            if state.sources:
                values += state.sources
            else:
                values.append(state.value)
        self.use(len(values))
        return values

    def stand_ins(self, tensor: int) -> tuple[Value, ...]:
        """The values that a call uses which is given a tensor."""
        state = self.states[tensor]
        return state.sources or (state.value,)

    def use(self, count: int) -> None:
        """So many tensors are used.

        Raises:
            Absurd: that is more than any run does.
        """
        self._uses_left -= count
        if self._uses_left < 0:
            raise Absurd("tensors are used more than 100 times for each event")

    def finish(self) -> None:
        """Tell the nodes what they wrote that was met later. Not each time: there may be very many."""
        for writer, outputs in self._late.values():
            writer.outputs = tuple(outputs)
            if writer.kind == "module":
                writer.output_names += ("",) * (len(outputs) - len(writer.output_names))

    def is_current(self, state: State) -> bool:
        """Whether the memory was not written since the state was."""
        written = self._written.get(state.memory)
        return written is None or written.version == state.version

    def moment(self, tensor: int) -> int:
        """How often a tensor's memory was written so far."""
        written = self._written.get(self.states[tensor].memory)
        return 0 if written is None else written.version

    def at(self, tensor: int, position: int) -> Value | None:
        """What a tensor was when there were so many nodes, as far as the writes since can be told apart; None if it was
        not there yet.
        """
        if self._born.get(tensor, -1) >= position:
            return None
        replaced = self._before.get(tensor, ())
        first = bisect_left(replaced, position, key=itemgetter(0))
        if first < len(replaced):
            return replaced[first][1]
        state = self.states[tensor]
        written = self._written.get(state.memory)
        last = 0 if written is None else written.position
        return self.read(tensor).value if last < position else state.value

    def _remember(self, tensor: int, value: Value, position: int) -> None:
        """A value is replaced by what node number ``position`` made: a call that began before may have got it."""
        self._before.setdefault(tensor, []).append((position, value))
