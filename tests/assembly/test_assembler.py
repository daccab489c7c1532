"""assemble() against a reference model that works another way, and against graphs written down by hand."""

import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import msgspec
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from support import strategies

import recorder
from recorder import EventStream, Graph, StreamError, assemble
from recorder.events import Derived, Enter, Event, Grad, Leave, Member, Module, Op, Output, Tensor, TensorMeta
from recorder.testing import StreamBuilder, sample_streams
from recorder.testing.stream_builder import OpenCall

# A reference model


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


@pytest.mark.slow
@settings(max_examples=400, deadline=None)
@given(strategies.streams())
def test_the_graph_says_what_a_naive_model_says(stream: EventStream) -> None:
    note("\n".join(map(repr, stream)))
    agree(stream)


@pytest.mark.parametrize("name", sample_streams())
def test_the_naive_model_agrees_on_the_samples(name: str) -> None:
    assert len(agree(sample_streams()[name]).nodes) > 1


# What holds for every stream


@settings(deadline=None)
@given(strategies.streams())
def test_the_same_stream_always_gives_the_same_graph(stream: EventStream) -> None:
    one, other = assemble(stream), assemble(EventStream(list(stream), stream.header))
    assert one == other
    assert recorder.dumps(one, timing=True) == recorder.dumps(other, timing=True)


@settings(deadline=None, max_examples=50)
@given(stream=strategies.streams())
def test_a_saved_stream_gives_the_same_graph(tmp_path_factory: pytest.TempPathFactory, stream: EventStream) -> None:
    path = tmp_path_factory.mktemp("streams") / "run.jsonl"
    stream.save(path)
    assert recorder.dumps(assemble(EventStream.load(path))) == recorder.dumps(assemble(stream))


@settings(deadline=None, max_examples=30)
@given(strategies.streams(max_size=20))
def test_a_stream_may_be_cut_anywhere(stream: EventStream) -> None:
    events = list(stream)
    nodes = 0
    for end in range(len(events) + 1):
        graph = agree(EventStream(events[:end]))
        finished = sum(node.duration_ns is not None for node in graph.nodes)
        assert finished >= nodes  # what was once finished stays
        nodes = finished


@settings(deadline=None, max_examples=50)
@given(strategies.streams())
def test_times_change_nothing_but_durations(stream: EventStream) -> None:
    def later(event: Event) -> Event:
        times = {name: 3 * getattr(event, name) + 5 for name in ("start_ns", "stop_ns", "ns") if hasattr(event, name)}
        return msgspec.structs.replace(event, **times)

    graph, slow = assemble(stream), assemble(EventStream(map(later, stream), stream.header))
    assert slow == graph
    for fast_node, slow_node in zip(graph.nodes, slow.nodes, strict=True):
        if fast_node.duration_ns is not None:
            assert slow_node.duration_ns == 3 * fast_node.duration_ns
        if fast_node.backward_ns is not None:
            assert slow_node.backward_ns == 3 * fast_node.backward_ns


@settings(deadline=None)
@given(strategies.streams(), st.data())
def test_a_stream_that_lacks_or_repeats_events_is_refused_or_assembled(
    stream: EventStream, data: st.DataObject
) -> None:
    """Nothing but our own errors comes out of events that are each valid and do not fit together."""
    events = list(stream)
    picked = data.draw(st.lists(st.sampled_from(events), max_size=2 * len(events))) if events else []
    try:
        graph = assemble(EventStream(picked))
    except StreamError:
        pass
    else:
        graph.lint()


# Streams and their graphs written down


def net(inputs: Sequence[int] = (), *, build: StreamBuilder) -> AbstractContextManager[OpenCall]:
    return build.call("", "Net", inputs)


def edges(graph: Graph) -> list[str]:
    return [f"{edge.source.name} -> {edge.target.name}" for edge in graph.edges()]


def of(graph: Graph, name: str) -> recorder.Node:
    return next(node for node in graph.nodes if node.name == name)


def names(values: Sequence[recorder.Value]) -> list[str]:
    return [value.name for value in values]


def test_residual() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        h = build.op("conv", "Conv2d", [x], (2, 4), weight=(4, 4))
        h = build.op("bn", "BatchNorm2d", [h], (2, 4))
        y = build.op(None, "add", [h, x], (2, 4))
        call.outputs = [y]
    graph = agree(build.stream)
    assert edges(graph) == ["conv -> bn", "bn -> add"]
    assert names(of(graph, "conv").inputs) == ["input", "conv.weight"]
    assert names(of(graph, "add").inputs) == ["bn:0", "input"]
    assert names(graph.inputs) == ["input"]
    assert names(graph.outputs) == ["add:0"]
    assert names(graph.initializers) == ["conv.weight"]


def test_writing_a_view_writes_its_base() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        base = build.op("fc", "Linear", [x], (2, 4))
        row = build.view("select", base, (4,))
        build.write("mul_", row)
        call.outputs = [build.op(None, "sum", [base], ())]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> select", "select -> mul_", "mul_ -> sum"]
    assert names(of(graph, "mul_").outputs) == ["mul_:0", "mul_:1"]
    assert [value.shape for value in of(graph, "mul_").outputs] == [(4,), (2, 4)]


def test_writing_a_base_writes_its_views() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        base = build.op("fc", "Linear", [x], (2, 4))
        row = build.view("select", base, (4,))
        build.write("zero_", base)
        call.outputs = [build.op(None, "sum", [row], ())]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> select", "fc -> zero_", "zero_ -> sum"]


def test_writes_through_two_views_follow_one_another() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        base = build.op("fc", "Linear", [x], (2, 4))
        one, two = build.view("one", base, (4,)), build.view("two", base, (4,))
        build.write("mul_", one)
        build.write("add_", two)
        call.outputs = [base]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> one", "fc -> two", "one -> mul_", "mul_ -> add_"]
    assert graph.outputs[0].producer is of(graph, "add_")


def test_item_assignment_that_returns_nothing() -> None:
    """``y[0] = 0``: the call returns None, and whoever reads ``y`` afterwards reads what it wrote."""
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        y = build.op("fc", "Linear", [x], (2, 4))
        build.append(Op("setitem", 100, 101, "torch.Tensor.__setitem__", inputs=(y,), writes=(y,)))
        call.outputs = [y]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> setitem"]
    assert names(graph.outputs) == ["setitem:0"]


def test_one_module_called_thrice() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        for _ in range(3):
            x = build.op("fc", "Linear", [x], (1, 4), weight=(4, 4))
        call.outputs = [x]
    graph = agree(build.stream)
    assert [(node.name, node.fqn, node.call) for node in graph.nodes] == [
        ("fc", "fc", 0),
        ("fc#1", "fc", 1),
        ("fc#2", "fc", 2),
    ]
    assert edges(graph) == ["fc -> fc#1", "fc#1 -> fc#2"]
    (weight,) = graph.initializers
    assert [(node.name, position) for node, position in weight.uses] == [("fc", 1), ("fc#1", 1), ("fc#2", 1)]


def test_recursion_counts_the_outer_call_first() -> None:
    """The innermost call holds nothing, so it is a node: the first thing recorded, and yet the third call."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with (
        build.call("", "Net", [x]) as root,
        build.call("cell", "Cell", [x]) as outer,
        build.call("cell", "Cell", [x]) as middle,
        build.call("cell", "Cell", [x]) as inner,
    ):
        for call in (root, outer, middle, inner):
            call.outputs = [x]
    graph = agree(build.stream)
    (node,) = graph.nodes
    assert (node.name, node.call) == ("cell#2", 2)
    assert [(scope.name, scope.call) for scope in graph.scopes] == [("Net", 0), ("cell", 0), ("cell#1", 1)]
    assert [scope.parent for scope in graph.scopes] == [None, *graph.scopes[:-1]]
    assert node.scope is graph.scopes[-1]


@pytest.mark.parametrize("leaf", [True, False])
def test_a_module_that_returns_its_input_makes_a_value(leaf: bool) -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        h = build.op("fc", "Linear", [x], (1, 4))
        if leaf:
            module = build.module("id", "Identity", leaf=True)
            meta = TensorMeta((1, 4), "float32", "cpu", storage=h)
            build.append(Op("Identity", 50, 60, module=module, call=99, inputs=(h,), outputs=(Output(h, meta),)))
        else:
            with build.call("id", "Mine", [h]) as inner:
                inner.outputs = [h]
        call.outputs = [build.op(None, "relu", [h], (1, 4))]
    graph = agree(build.stream)
    assert edges(graph) == ["fc -> id", "id -> relu"]
    assert names(of(graph, "id").outputs) == ["id:0"]


def test_a_scope_that_returns_its_input_is_no_node() -> None:
    """Something was recorded inside, so the call is a scope, and dataflow goes around what it did."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        h = build.op("fc", "Linear", [x], (1, 4))
        with build.call("spy", "Spy", [h]) as spy:
            build.op(None, "norm", [h], ())
            spy.outputs = [h]
        call.outputs = [build.op(None, "relu", [h], (1, 4))]
    assert edges(agree(build.stream)) == ["fc -> spy.norm", "fc -> relu"]


def test_shared_weights_are_one_initializer_with_two_uses() -> None:
    build = StreamBuilder()
    tokens = build.tensor((5,), dtype="int64")
    weight = build.tensor((100, 8), name="embed.weight")
    for number, fqn in enumerate(("embed", "head"), 10):
        build.append(Module(number, fqn, "Linear", "torch.nn.Linear", True, parameters=(Member("weight", weight),)))
    with net([tokens], build=build) as call:
        h = TensorMeta((5, 8), "float32", "cpu", storage=70)
        y = TensorMeta((5, 100), "float32", "cpu", storage=71)
        build.append(Op("Linear", 10, 20, module=10, call=50, inputs=(tokens,), outputs=(Output(70, h),)))
        build.append(Op("Linear", 30, 40, module=11, call=51, inputs=(70,), outputs=(Output(71, y),)))
        call.outputs = [71]
    graph = agree(build.stream)
    assert edges(graph) == ["embed -> head"]
    (initializer,) = graph.initializers
    assert initializer.name == "embed.weight"
    assert [(node.name, position) for node, position in initializer.uses] == [("embed", 1), ("head", 1)]


def test_an_exception_in_the_middle() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    error = "RuntimeError: no"
    with net([x], build=build) as call:
        call.error = error
        h = build.op("fc1", "Linear", [x], (1, 4))
        with build.call("block", "Block", [h]) as block:
            block.error = error
            build.op("block.fc", "Linear", [h], error=error)
    y = build.tensor((1, 4))
    with net([y], build=build) as call:
        call.outputs = [build.op("fc1", "Linear", [y], (1, 4))]
    graph = agree(build.stream)
    assert edges(graph) == ["fc1 -> block.fc"]
    assert [(node.name, node.error) for node in graph.nodes] == [("fc1", None), ("block.fc", error), ("fc1#1", None)]
    assert [(scope.name, scope.error) for scope in graph.scopes] == [("Net", error), ("block", error), ("Net#1", None)]
    assert names(graph.inputs) == ["input", "input_1"]
    assert names(graph.outputs) == ["fc1#1:0"]


def test_a_parameter_may_be_named_like_what_a_node_makes() -> None:
    build = StreamBuilder()
    x = build.tensor((2, 4))
    with net([x], build=build) as call:
        call.outputs = [build.op("fc", "Linear", [x], (2, 4), **{"fc:0": (4, 4)})]
        build.tensor((1,), name="fc:0")
    graph = assemble(build.stream)
    graph.lint()
    assert names(of(graph, "fc").outputs) == ["fc:0"]
    assert names(graph.initializers) == ["fc.fc:0_", "fc:0_"]


def test_no_tensor_at_all() -> None:
    build = StreamBuilder()
    with net(build=build), build.call("clock", "Clock"):
        pass
    graph = agree(build.stream)
    assert [(node.name, node.inputs, node.outputs) for node in graph.nodes] == [("clock", (), ())]
    assert (graph.inputs, graph.outputs, graph.initializers) == ([], [], [])


def test_a_nested_call_that_never_returned() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        block, empty = build.module("block", "Block"), build.module("empty", "Empty")
        build.append(Enter(70, block, 10, (x,)))
        h = build.op("fc", "Linear", [x], (1, 4))
        build.append(Enter(71, empty, 20, (h,)))
        call.outputs = [h]
    graph = agree(build.stream)
    assert [(s.name, s.error) for s in graph.scopes] == [("Net", None), ("block", "did not return")]
    assert [(n.name, n.error) for n in graph.nodes] == [("fc", None), ("empty", "did not return")]
    assert edges(graph) == ["fc -> empty"]
    assert names(graph.outputs) == ["fc:0"]


def test_calls_that_never_returned_do_not_hold_the_next_outermost_one() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    build.append(Enter(70, build.module("", "Net"), 10, (x,), outermost=True))
    build.op("fc", "Linear", [x], (1, 4))
    with net([x], build=build) as call:
        call.outputs = [build.op("fc", "Linear", [x], (1, 4))]
    graph = agree(build.stream)
    assert [(s.name, s.parent, s.error) for s in graph.scopes] == [
        ("Net", None, "did not return"),
        ("Net#1", None, None),
    ]
    assert len(graph.inputs) == 1


def test_recomputed_calls_are_no_calls_of_their_own() -> None:
    """Checkpointing stops the recomputation half-way, so that its last calls never return; training goes on."""
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        h = build.op("fc", "Linear", [x], (1, 4))
        call.outputs = [h]
    block = build.module("block", "Block")
    build.append(Enter(70, block, 10, (x,), recomputed=True))
    build.append(Op("add", 11, 12, inputs=(x,), outputs=(Output(90, TensorMeta((1, 4), "float32", "cpu")),)))
    build.append(Grad(70, "arrive", 13))
    with net([x], build=build) as call:
        kept = build.op(None, "mul", [x, 90], (1, 4))
        call.outputs = [kept]
    graph = agree(build.stream)
    assert [node.name for node in graph.nodes] == ["fc", "Net#1.mul"]
    _, stray = of(graph, "Net#1.mul").inputs
    assert (stray.role, stray.producer) == ("activation", None)


def test_what_was_derived_unseen_has_the_makers_of_its_sources() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:
        a = build.op("a", "Linear", [x], (1, 4))
        b = build.op("b", "Linear", [x], (1, 4))
        first = build.tensor((1, 4))
        build.append(Derived(first, (a, b)))
        build.write("zero_", a)  # too late to matter to what was computed before
        second = build.tensor((1, 4))
        build.append(Derived(second, (first,)))
        build.op("c", "Linear", [second], (1, 4))
        build.write("relu_", second)
        call.outputs = [build.op("d", "Linear", [second], (1, 4))]
    graph = agree(build.stream)
    assert edges(graph) == ["a -> zero_", "a -> c", "b -> c", "a -> relu_", "b -> relu_", "relu_ -> d"]
    assert names(graph.inputs) == ["input"]


def test_an_input_told_by_keyword_is_an_input_even_if_a_view_of_it_was_written() -> None:
    """Before a call torch tells only positional arguments, so its keywords are known when it ends."""
    build = StreamBuilder()
    x = build.tensor((2, 4))
    build.append(Enter(70, build.module("", "Net"), 10, (), outermost=True))
    row = build.view("select", x, (4,))
    build.write("zero_", row)
    y = build.op(None, "sum", [x], ())
    build.append(Leave(70, 90, (x,), (y,)))
    graph = agree(build.stream)
    assert edges(graph) == ["select -> zero_", "zero_ -> sum"]
    assert names(graph.inputs) == ["input"]
    assert graph.inputs[0] is of(graph, "select").inputs[0]


def test_backward_is_timed_from_arrival_to_departure_and_summed_over_passes() -> None:
    build = StreamBuilder()
    x = build.tensor((1, 4))
    with net([x], build=build) as call:  # its number is 0; those of its layers are 1 and 2
        h = build.op("a", "Linear", [x], (1, 4))
        call.outputs = [build.op("b", "Linear", [h], (1, 4))]
    for call_number, phase, ns, backward in [
        (2, "arrive", 1000, 0),
        (2, "leave", 1010, 0),
        (1, "arrive", 1020, 0),
        (1, "leave", 1050, 0),
        (2, "arrive", 2000, 1),
        (2, "leave", 2005, 1),
    ]:
        build.append(Grad(call_number, phase, ns, backward))
    graph = agree(build.stream)
    assert {node.name: node.backward_ns for node in graph.nodes} == {"a": 30, "b": 15}
    assert [scope.backward_ns for scope in graph.scopes] == [50 + 5]


META = TensorMeta((1,), "float32", "cpu")
DESCRIBED = Module(0, "", "Net", "models.Net")


@pytest.mark.parametrize(
    "events",
    [
        [Op("relu", 0, 1, inputs=(7,))],
        [Op("relu", 0, 1, writes=(7,))],
        [Op("Linear", 0, 1, module=7, call=0)],
        [Enter(0, 7, 0)],
        [Leave(7, 0)],
        [DESCRIBED, Enter(0, 0, 0), Leave(0, 1), Leave(0, 2)],
        [DESCRIBED, Enter(0, 0, 0), Leave(0, 1, inputs=(7,))],
        [DESCRIBED, Enter(0, 0, 0), Leave(0, 1, outputs=(7,))],
        [DESCRIBED, Enter(0, 0, 0, inputs=(7,))],
        [DESCRIBED, Enter(0, 0, 0, inputs=(7,), outermost=True)],
        [Module(0, "", "Net", "models.Net", parameters=(Member("weight", 7),)), Enter(0, 0, 0)],
        [Tensor(0, META), Derived(0, (7,))],
        [Derived(7, ())],
    ],
)
def test_what_no_event_introduced_is_refused(events: list[Event]) -> None:
    with pytest.raises(StreamError, match=r"event \d+ .*refers to"):
        assemble(EventStream(events))


def test_assembling_needs_no_torch() -> None:
    """Nor any package of an output format: a stream saved on a cluster is read on a laptop."""
    code = """
import sys
import recorder
from recorder.testing import sample_graphs
graphs = sample_graphs()
for graph in graphs.values():
    graph.lint()
    recorder.collapse(graph, 1).lint()
    recorder.loads(recorder.dumps(graph))
assert len(graphs) > 5
print([name for name in ("torch", "numpy", "pydot", "onnx", "rich", "click", "google.protobuf") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_attributes_are_the_node_s_own() -> None:
    """Equal attributes may be one object in a stream."""
    attributes = {"dim": 1}
    module = Module(0, "fc", "Linear", "torch.nn.Linear", leaf=True, attributes=attributes)
    events: list[Event] = [module, Op("relu", 0, 1, attributes=attributes), Op("relu", 1, 2, attributes=attributes)]
    events += [Op("Linear", 2, 3, module=0, call=call) for call in (0, 1)]
    stream = EventStream(events)
    for number, node in enumerate(assemble(stream).nodes):
        assert node.attributes == {"dim": 1}
        node.attributes["dim"] = number
    assert all(node.attributes == {"dim": 1} for node in assemble(stream).nodes)


def test_assembling_is_linear_enough() -> None:
    """Twice the events cost twice the time, not four times."""

    def seconds(length: int) -> float:
        build = StreamBuilder()
        x = build.tensor((1, 8))
        with net([x], build=build) as call:
            for layer in range(length):
                x = build.op(f"{layer}", "Linear", [x], (1, 8))
            call.outputs = [x]
        start = time.process_time()
        assemble(build.stream)
        return time.process_time() - start

    seconds(1_000)
    assert min(seconds(40_000) for _ in range(2)) < 3 * min(seconds(20_000) for _ in range(2)) + 0.5
