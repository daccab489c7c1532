"""From events to the DAG: one pure pass over a stream, without torch.

Three things are worked out here and nowhere else:

* **Nesting.** `Enter` and `Leave` make a stack of frames. A frame becomes a `Scope` with the first thing recorded
  inside it, and a `Node` if it ends without any.
* **Dataflow.** A call uses what its tensors are at that moment, and makes what they are from then on: see
  `recorder.assembly.tensor_versions`.
* **Backward.** `Grad` events become `backward_ns`, from the arrival of gradients at a call until they left it, summed
  over the backward passes: see `recorder.assembly.backward_spans`. What else they say is in ``meta``: see
  `recorder.assembly.backward_marks`.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from recorder.assembly.backward_marks import Reached
from recorder.assembly.collectives import Collectives, without_tensors
from recorder.assembly.ends import Ends, names_for
from recorder.assembly.holdings import Registry
from recorder.assembly.memory import LATER, put_memory
from recorder.assembly.open_calls import OpenCall, call_name
from recorder.assembly.origins import Origins
from recorder.assembly.tensor_versions import Absurd, Versions
from recorder.assembly.value_marks import Contents
from recorder.errors import StreamError
from recorder.events.stream import EventStream
from recorder.events.types import (
    UNFINISHED,
    BackwardStart,
    Derived,
    Enter,
    Grad,
    Holdings,
    Leave,
    Measured,
    Members,
    Module,
    NotFinite,
    Op,
    Output,
    ParameterGrad,
    Tensor,
)
from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.names import Namespace, of_output, unlike_output
from recorder.limits import DEEPEST

__all__ = ["assemble", "assemble_with_origins"]


def assemble(stream: EventStream) -> Graph:
    """The graph of everything in a stream. Pure: the same stream always gives the same graph.

    Raises:
        StreamError: an event refers to a tensor, module or call that no earlier event introduced, or says what no run
            does; the message has its number.
    """
    return assemble_with_origins(stream)[0]


def assemble_with_origins(stream: EventStream) -> tuple[Graph, Origins]:
    """The same graph as `assemble`'s, and what ties it to the run."""
    with collector_held_back():
        assembler = _Assembler(stream)
        return assembler.graph(), assembler.origins


class _Assembler:
    """The state of one pass; `graph` runs it."""

    def __init__(self, stream: EventStream) -> None:
        self.stream = stream
        self.names = Namespace()
        self.value_names = Namespace()  # of those that no node made
        self.nodes: list[Node] = []
        self.scopes: list[Scope] = []
        self.ends = Ends()
        self.initializers: list[Value] = []
        self.modules: dict[int, Module] = {}
        self.own: dict[int, tuple[tuple[int, ...], tuple[str, ...]]] = {}  # what modules hold, and its names
        self.replaced: dict[int, tuple[int, ...]] = {}
        self.calls_of: dict[int, int] = {}
        self.versions = Versions(self.nodes, len(stream))
        self.contents = Contents(self.versions)
        self.frame: OpenCall | None = None
        self.called: dict[int, Node | Scope | OpenCall] = {}
        self.origins = Origins({}, self.versions.first)
        self.parameters: dict[int, Value] = {}
        self.reached, self.registry, self.collectives = Reached(), Registry(), Collectives(self.parameters)

    def graph(self) -> Graph:
        handlers = {
            Op: self._op,
            Enter: self._enter,
            Leave: self._leave,
            Tensor: self._tensor,
            Module: self._module,
            Members: self._members,
            Derived: self._derived,
            Measured: self._measured,
            NotFinite: self.contents.not_finite,
            Grad: self._grad,
            ParameterGrad: lambda event: self.reached.parameter(event, self.versions.states),
            BackwardStart: lambda event: self.reached.start(event, self.versions.states[event.tensor].value),
            Holdings: self.registry.take,
            **LATER,
            **self.collectives.handlers(),
        }
        number = 0
        try:
            for number, event in enumerate(self.stream):  # noqa: B007 - named in the error below
                handlers[type(event)](event)  # type: ignore[operator]
            self._finish_open_frames()
            self.nodes += self.collectives.without_call(self.names)
        except Absurd as error:
            raise StreamError(f"event {number}: {error}, which no real run does") from None
        except KeyError as error:
            raise StreamError(
                f"event {number} ({event!r}) refers to {error}, which no event before it introduced"
            ) from None
        self.versions.finish()
        self.contents.finish()
        self.ends.name_values(self.value_names, self.nodes, self.scopes)
        header = self.stream.header
        graph = Graph(
            self.nodes,
            inputs=list(self.ends.inputs.values()),
            outputs=self.ends.outputs,
            initializers=self.initializers,
            scopes=self.scopes,
            name=header.model.rpartition(".")[2],
            meta=dict(header.meta),
            input_names=[self.ends.input_names.get(key, "") for key in self.ends.inputs],
            output_names=self.ends.output_names,
        )
        self.reached.put(graph, self.called, self.parameters)
        self.registry.put(graph, self.called, self.reached.modules(), self.versions.first)
        put_memory(graph, self.stream, self.called, self.versions.first)
        return graph

    # Tensors

    def _tensor(self, event: Tensor) -> None:
        value = self.versions.set(event.tensor, event.meta, event.role)
        if event.meta.sequence_nr is not None:
            self.origins.makers.setdefault(event.meta.sequence_nr, (None, event.meta.grad_fn))
        if event.role != "constant":
            value.name = self.value_names.unique(unlike_output(event.name or event.role))
            self.initializers.append(value)
            self.parameters[event.tensor] = value

    def _derived(self, event: Derived) -> None:
        if self.frame is None or not self.frame.ignored:
            self.versions.derive(event.tensor, event.sources)

    def _measured(self, event: Measured) -> None:
        if self.frame is None or not self.frame.ignored:
            self.contents.measured(event)

    # Calls

    def _module(self, event: Module) -> None:
        own = (*event.parameters, *event.buffers)
        self.modules[event.module] = event
        self.own[event.module] = tuple([member.tensor for member in own]), tuple([member.name for member in own])

    def _members(self, event: Members) -> None:
        self.replaced[self.modules[event.module].module] = event.tensors
        self.registry.stand_ins.update(event.tensors)

    def _op(self, event: Op) -> None:
        if event.outermost:
            self._abandon(event.start_ns)
        frame, versions = self.frame, self.versions
        if event.recomputed or (frame is not None and frame.ignored):
            for output in event.outputs:  # which the user's code may have kept
                if output.tensor not in versions.states:
                    versions.set(output.tensor, output.meta, "activation")
            if event.collective is None:
                return
            event = without_tensors(event)  # it was issued again, with what was computed again
        duration = event.stop_ns - event.start_ns
        module = None if event.module is None else self.modules[event.module]
        if module is None:
            scope = self._scope()
            prefix = "" if scope is None or (scope.fqn == "" and scope.call == 0) else f"{scope.name}."
            name = self.names.unique(prefix + event.op_type)
            inputs = tuple(versions.values(event.inputs))
            marks: dict[str, Any] = {"hook": True} if event.hook else {}
            marks |= {} if event.source is None else {"source": event.source}
            node = Node(
                name, "function", event.op_type, event.target, None, None, scope, inputs, (), dict(event.attributes),
                marks, event.error, duration,
            )  # fmt: skip
        else:
            node = self._module_node(module, event, event.attributes, duration, event.outermost)
        if event.call is not None:
            self.called[event.call] = node
            self.reached.calls[event.call] = module, event.sequence_nr
        if event.collective is not None:
            self.collectives.mark(node, event.collective)
        self._make(node, event.outputs, event.writes, event.inputs, event.output_names)
        if event.outermost:
            self.ends.returned([versions.read(output.tensor).value for output in event.outputs], event.output_names)

    def _module_node(
        self, module: Module, event: Op | Leave, arguments: dict[str, Any], duration: int, outermost: bool
    ) -> Node:
        """A node for a call of a module, which uses the module's own tensors, too."""
        versions, given = self.versions, event.inputs
        inputs, names = versions.values(given), names_for(event.input_names, len(given))
        if len(inputs) != len(given):  # several values stand for one that was made unseen
            names = tuple([name for tensor, name in zip(given, names) for _ in versions.stand_ins(tensor)])
        if outermost:
            self.ends.given(inputs, names)
        members, own_names = self.own[module.module]
        members = self.replaced.get(module.module, members)
        versions.use(len(members))
        inputs += [versions.read(tensor).value for tensor in members]
        names += names_for(own_names, len(members))
        gathered, gathered_names = self.collectives.gathered(members, own_names)
        inputs, names = inputs + gathered, names + gathered_names
        scope = self._scope()  # first: where a module calls itself, the calls around this one are counted before it
        call = self._count(module)
        name = self.names.unique(call_name(module, call))
        return Node(
            name, "module", module.op_type, module.target, module.fqn, call, scope, tuple(inputs), (),
            dict(module.attributes), {"arguments": dict(arguments)} if arguments else {}, event.error, duration, None,
            names,
        )  # fmt: skip

    def _make(
        self,
        node: Node,
        made: Sequence[Output],
        writes: tuple[int, ...],
        given: tuple[int, ...],
        names: tuple[str, ...],
    ) -> None:
        """Append a node, and give each tensor that it made or wrote its new value."""
        frame, versions, makers = self.frame, self.versions, self.origins.makers
        self.contents.mark(node, given, writes)
        for tensor in writes:
            versions.write(tensor, node)
        outputs: dict[int, Value] = {}
        for output in made:
            tensor, meta = output.tensor, output.meta
            if tensor in outputs:
                continue
            handed_on = tensor in given and tensor not in writes
            if handed_on and frame is not None and tensor in versions.states:
                frame.handed_on.setdefault(tensor, versions.states[tensor])
            name = of_output(node.name, len(outputs))
            outputs[tensor] = value = versions.set(tensor, meta, "activation", name)
            if handed_on:
                value.meta["handed_on"] = True
            number = meta.sequence_nr
            if number is not None and not handed_on and makers.get(number, (None,))[0] is None:
                makers[number] = (node, meta.grad_fn)
        node.outputs = tuple(outputs.values())
        if node.kind == "module" and len(made) == 1:
            node.output_names = names_for(names, 1)
        elif node.kind == "module":
            named = dict(zip(reversed([output.tensor for output in made]), reversed(names_for(names, len(made)))))
            node.output_names = tuple([named[tensor] for tensor in outputs])
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
            self.versions.use(len(event.inputs))
            self.ends.given([self.versions.read(tensor).value for tensor in event.inputs])
        module = self.modules[event.module]
        depth = 1 if parent is None else parent.depth + 1
        if depth > DEEPEST:
            raise Absurd(f"calls are nested more than {DEEPEST:,} deep")
        if event.call in self.called:
            raise Absurd(f"call {event.call} is entered a second time")
        self.reached.calls[event.call] = module, event.sequence_nr
        self.frame = self.called[event.call] = OpenCall(event, module, parent, ignored, depth, len(self.nodes))

    def _leave(self, event: Leave) -> None:
        frame = self.called[event.call]
        if not isinstance(frame, OpenCall):
            raise KeyError(f"call {event.call}")
        self._abandon(event.stop_ns, frame)
        self._close(frame, event)

    def _abandon(self, now: int, until: OpenCall | None = None) -> None:
        """The calls in progress inside ``until``, or all of them, never returned: a call around them did, or a new
        outermost one began.
        """
        while self.frame is not None and self.frame is not until:
            self._close(self.frame, Leave(self.frame.event.call, now, error=UNFINISHED))

    def _close(self, frame: OpenCall, event: Leave) -> None:
        self.frame = frame.parent
        if frame.ignored:
            del self.called[event.call]
            return
        versions = self.versions
        for tensor, state in frame.handed_on.items():
            if tensor in event.outputs:
                if self.frame is not None:
                    self.frame.handed_on.setdefault(tensor, state)
            elif versions.is_current(state):
                versions.inside[tensor] = versions.states[tensor]
                versions.states[tensor] = state
        duration = event.stop_ns - frame.event.start_ns
        if frame.scope is None:
            if not event.inputs:
                event = msgspec.structs.replace(event, inputs=frame.event.inputs)
            node = self._module_node(frame.module, event, event.arguments, duration, frame.event.outermost)
            made = [Output(tensor, versions.states[tensor].meta) for tensor in event.outputs]
            self._make(node, made, (), event.inputs, event.output_names)
            self.called[event.call] = node
        else:
            frame.scope.error, frame.scope.duration_ns = event.error, duration
            self._describe(frame, frame.scope, event)
            self.called[event.call] = frame.scope
        if frame.event.outermost:
            self.ends.returned([versions.read(tensor).value for tensor in event.outputs], event.output_names)

    def _describe(self, frame: OpenCall, scope: Scope, event: Leave) -> None:
        """What a call was given is what was current when it began, and what it returned is what is now."""
        versions, given = self.versions, event.inputs or frame.event.inputs
        versions.use(len(given) + len(event.outputs))
        began = [
            (versions.at(tensor, frame.begin), name)
            for tensor, name in zip(given, names_for(event.input_names, len(given)))
        ]
        inputs = [(value, name) for value, name in began if value is not None]
        scope.inputs, scope.input_names = tuple([v for v, _ in inputs]), tuple([name for _, name in inputs])
        if frame.event.outermost:
            self.ends.given(scope.inputs, scope.input_names)
        for tensor in event.outputs:
            value = versions.states[tensor].value
            if value.role == "constant" and tensor not in event.inputs:
                value.role = "activation"  # made inside, where the recording could not look
        scope.outputs = tuple([versions.read(tensor).value for tensor in event.outputs])
        scope.output_names = names_for(event.output_names, len(event.outputs))
        if event.arguments:
            scope.meta["arguments"] = dict(event.arguments)

    def _scope(self) -> Scope | None:
        """The scope of the frame in progress, made now, with those around it, if it has not been needed before."""
        frame = self.frame
        while frame is not None and frame.ignored:
            frame = frame.parent
        if frame is None:
            return None
        if frame.scope is not None:
            return frame.scope
        missing = []
        while frame is not None and frame.scope is None:
            missing.append(frame)
            frame = frame.parent
        parent = None if frame is None else frame.scope
        for frame in reversed(missing):
            module = frame.module
            call = self._count(module)
            name = self.names.unique(call_name(module, call))
            parent = frame.scope = Scope(module.fqn, call, module.op_type, parent, name, module.target)
            parent.attributes = dict(module.attributes)
            self.scopes.append(parent)
        return parent

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
                    self._describe(frame, frame.scope, Leave(frame.event.call, 0))
                    self.called[frame.event.call] = frame.scope

    # Backward

    def _grad(self, event: Grad) -> None:
        if event.call in self.called:  # a call that was recomputed is no call of its own
            self.reached.grad(event)
