"""What a stream says, worked out by a model that works another way than assemble(), and naively."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import recorder
from recorder import EventStream, Graph, assemble
from recorder.events import Derived, Enter, Event, Leave, Module, Op, Tensor, TensorMeta

__all__ = ["agree"]


@dataclass(frozen=True)
class Origin:
    """What a tensor's content comes from: a node, by its number, or a tensor that came from outside."""

    node: int | None = None
    outside: tuple[int, int] | None = None  # the tensor, and where in the log it came in
    role: str = "activation"


@dataclass(frozen=True)
class Entry:
    """One line of the log: ``tensor`` was set (and lies in ``storage``), or, if it is None, the storage was written."""

    tensor: int | None
    storage: object
    origins: frozenset[Origin]
    derived: bool = False


@dataclass
class Reference:
    """The same facts the slow way: a flat log of who set and wrote what, searched backwards for every question.

    Nothing is kept up to date and nothing has a version, so that it shares no mistake with `assemble`.
    """

    log: list[Entry] = field(default_factory=list)
    modules: dict[int, Module] = field(default_factory=dict)
    edges: set[tuple[int, int]] = field(default_factory=set)
    nodes: list[tuple[str, str | None, int | None, str | None, tuple[str, ...]]] = field(default_factory=list)
    inputs: set[Origin] = field(default_factory=set)
    outputs: set[int] = field(default_factory=set)
    made_inside: set[Origin] = field(default_factory=set)  # by what was not seen
    seen: dict[int, int] = field(default_factory=dict)  # how long the log was when a tensor was last set or read
    handed_on: list[dict[int, int]] = field(default_factory=list)  # for each open call: how long the log was before

    def last_set(self, tensor: int, end: int | None = None) -> Entry:
        return next(entry for entry in reversed(self.log[:end]) if entry.tensor == tensor)

    def origins(self, tensor: int, end: int | None = None) -> frozenset[Origin]:
        storage = self.last_set(tensor, end).storage
        for entry in reversed(self.log[:end]):
            if entry.tensor == tensor or (entry.tensor is None and entry.storage == storage):
                return entry.origins
        raise AssertionError

    def read(self, tensor: int) -> frozenset[Origin]:
        self.seen[tensor] = len(self.log)
        return self.origins(tensor)

    def set(self, entry: Entry) -> None:
        self.log.append(entry)
        if entry.tensor is not None:
            self.seen[entry.tensor] = len(self.log)

    def on_entry(self, tensor: int, start: int) -> frozenset[Origin]:
        """What a tensor was when the log had ``start`` lines, or when it first came in if that was later."""
        first = next(i for i, entry in enumerate(self.log) if entry.tensor == tensor)
        return self.origins(tensor, max(start, first + 1))

    def aliases(self) -> bool:
        """Whether any tensor stands for others: it shares memory, or was derived from them."""
        lies_in = {entry.tensor: entry.storage for entry in self.log if entry.tensor is not None}
        return len(set(lies_in.values())) < len(lies_in) or any(entry.derived for entry in self.log)

    def give(self, origins: frozenset[Origin]) -> None:
        self.inputs |= {origin for origin in origins - self.made_inside if origin.role == "constant"}

    def node(
        self,
        op_type: str,
        scopes: tuple[str, ...],
        inputs: Sequence[int],
        outputs: Sequence[tuple[int, object]],
        *,
        writes: Sequence[int] = (),
        module: int | None = None,
        call: int | None = None,
        error: str | None = None,
    ) -> None:
        number = len(self.nodes)
        fqn = None if module is None else self.modules[module].fqn
        self.nodes.append((op_type, fqn, call, error, scopes))
        given = inputs
        if module is not None:
            held = self.modules[module]
            inputs = [*inputs, *(m.tensor for m in (*held.parameters, *held.buffers))]
        for tensor in inputs:
            self.edges |= {(origin.node, number) for origin in self.read(tensor) if origin.node is not None}
        if self.handed_on:
            for tensor in {tensor for tensor, _ in outputs} & set(given) - set(writes):
                self.handed_on[-1].setdefault(tensor, len(self.log))
        here = frozenset([Origin(node=number)])
        storages = [self.last_set(tensor).storage for tensor in writes]
        for storage in storages:
            self.set(Entry(None, storage, here))
        for tensor, storage in outputs:
            self.set(Entry(tensor, storage, here))

    def forget_what_was_handed_on(self, returned: Sequence[int]) -> None:
        """A call ends: what it made of a tensor by handing it on is its own, unless it returns the tensor."""
        for tensor, length in self.handed_on.pop().items():
            before = next(entry for entry in reversed(self.log[:length]) if entry.tensor == tensor)
            if tensor in returned:
                if self.handed_on:
                    self.handed_on[-1].setdefault(tensor, length)
            elif all(entry.tensor is not None or entry.storage != before.storage for entry in self.log[length:]):
                origins = self.origins(tensor, length)
                derived = before.derived and origins == before.origins
                self.log.append(Entry(tensor, before.storage, origins, derived))

    def run(self, events: Sequence[Event]) -> "Reference":
        stack: list[Enter] = []
        ignored: set[int] = set()
        holds: set[int] = set()  # calls with something recorded inside
        for event in events:  # a first reading, only to tell scopes from nodes
            if isinstance(event, Leave):
                position = [call.call for call in stack].index(event.call)
                del stack[position:]
            if isinstance(event, Enter | Op):
                if event.outermost:
                    stack.clear()
                inside = any(call.call in ignored for call in stack)
                if event.recomputed or inside:
                    if isinstance(event, Enter):
                        ignored.add(event.call)
                else:
                    holds |= {call.call for call in stack}
                if isinstance(event, Enter):
                    stack.append(event)

        stack = []
        counts: dict[int, int] = {}
        number_of: dict[int, int] = {}
        started: dict[int, int] = {}

        def storage(tensor: int, meta: TensorMeta) -> object:
            return ("alone", tensor) if meta.storage is None else meta.storage

        def count(module: int) -> int:
            counts[module] = counts.get(module, -1) + 1
            return counts[module]

        def scopes() -> tuple[str, ...]:
            return tuple(f"{self.modules[c.module].fqn}#{number_of[c.call]}" for c in stack if c.call in holds)

        def close(leave: Leave | None, error: str | None) -> None:
            enter = stack.pop()
            if enter.call in ignored:
                return
            outputs = () if leave is None else leave.outputs
            self.forget_what_was_handed_on(outputs)
            inputs = enter.inputs if leave is None else leave.inputs or enter.inputs
            if enter.outermost and leave is not None:
                for tensor in inputs:
                    self.give(self.on_entry(tensor, started[enter.call]))
            if enter.call not in holds:
                module = self.modules[enter.module]
                made = [(tensor, self.last_set(tensor).storage) for tensor in dict.fromkeys(outputs)]
                call = number_of[enter.call]
                self.node(module.op_type, scopes(), inputs, made, module=enter.module, call=call, error=error)
            for tensor in set(outputs) - set(inputs):
                self.made_inside |= self.origins(tensor) - self.inputs
            if enter.outermost:
                self.give_back(outputs)

        for event in events:
            while isinstance(event, Enter | Op) and event.outermost and stack:
                close(None, "did not return")
            skip = any(call.call in ignored for call in stack)
            if isinstance(event, Module):
                self.modules[event.module] = event
            elif isinstance(event, Tensor):
                origin = Origin(outside=(event.tensor, len(self.log)), role=event.role)
                self.set(Entry(event.tensor, storage(event.tensor, event.meta), frozenset([origin])))
            elif isinstance(event, Derived) and not skip:
                # Autograd tells it late: what the sources were when they were last seen, not what they are by now.
                origins = frozenset().union(*(self.origins(source, self.seen[source]) for source in event.sources))
                self.set(Entry(event.tensor, self.last_set(event.tensor).storage, origins, derived=True))
            elif isinstance(event, Enter):
                started[event.call] = len(self.log)
                if event.call not in ignored:
                    self.handed_on.append({})
                    number_of[event.call] = count(event.module)
                    if event.outermost:
                        for tensor in event.inputs:
                            self.give(self.read(tensor))
                stack.append(event)
            elif isinstance(event, Leave):
                while stack[-1].call != event.call:
                    close(None, "did not return")
                close(event, event.error)
            elif isinstance(event, Op) and (skip or event.recomputed):
                known = {entry.tensor for entry in self.log}
                for output in event.outputs:  # somebody may have kept them
                    if output.tensor not in known:
                        here = Origin(outside=(output.tensor, len(self.log)))
                        self.set(Entry(output.tensor, storage(output.tensor, output.meta), frozenset([here])))
            elif isinstance(event, Op):
                if event.outermost:
                    for tensor in event.inputs:
                        self.give(self.origins(tensor))
                name = event.op_type if event.module is None else self.modules[event.module].op_type
                made = [(output.tensor, storage(output.tensor, output.meta)) for output in event.outputs]
                self.node(
                    name,
                    scopes(),
                    event.inputs,
                    made,
                    writes=event.writes,
                    module=event.module,
                    call=None if event.module is None else count(event.module),
                    error=event.error,
                )
                if event.outermost:
                    self.give_back([output.tensor for output in event.outputs])
        while stack:
            close(None, None)
        return self

    def give_back(self, tensors: Sequence[int]) -> None:
        for tensor in tensors:
            origins = self.read(tensor)
            if not self.last_set(tensor).derived:
                self.outputs |= {origin.node for origin in origins if origin.node is not None}


def edges_by_number(graph: Graph) -> set[tuple[int, int]]:
    number = {id(node): i for i, node in enumerate(graph.nodes)}
    return {(number[id(edge.source)], number[id(edge.target)]) for edge in graph.edges()}


def scope_path(node: recorder.Node) -> tuple[str, ...]:
    around = [] if node.scope is None else [f"{scope.fqn}#{scope.call}" for scope in node.scope.ancestors()]
    return tuple(reversed(around))


def agree(stream: EventStream) -> Graph:
    """Assemble a stream, and compare the graph with the reference model."""
    graph = assemble(stream)
    graph.lint()
    expected = Reference().run(list(stream))
    assert [(n.op_type, n.fqn, n.call, n.error, scope_path(n)) for n in graph.nodes] == expected.nodes
    assert edges_by_number(graph) == expected.edges
    if not expected.aliases():  # what a call was given by keyword is told when it ends, and what it was by then is lost
        assert len(graph.inputs) == len(expected.inputs)
    number = {id(node): i for i, node in enumerate(graph.nodes)}
    assert {number[id(v.producer)] for v in graph.outputs if v.producer is not None} >= expected.outputs
    return graph
