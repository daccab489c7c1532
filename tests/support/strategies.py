"""Hypothesis strategies: any valid event stream, any graph.

Both are written as small programs, lists of instructions with three numbers each, run by an interpreter that reads
every number modulo what there is to choose from. So whatever Hypothesis draws is valid, draws are cheap, and a failing
example shrinks to a short program.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from recorder import EventStream, Graph, Node, Scope, Value, assemble
from recorder.events import (
    Allocated,
    BackwardStart,
    Derived,
    Enter,
    Event,
    Freed,
    Grad,
    GradStats,
    Header,
    Kept,
    Leave,
    Measured,
    Member,
    Module,
    NotFinite,
    Op,
    OptimizerStep,
    Output,
    ParameterGrad,
    Storage,
    Tensor,
    TensorMeta,
    ValueStats,
)
from recorder.testing import StreamBuilder

__all__ = ["attributes", "blocks", "graphs", "json_values", "metas", "repetitive", "streams", "streams_with_headers"]

text = st.text(max_size=8)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
"""What attributes and meta may hold. Floats are finite: JSON has no others."""

attributes = st.dictionaries(text, json_values, max_size=3)

shapes = st.lists(st.integers(-1, 2**40), max_size=4).map(tuple)

metas = st.builds(
    TensorMeta,
    shape=shapes,
    dtype=st.sampled_from(["float32", "bfloat16", "int64", "bool"]),
    device=st.sampled_from(["cpu", "cuda:0", "meta"]),
    requires_grad=st.booleans(),
    grad_fn=st.none() | st.just("AddBackward0"),
    sequence_nr=st.none() | st.integers(0, 9),
)
"""What is known of a tensor; the storage is left to whoever knows what shares memory."""


# Streams


@dataclass
class _Call:
    """A call that was entered. ``keywords`` are inputs that only its `Leave` will tell."""

    number: int
    module: int
    inputs: tuple[int, ...]
    keywords: tuple[int, ...]
    recomputed: bool


# fqn, op_type, leaf, names of parameters, names of buffers. The parameter "shared.weight" belongs to two of them.
_MODULES = (
    ("", "Net", False, ("scale",), ()),
    ("block", "Block", False, (), ("steps",)),
    ("cell", "Cell", False, (), ()),
    ("block.fc", "Linear", True, ("block.fc.weight", "block.fc.bias"), ()),
    ("bn", "BatchNorm1d", True, ("shared.weight",), ("bn.mean",)),
    ("tied", "Linear", True, ("shared.weight",), ()),
    ("id", "Identity", True, (), ()),
)
_ROOTS, _HOLDERS, _LEAVES = (0,), (0, 1, 2), (3, 4, 5, 6)


@dataclass
class _Writer:
    """Runs a program: one method for each instruction, three numbers each. What cannot be done now is skipped."""

    metas: Sequence[TensorMeta]
    arguments: Sequence[dict[str, Any]]
    events: list[Event] = field(default_factory=list)
    storages: list[int | None] = field(default_factory=list)
    members: dict[str, int] = field(default_factory=dict)
    described: set[int] = field(default_factory=set)
    stack: list[_Call] = field(default_factory=list)
    calls: int = 0
    now: int = 0

    # Tensors

    def tick(self) -> int:
        self.now += 7
        return self.now

    def meta(self, tensor: int) -> TensorMeta:
        return msgspec.structs.replace(self.metas[tensor % len(self.metas)], storage=self.storages[tensor])

    def new(self, storage: int | None) -> int:
        self.storages.append(storage)
        return len(self.storages) - 1

    def fresh(self, choice: int) -> int:
        """A tensor with memory of its own, or (seldom) without any memory that could be shared."""
        return self.new(None if choice % 7 == 6 else 100 + len(self.storages))

    def introduce(self, tensor: int, role: str = "constant", name: str | None = None) -> int:
        self.events.append(Tensor(tensor, self.meta(tensor), role, name))
        return tensor

    def pick(self, choice: int) -> int:
        """Any tensor; a new one from outside if there is none."""
        return choice % len(self.storages) if self.storages else self.introduce(self.fresh(choice))

    def some(self, *choices: int) -> tuple[int, ...]:
        """No tensor, or one for each choice."""
        return tuple(self.pick(choice) for choice in choices) if choices[0] % 5 else ()

    @property
    def recomputing(self) -> bool:
        return any(call.recomputed for call in self.stack)

    def constant(self, a: int, b: int, c: int) -> None:
        self.introduce(self.fresh(a))

    def unseen_view(self, a: int, b: int, c: int) -> None:
        """A tensor that shares memory with another, and was made where nobody looked."""
        self.introduce(self.new(self.storages[self.pick(a)]))

    def derived(self, a: int, b: int, c: int) -> None:
        sources = (self.pick(a), self.pick(b)) if c % 2 else (self.pick(a),)
        tensor = self.introduce(self.fresh(c))
        self.events.append(Derived(tensor, sources))

    # Calls with nothing inside

    def op(
        self,
        op_type: str,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        *,
        writes: tuple[int, ...] = (),
        module: int | None = None,
        error: str | None = None,
        outermost: bool = False,
    ) -> None:
        recomputed = self.recomputing
        call = None
        if module is not None:
            call, self.calls = self.calls, self.calls + 1
        self.events.append(
            Op(
                op_type,
                self.tick(),
                self.tick(),
                target=f"torch.{op_type}",
                module=module,
                call=call,
                inputs=inputs,
                outputs=tuple(Output(tensor, self.meta(tensor)) for tensor in outputs),
                writes=writes,
                attributes=self.arguments[self.now % len(self.arguments)],
                error=error,
                outermost=outermost,
                recomputed=recomputed,
            )
        )

    def results(self, count: int, choice: int) -> tuple[int, ...]:
        return tuple(self.fresh(choice + i) for i in range(count))

    def function(self, a: int, b: int, c: int) -> None:
        self.op("add", self.some(a, b), self.results(c % 4, c))

    def fail(self, a: int, b: int, c: int) -> None:
        self.op("matmul", self.some(a, b), (), error="RuntimeError: shapes")

    def view(self, a: int, b: int, c: int) -> None:
        base = self.pick(a)
        made = tuple(self.new(self.storages[base]) for _ in range(1 + c % 2))
        self.op("chunk", (base,), made)

    def write(self, a: int, b: int, c: int) -> None:
        """In place. Returns what it wrote, or nothing (as ``y[0] = 0`` does), or something new, or both."""
        target = self.pick(a)
        inputs = (target, self.pick(b)) if b % 2 else (target,)
        outputs = (target,) if c % 4 in (0, 3) else ()
        if c % 4 >= 2:
            outputs += self.results(1, b)
        self.op("relu_", inputs, outputs, writes=(target,))

    def leaf(self, a: int, b: int, c: int) -> None:
        module = self.describe(_LEAVES[a % len(_LEAVES)])
        given = self.pick(b)
        kind = c % 5
        if kind == 0:  # hands on what it was given
            self.op("Identity", (given,), (given,), module=module)
        elif kind == 1:
            self.op("ReLU", (given,), (given,), writes=(given,), module=module)
        elif kind == 2:
            self.op("Linear", (given,), (), module=module, error="RuntimeError: no")
        else:
            self.op("Linear", (given,), self.results(kind - 2, c), module=module)

    def outermost_leaf(self, a: int, b: int, c: int) -> None:
        if not self.stack:
            module = self.describe(_LEAVES[a % len(_LEAVES)])
            self.op("Linear", (self.pick(b),), self.results(1, c), module=module, outermost=True)

    # Calls that may hold others

    def describe(self, module: int) -> int:
        if module not in self.described:
            self.described.add(module)
            fqn, op_type, leaf, parameters, buffers = _MODULES[module]
            members: dict[str, tuple[Member, ...]] = {}
            for role, names in (("parameter", parameters), ("buffer", buffers)):
                for name in names:
                    if name not in self.members:
                        self.members[name] = self.introduce(self.fresh(0), role, name)
                members[role] = tuple(Member(name.rpartition(".")[2], self.members[name]) for name in names)
            target = f"torch.nn.{op_type}" if leaf else f"models.{op_type}"
            held = self.arguments[module % len(self.arguments)]
            self.events.append(
                Module(
                    module, fqn, op_type, target, leaf, module in _ROOTS, held, members["parameter"], members["buffer"]
                )
            )
        return module

    def enter(self, a: int, b: int, c: int, *, recomputed: bool = False) -> None:
        outermost = not self.stack and not recomputed
        module = self.describe(0 if outermost else _HOLDERS[a % len(_HOLDERS)])
        inputs = self.some(b) if c % 3 else ()
        keywords = self.some(c) if c % 3 != 1 else ()
        call = _Call(self.calls, module, inputs, keywords, recomputed)
        self.calls += 1
        self.stack.append(call)
        self.events.append(Enter(call.number, module, self.tick(), inputs, outermost, recomputed, c % 4 or None))

    def recompute(self, a: int, b: int, c: int) -> None:
        self.enter(a, b, c, recomputed=True)

    def leave(self, a: int, b: int, c: int, *, error: str | None = None) -> None:
        """The innermost call returns, or the one around it: then the innermost never does."""
        if not self.stack:
            return
        position = len(self.stack) - 1 - (a % 8 == 7 and len(self.stack) > 1)
        call = self.stack[position]
        outputs = () if error or b % 6 == 5 else tuple(self.pick(choice) for choice in ((b, c) if c % 3 == 2 else (b,)))
        del self.stack[position:]
        outputs = tuple(dict.fromkeys(outputs))
        inputs = call.inputs if error else (*call.inputs, *call.keywords)
        self.events.append(Leave(call.number, self.tick(), inputs, outputs, error))

    def throw(self, a: int, b: int, c: int) -> None:
        self.leave(a, b, c, error="ValueError: no")

    def lose(self, a: int, b: int, c: int) -> None:
        """No call in progress ever returns; the next one is an outermost one."""
        self.stack.clear()

    def grad(self, a: int, b: int, c: int) -> None:
        if self.calls:
            gradients = (None,) if c % 3 == 0 else (self.metas[c % len(self.metas)],) * (c % 3)
            phase = "leave" if b % 2 else "arrive"
            stats = tuple(GradStats(float(a), float(b), int(b % 3 == 0), c % 7, 0.5) if g else None for g in gradients)
            number = b % 7 if a % 3 else None
            self.events.append(
                Grad(a % self.calls, phase, self.tick(), c % 2, gradients, stats if b % 5 else (), number)
            )

    def backward_start(self, a: int, b: int, c: int) -> None:
        """At any tensor."""
        stats = GradStats(float(a), float(b), inf=c % 2) if b % 2 else None
        self.events.append(BackwardStart(self.pick(a), self.metas[c % len(self.metas)], stats))

    def parameter_grad(self, a: int, b: int, c: int) -> None:
        """Of any tensor: that it is a parameter, nothing in the stream has to say."""
        gradient = self.metas[c % len(self.metas)] if c % 3 else None
        stats = GradStats(float(a), float(b), inf=c % 2) if gradient and b % 2 else None
        self.events.append(ParameterGrad(self.pick(a), self.tick(), b % 2, gradient, stats))

    def measured(self, a: int, b: int, c: int) -> None:
        """Of any tensor, at any time."""
        stats = ValueStats(float(a), float(b), float(a - b), int(b % 3 == 0), c % 7, 0.5)
        self.events.append(Measured(self.pick(a), stats))

    def not_finite(self, a: int, b: int, c: int) -> None:
        """That any tensor is not finite, as if a module held it."""
        self.events.append(NotFinite(*((self.pick(n),) if n % 2 else () for n in (a, b, c))))

    def storage(self, a: int, b: int, c: int) -> None:
        """Of a few numbers, told again at times, and maybe after it was freed."""
        kind = ("parameter", "buffer", "gradient", "optimizer", "other", "other", "other")[b % 7]
        tensor = self.pick(c) if c % 3 else None
        self.events.append(Storage(a % 6, 8 * b, "cpu", kind, tensor, estimated=c % 5 == 4))

    def freed(self, a: int, b: int, c: int) -> None:
        self.events.append(Freed(a % 6))

    def kept(self, a: int, b: int, c: int) -> None:
        """By any call, seldom by none, of any storage, there or not."""
        call = a % self.calls if self.calls and a % 5 else None
        self.events.append(Kept(call, (b % 6, c % 6) if b % 4 else (), c % 3))

    def stepped(self, a: int, b: int, c: int) -> None:
        self.events.append(OptimizerStep("AdamW", "begin" if a % 2 else "end", self.tick()))
        if b % 4 == 0:
            self.events.append(Allocated("cuda:0", b, b + c))


_INSTRUCTIONS: tuple[tuple[Callable[..., None], int], ...] = (
    (_Writer.function, 4),
    (_Writer.enter, 4),
    (_Writer.leave, 4),
    (_Writer.leaf, 4),
    (_Writer.write, 3),
    (_Writer.view, 3),
    (_Writer.derived, 2),
    (_Writer.constant, 1),
    (_Writer.unseen_view, 1),
    (_Writer.outermost_leaf, 1),
    (_Writer.fail, 1),
    (_Writer.throw, 1),
    (_Writer.recompute, 1),
    (_Writer.lose, 1),
    (_Writer.grad, 2),
    (_Writer.parameter_grad, 1),
    (_Writer.backward_start, 1),
    (_Writer.measured, 2),
    (_Writer.not_finite, 1),
    (_Writer.storage, 3),
    (_Writer.freed, 1),
    (_Writer.kept, 2),
    (_Writer.stepped, 1),
)

_instruction = st.tuples(
    st.sampled_from([run for run, weight in _INSTRUCTIONS for _ in range(weight)]),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40),
)


@st.composite
def streams(draw: st.DrawFn, max_size: int = 30) -> EventStream:
    """Any valid stream, of calls in progress too: it may end anywhere."""
    writer = _Writer(draw(st.lists(metas, min_size=1, max_size=3)), draw(st.lists(attributes, min_size=1, max_size=2)))
    size = draw(st.integers(0, max_size))  # lists alone would nearly always be short
    for run, a, b, c in draw(st.lists(_instruction, min_size=size, max_size=size)):
        run(writer, a, b, c)
    return EventStream(writer.events, Header(model="models.Net", meta={"memory": True} if size % 2 else {}))


@st.composite
def streams_with_headers(draw: st.DrawFn) -> EventStream:
    """Any valid stream with any header."""
    stream = draw(streams(max_size=12))
    return EventStream(stream, draw(st.builds(Header, torch=text, model=text, created=text, meta=attributes)))


# Graphs


@st.composite
def graphs(draw: st.DrawFn, max_size: int = 12) -> Graph:
    """Any graph that lints: names, types and attributes of any characters, nothing else is like a recording."""
    names = iter(draw(st.lists(st.text(max_size=12), min_size=5 * max_size, max_size=5 * max_size, unique=True)))
    words = st.text(max_size=6)

    def value(role: str) -> Value:
        meta = draw(metas)
        return Value(next(names), meta.shape, meta.dtype, meta.device, meta.requires_grad, meta.grad_fn, role)

    inputs = [value("input") for _ in range(draw(st.integers(0, 2)))]
    initializers = [value(role) for role in draw(st.lists(st.sampled_from(["parameter", "buffer"]), max_size=2))]
    known = [*inputs, *initializers]
    scopes: list[Scope] = []
    nodes: list[Node] = []
    stack: list[Scope] = []
    for action in draw(st.lists(st.sampled_from(["node", "node", "open", "close"]), max_size=max_size)):
        if action == "open":
            parent = stack[-1] if stack else None
            stack.append(Scope(draw(words), draw(st.integers(0, 3)), draw(words), parent, next(names), draw(words)))
            scopes.append(stack[-1])
        elif action == "close" and stack:
            stack.pop()
        elif action == "node":
            kind = draw(st.sampled_from(["module", "function", "autograd"]))
            node = Node(next(names), kind, draw(words), draw(words), scope=stack[-1] if stack else None)
            if kind == "module":
                node.fqn, node.call = draw(words), draw(st.integers(0, 3))
            if draw(st.booleans()):
                known.append(value(draw(st.sampled_from(["constant", "activation"]))))
            if known:
                node.inputs = tuple(draw(st.lists(st.sampled_from(known), max_size=3)))
            node.outputs = tuple(value("activation") for _ in range(draw(st.integers(0, 2))))
            node.attributes, node.error = draw(attributes), draw(st.none() | words)
            known += node.outputs
            nodes.append(node)
    outputs = draw(st.lists(st.sampled_from(known), max_size=2, unique_by=id)) if known else []
    return Graph(
        nodes,
        inputs=inputs,
        outputs=outputs,
        initializers=initializers,
        scopes=scopes,
        name=draw(words),
        meta=draw(attributes),
    )


# Graphs in which blocks repeat


@dataclass(frozen=True)
class _Segment:
    """Blocks of one build after each other. ``template`` has a step for each operation of a block: which one, and which
    two of the tensors that the block knows it uses. ``tapped`` is the block whose tensor is used later, too.
    """

    template: list[tuple[str, int, int]]
    repeats: int
    inner: int
    is_parallel: bool
    is_loose: bool
    tapped: int
    merge: str


_segments = st.builds(
    _Segment,
    template=st.lists(
        st.tuples(st.sampled_from(["Linear", "ReLU", "add", "relu"]), st.integers(0, 9), st.integers(0, 9)),
        min_size=1,
        max_size=3,
    ),
    repeats=st.integers(1, 5),
    inner=st.integers(0, 3),
    is_parallel=st.booleans(),
    is_loose=st.booleans(),
    tapped=st.integers(0, 9),
    merge=st.sampled_from(["cat", "attention", ""]),
)


@st.composite
def repetitive(draw: st.DrawFn) -> Graph:
    """A graph of blocks that repeat, in chains and beside each other, in scopes or without; tensors leave some."""
    build = StreamBuilder("Net")
    known = [build.tensor((2,)), build.tensor((2,))]
    with build.call("", "Net", known) as net:
        for number, segment in enumerate(draw(st.lists(_segments, max_size=3))):
            _repeat(build, segment, f"s{number}", known)
        net.outputs = [known[-1]]
    return assemble(build.stream)


def _repeat(build: StreamBuilder, segment: _Segment, name: str, known: list[int]) -> None:
    made = []
    carry, shared = known[-1], known[0]
    for repetition in range(segment.repeats):
        made.append(_block(build, segment, f"{name}.{repetition}", carry, shared))
        carry = carry if segment.is_parallel else made[-1]
    if segment.tapped < len(made):
        known.append(made[segment.tapped])
    known.append(build.op(None, segment.merge, made, (2,)) if segment.is_parallel and segment.merge else made[-1])


def _block(build: StreamBuilder, segment: _Segment, name: str, carry: int, shared: int) -> int:
    if segment.is_loose:
        return _steps(build, segment.template, name, [shared, carry])
    with build.call(name, "Block", [carry, shared]) as block:
        out = _steps(build, segment.template, name, [shared, carry])
        for number in range(segment.inner):
            with build.call(f"{name}.inner{number}", "Inner", [out]) as inner:
                out = _steps(build, segment.template[:2], f"{name}.inner{number}", [carry, out])
                inner.outputs = [out]
        block.outputs = [out]
    return out


def _steps(build: StreamBuilder, template: list[tuple[str, int, int]], name: str, known: list[int]) -> int:
    for step, (op_type, a, b) in enumerate(template):
        used = [known[-1 - a % len(known)], known[-1 - b % len(known)]]
        if op_type == "Linear":
            known.append(build.op(f"{name}.{step}", op_type, used[:1], (2,), weight=(2, 2)))
        elif op_type == "ReLU":
            known.append(build.op(f"{name}.{step}", op_type, used[:1], (2,)))
        else:
            known.append(build.op(None, op_type, used, (2,)))
    return known[-1]


def blocks(alike: int, pairs: int = 0) -> EventStream:
    """Not drawn at random: a net of so many blocks in a chain, and of pairs of two kinds that take turns."""
    build = StreamBuilder("Net")
    x = build.tensor((2, 4))
    with build.call("", "Net", [x]) as net:
        y = x
        kinds = [(f"blocks.{i}", "Block", "relu") for i in range(alike)]
        kinds += [(f"pairs.{i}", "AB"[i % 2], ("tanh", "exp")[i % 2]) for i in range(2 * pairs)]
        for name, op_type, function in kinds:
            with build.call(name, op_type, [y]) as block:
                h = build.op(f"{name}.fc", "Linear", [y], (2, 4), weight=(4, 4))
                y = build.op(None, function, [h], (2, 4))
                block.outputs = [y]
        net.outputs = [y]
    return build.stream
