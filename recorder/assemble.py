"""From events to the DAG: one pure pass over a stream, without torch.

Three things are worked out here and nowhere else:

* **Nesting.** `Enter` and `Leave` make a stack of frames. A frame becomes a `Scope` with the first thing recorded
  inside it, and a `Node` if it ends without any.
* **Versions.** A tensor is written in place again and again; each write, and each module that hands a tensor on, makes
  a new `Value` of it. Tensors that share memory share the writes: reading one after another was written yields a value
  made by the writer.
* **Backward.** `Grad` events become `backward_ns`: for a node from arrival to departure, for a scope the span over
  everything in it, summed over the backward passes. What else they say is in ``meta``: see `recorder.reached`.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from recorder.collector import collector_held_back
from recorder.errors import StreamError
from recorder.events import (
    UNFINISHED,
    Derived,
    Enter,
    Grad,
    Leave,
    Members,
    Module,
    Op,
    ParameterGrad,
    Tensor,
    TensorMeta,
)
from recorder.graph import Graph, Node, Role, Scope, Value
from recorder.limits import DEEPEST, FREE_USES, USES_PER_EVENT
from recorder.names import Namespace
from recorder.reached import Reached
from recorder.stream import EventStream

__all__ = ["Origins", "assemble", "assemble_with_origins"]


def assemble(stream: EventStream) -> Graph:
    """The graph of everything in a stream. Pure: the same stream always gives the same graph.

    Raises:
        StreamError: an event refers to a tensor, module or call that no earlier event introduced, or says what no run
            does; the message has its number.
    """
    return assemble_with_origins(stream)[0]


class Origins(NamedTuple):
    """What a graph does not say, since it differs from run to run: where autograd's numbers and the stream's tensors
    are in it.

    ``makers`` has, by the number of the autograd node that an output had, who made the output, and the type of the
    autograd node; nobody, where the output was met without having been seen made. ``values`` has the first value of
    each tensor.
    """

    makers: dict[int, tuple[Node | None, str | None]]
    values: dict[int, Value]


def assemble_with_origins(stream: EventStream) -> tuple[Graph, Origins]:
    """The same graph as `assemble`'s, and what ties it to the run."""
    with collector_held_back():
        assembler = _Assembler(stream)
        return assembler.graph(), assembler.origins


@dataclass(slots=True, eq=False)
class _Memory:
    """What tensors that share memory have in common: how often it was written, by whom last, and as which node."""

    version: int = 0
    writer: Node | None = None
    position: int = 0


@dataclass(slots=True, eq=False)
class _State:
    """A tensor's present value, and the version of its memory that the value shows. ``sources`` stand for the value of
    a tensor that was made unseen.
    """

    value: Value
    meta: TensorMeta
    memory: _Memory
    version: int
    sources: tuple[Value, ...] = ()


@dataclass(slots=True, eq=False)
class _Frame:
    """A module call in progress, with ``begin`` nodes before it. ``before`` keeps the values that were current on entry
    and have been replaced, ``handed_on`` the states of tensors that a call inside returned as they were given: to the
    caller, who uses the same object, nothing has happened to it.
    """

    event: Enter
    module: Module
    parent: "_Frame | None"
    ignored: bool
    depth: int
    begin: int = 0
    scope: Scope | None = None
    before: dict[int, Value] = field(default_factory=dict)
    handed_on: dict[int, _State] = field(default_factory=dict)


class _Absurd(Exception):
    """What an event says is known, and yet makes no sense."""


class _Assembler:
    """The state of one pass; `graph` runs it."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.names = Namespace()
        self.value_names = Namespace()
        self.nodes: list[Node] = []
        self.scopes: list[Scope] = []
        self.inputs: dict[int, Value] = {}
        self.outputs: dict[int, Value] = {}
        self.initializers: list[Value] = []
        self.modules: dict[int, Module] = {}
        self.replaced: dict[int, tuple[int, ...]] = {}
        self.calls_of: dict[int, int] = {}
        self.tensors: dict[int, _State] = {}
        self.inside: dict[int, _State] = {}  # what a call had made of tensors, when that ended with the call
        self.memories: dict[int, _Memory] = {}
        self.frame: _Frame | None = None
        self.called: dict[int, Node | Scope | _Frame] = {}
        self.origins = Origins({}, {})
        self.module_of: dict[int, Module] = {}
        self.parameters: dict[int, Value] = {}
        self.reached = Reached()
        self.late: dict[int, tuple[Node, list[Value]]] = {}  # by node, its outputs and those that were met later
        self.uses_left = FREE_USES + USES_PER_EVENT * len(stream)

    def graph(self) -> Graph:
        handlers = {
            Op: self._op,
            Enter: self._enter,
            Leave: self._leave,
            Tensor: self._tensor,
            Module: self._module,
            Members: self._members,
            Derived: self._derived,
            Grad: self._grad,
            ParameterGrad: self._parameter_grad,
        }
        number = 0
        try:
            for number, event in enumerate(self.stream):  # noqa: B007 - named in the error below
                handlers[type(event)](event)  # type: ignore[operator]
            self._finish_open_frames()
        except _Absurd as error:
            raise StreamError(f"event {number}: {error}, which no real run does") from None
        except KeyError as error:
            raise StreamError(
                f"event {number} ({event!r}) refers to {error}, which no event before it introduced"
            ) from None
        for writer, outputs in self.late.values():
            writer.outputs = tuple(outputs)
        with_parameters = self.stream.header.meta.get("gradients") in ("on", "stats")
        self.reached.put(self.called, self.module_of, self.parameters, with_parameters)
        for value in (*self.inputs.values(), *(v for v in self._loose() if id(v) not in self.inputs)):
            value.name = self.value_names.unique("input" if value.role == "input" else value.role)
        header = self.stream.header
        return Graph(
            self.nodes,
            inputs=list(self.inputs.values()),
            outputs=list(self.outputs.values()),
            initializers=self.initializers,
            scopes=self.scopes,
            name=header.model.rpartition(".")[2],
            meta=dict(header.meta),
        )

    # Tensors and their versions

    def _tensor(self, event: Tensor) -> None:
        value = self._set(event.tensor, event.meta, event.role)
        if event.meta.sequence_nr is not None:
            self.origins.makers.setdefault(event.meta.sequence_nr, (None, event.meta.grad_fn))
        if event.role != "constant":
            value.name = self.value_names.unique(event.name or event.role)
            self.initializers.append(value)
            self.parameters[event.tensor] = value

    def _set(self, tensor: int, meta: TensorMeta, role: Role, name: str = "") -> Value:
        """Give a tensor a new value, which is up to date with its memory."""
        value = Value(name, meta.shape, meta.dtype, meta.device, meta.requires_grad, meta.grad_fn, role)
        storage = -1 - tensor if meta.storage is None else meta.storage
        memory = self.memories.get(storage)
        if memory is None:
            memory = self.memories[storage] = _Memory()
        old = self.tensors.get(tensor)
        if old is not None:
            self._remember(tensor, old.value, len(self.nodes))
            self.inside.pop(tensor, None)
        self.tensors[tensor] = _State(value, meta, memory, memory.version)
        self.origins.values.setdefault(tensor, value)
        return value

    def _remember(self, tensor: int, value: Value, position: int) -> None:
        """A value is replaced by what node number ``position`` made: calls that began before may have been given it."""
        frame = self.frame
        while frame is not None:
            if frame.event.outermost and frame.begin <= position:
                frame.before.setdefault(tensor, value)
            frame = frame.parent

    def _read(self, tensor: int) -> Value:
        """The tensor's value now. If its memory was written through another tensor, the writer made this value too."""
        state = self.tensors[tensor]
        memory = state.memory
        if self.inside:
            self.inside.pop(tensor, None)  # it is used again as it was
        if state.version != memory.version:
            old, writer = state.value, memory.writer
            assert writer is not None
            if id(writer) not in self.late:
                self.late[id(writer)] = (writer, list(writer.outputs))
            outputs = self.late[id(writer)][1]
            self._remember(tensor, old, memory.position)
            state.version = memory.version
            state.sources = ()
            state.value = Value(
                self.value_names.unique(f"{writer.name}:{len(outputs)}"),
                old.shape,
                old.dtype,
                old.device,
                old.requires_grad,
                old.grad_fn,
            )
            outputs.append(state.value)
        return state.value

    def _on_entry(self, tensor: int, frame: _Frame) -> Value:
        """What a tensor was when a call began, as far as the writes since can be told apart."""
        if tensor in frame.before:
            return frame.before[tensor]
        state = self.tensors[tensor]
        return self._read(tensor) if state.memory.position < frame.begin else state.value

    def _read_all(self, tensors: Iterable[int]) -> list[Value]:
        values: list[Value] = []
        for tensor in tensors:
            value = self._read(tensor)  # first: a write since then is news, and the sources are not
            values += self.tensors[tensor].sources or (value,)
        self._use(len(values))
        return values

    def _use(self, count: int) -> None:
        self.uses_left -= count
        if self.uses_left < 0:
            raise _Absurd("tensors are used more than 100 times for each event")

    def _derived(self, event: Derived) -> None:
        if self.frame is not None and self.frame.ignored:
            return
        state = self.tensors[event.tensor]
        if state.value.role == "constant":
            state.value.role = "activation"
        # Autograd tells it late: what the sources were when they were last used, not what they are by now. A tensor
        # that was written in place is a source of itself.
        found: dict[int, Value] = {}
        for source in event.sources:
            known = self.inside.get(source) or self.tensors[source]
            for v in known.sources or (known.value,):
                found[id(v)] = v
        state.sources = tuple(found.values())
        self._use(len(found))

    def _loose(self) -> list[Value]:
        """Values that were not seen made and have no name yet, in the order of their first use."""
        used = (v for node in self.nodes for v in node.inputs)
        return list({id(v): v for v in (*used, *self.outputs.values()) if not v.name}.values())

    # Calls

    def _module(self, event: Module) -> None:
        self.modules[event.module] = event

    def _members(self, event: Members) -> None:
        self.replaced[self.modules[event.module].module] = event.tensors

    def _op(self, event: Op) -> None:
        if event.outermost:
            self._abandon(event.start_ns)
        if event.recomputed or (self.frame is not None and self.frame.ignored):
            for output in event.outputs:  # which the user's code may have kept
                if output.tensor not in self.tensors:
                    self._set(output.tensor, output.meta, "activation")
            return
        inputs = self._read_all(event.inputs)
        if event.outermost:
            self._given(inputs)
        if event.module is None:
            scope = self._scope()
            prefix = "" if scope is None or (scope.fqn == "" and scope.call == 0) else f"{scope.name}."
            wish = prefix + event.op_type
            node = Node(self.names.unique(wish), "function", event.op_type, event.target, None, None, scope)
            node.attributes = event.attributes
        else:
            node = self._module_node(self.modules[event.module], inputs)
            if event.call is not None:
                self.called[event.call] = node
                self.module_of[event.call] = self.modules[event.module]
        node.inputs = tuple(inputs)
        node.error = event.error
        node.duration_ns = event.stop_ns - event.start_ns
        self._make(node, [(output.tensor, output.meta) for output in event.outputs], event.writes, event.inputs)
        if event.outermost:
            self._returned([output.tensor for output in event.outputs])

    def _module_node(self, module: Module, inputs: list[Value]) -> Node:
        """A node for a call of a module; adds the module's own tensors to its inputs."""
        members = self.replaced.get(module.module)
        if members is None:
            members = tuple([member.tensor for member in (*module.parameters, *module.buffers)])
        self._use(len(members))
        for tensor in members:
            inputs.append(self._read(tensor))  # noqa: PERF401 - the list is the caller's
        scope = self._scope()  # first: where a module calls itself, the calls around this one are counted before it
        call = self._count(module)
        name = self.names.unique(_call_name(module, call))
        node = Node(name, "module", module.op_type, module.target, module.fqn, call, scope)
        node.attributes = module.attributes
        return node

    def _make(
        self, node: Node, made: list[tuple[int, TensorMeta]], writes: tuple[int, ...], given: tuple[int, ...]
    ) -> None:
        """Append a node, and give each tensor that it made or wrote its new value."""
        for tensor in writes:
            memory = self.tensors[tensor].memory
            memory.version += 1
            memory.writer = node
            memory.position = len(self.nodes)
        outputs: dict[int, Value] = {}
        for tensor, meta in made:
            if tensor not in outputs:
                if self.frame is not None and tensor not in writes and tensor in self.tensors and tensor in given:
                    self.frame.handed_on.setdefault(tensor, self.tensors[tensor])
                name = self.value_names.unique(f"{node.name}:{len(outputs)}")
                outputs[tensor] = self._set(tensor, meta, "activation", name)
                number = meta.sequence_nr
                made_here = tensor in writes or tensor not in given
                if number is not None and made_here and self.origins.makers.get(number, (None,))[0] is None:
                    self.origins.makers[number] = (node, meta.grad_fn)
        node.outputs = tuple(outputs.values())
        self.nodes.append(node)

    def _count(self, module: Module) -> int:
        call = self.calls_of.get(module.module, 0)
        self.calls_of[module.module] = call + 1
        return call

    def _enter(self, event: Enter) -> None:
        if event.outermost:
            self._abandon(event.start_ns)
        parent = self.frame
        ignored = event.recomputed or (parent is not None and parent.ignored)
        if event.outermost and not ignored:
            self._given(self._read_all(event.inputs))
        module = self.modules[event.module]
        depth = 1 if parent is None else parent.depth + 1
        if depth > DEEPEST:
            raise _Absurd(f"calls are nested more than {DEEPEST:,} deep")
        if event.call in self.called:
            raise _Absurd(f"call {event.call} is entered a second time")
        self.module_of[event.call] = module
        self.frame = self.called[event.call] = _Frame(event, module, parent, ignored, depth, len(self.nodes))

    def _leave(self, event: Leave) -> None:
        frame = self.called[event.call]
        if not isinstance(frame, _Frame):
            raise KeyError(f"call {event.call}")
        self._abandon(event.stop_ns, frame)
        self._close(frame, event)

    def _abandon(self, now: int, until: _Frame | None = None) -> None:
        """The calls in progress inside ``until``, or all of them, never returned: a call around them did, or a new
        outermost one began.
        """
        while self.frame is not None and self.frame is not until:
            self._close(self.frame, Leave(self.frame.event.call, now, error=UNFINISHED))

    def _close(self, frame: _Frame, event: Leave) -> None:
        self.frame = frame.parent
        if frame.ignored:
            del self.called[event.call]
            return
        for tensor, state in frame.handed_on.items():
            if tensor in event.outputs:
                if self.frame is not None:
                    self.frame.handed_on.setdefault(tensor, state)
            elif state.memory.version == state.version:  # not written since
                self.inside[tensor] = self.tensors[tensor]
                self.tensors[tensor] = state
        duration = event.stop_ns - frame.event.start_ns
        if frame.scope is None:
            inputs = self._read_all(event.inputs or frame.event.inputs)
            if frame.event.outermost:
                self._given(inputs)
            node = self._module_node(frame.module, inputs)
            node.inputs, node.error, node.duration_ns = tuple(inputs), event.error, duration
            self._make(node, [(tensor, self.tensors[tensor].meta) for tensor in event.outputs], (), event.inputs)
            self.called[event.call] = node
        else:
            if frame.event.outermost:
                # What the call was given is what was current when it began.
                self._given(self._on_entry(t, frame) for t in event.inputs)
            frame.scope.error, frame.scope.duration_ns = event.error, duration
            self.called[event.call] = frame.scope
            for tensor in event.outputs:
                value = self.tensors[tensor].value
                if value.role == "constant" and tensor not in event.inputs:
                    value.role = "activation"  # made inside, where the recording could not look
        if frame.event.outermost:
            self._returned(event.outputs)

    def _scope(self) -> Scope | None:
        """The scope of the frame in progress, made now, with those around it, if it has not been needed before."""
        missing = []
        frame = self.frame
        while frame is not None and frame.scope is None:
            missing.append(frame)
            frame = frame.parent
        parent = None if frame is None else frame.scope
        for frame in reversed(missing):
            module = frame.module
            call = self._count(module)
            name = self.names.unique(_call_name(module, call))
            parent = frame.scope = Scope(module.fqn, call, module.op_type, parent, name, module.target)
            parent.attributes = module.attributes
            self.scopes.append(parent)
        return parent

    def _given(self, values: Iterable[Value]) -> None:
        for value in values:
            if value.producer is None and value.role == "constant":
                value.role = "input"
            if value.role == "input":
                self.inputs.setdefault(id(value), value)

    def _returned(self, tensors: Iterable[int]) -> None:
        for tensor in tensors:
            value = self._read(tensor)
            self.outputs.setdefault(id(value), value)

    def _finish_open_frames(self) -> None:
        """Calls still in progress: a stream may end anywhere. They are whole up to there, without a duration."""
        while self.frame is not None:
            frame = self.frame
            if frame.scope is None and not frame.ignored:
                self._close(frame, Leave(frame.event.call, frame.event.start_ns))
                self.nodes[-1].duration_ns = None
            else:
                self.frame = frame.parent
                if frame.scope is not None:
                    self.called[frame.event.call] = frame.scope

    # Backward

    def _grad(self, event: Grad) -> None:
        if event.call in self.called:  # a call that was recomputed is no call of its own
            self.reached.grad(event)

    def _parameter_grad(self, event: ParameterGrad) -> None:
        if event.tensor not in self.tensors:
            raise KeyError(f"tensor {event.tensor}")
        self.reached.parameter(event)


def _call_name(module: Module, call: int) -> str:
    name = module.fqn or module.op_type
    return f"{name}#{call}" if call else name
