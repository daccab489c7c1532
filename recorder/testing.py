"""Ready streams and graphs for people who write exporters and plugins. None of it needs torch.

    from recorder.testing import check_exporter, sample_graphs

    def test_it_keeps_every_promise():
        check_exporter(MyExporter())

    def test_tiny():
        assert MyExporter().export(sample_graphs()["tiny"]) == "fc -> relu"

`StreamBuilder` writes streams of your own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from recorder.assemble import assemble
from recorder.events import Enter, Event, Header, Leave, Member, Module, Op, Output, Tensor, TensorMeta
from recorder.graph import Graph, Node, Scope, Value
from recorder.stream import EventStream

if TYPE_CHECKING:
    from recorder.hookspecs import Exporter

__all__ = ["HOSTILE_NAMES", "StreamBuilder", "bearing", "chain", "check_exporter", "sample_graphs", "sample_streams"]

HOSTILE_NAMES = (
    '"', "'", "\\", "a:b", "a->b", "<b>bold</b>", "</script><script>alert(1)</script>", "&amp;", "#35;", "{x|y}",
    "end", "graph", "subgraph", "node", "digraph", "strict", "__proto__", "constructor", "toString", "class", "style",
    "a\nb", "a\r\nb", "tab\there", "\x00", "\x1b[31mred", "\u202egnp.exe", "\ud7ff", "é漢字😀", " ", "", "%%comment",
    "`code`", "$(id)", "]]>", "-->", "a---oB", "x" * 300,
    "\x9b31m", "\x1b]0;title\x07", "\u2067a\u2069", "\u200b", "\u2028", "&lt;", "&#x3c;", "<!--", "edge", "click",
    "null", "\ufeff", "a\\", "\\N", "![](x)", "%s", "{{", "1.", "e\u0301",
)  # fmt: skip
"""Names that have broken some format or other."""


class StreamBuilder:
    """Writes a stream event by event, keeping numbers and times (one microsecond an event) by itself.

    Examples:
        >>> build = StreamBuilder("Net")
        >>> x = build.tensor((1, 3))
        >>> with build.call("", "Net", inputs=[x]) as call:
        ...     call.outputs = [build.op("fc", "Linear", [x], (1, 2), weight=(2, 3))]
        >>> [node.name for node in assemble(build.stream).nodes]
        ['fc']
    """

    def __init__(self, model: str = "Net") -> None:
        self.stream = EventStream(header=Header(model=model))
        self._shapes: dict[int, tuple[int, ...]] = {}
        self._storages: dict[int, int] = {}  # of views, the tensor whose memory they show
        self._modules: dict[str, int] = {}
        self._calls = 0
        self._depth = 0
        self._now = 0

    def tensor(self, shape: Sequence[int], *, name: str | None = None, dtype: str = "float32") -> int:
        """A tensor from outside; with a ``name`` it is a parameter. Returns its number."""
        number = self._number(shape)
        meta = TensorMeta(tuple(shape), dtype, "cpu", requires_grad=name is not None, storage=number)
        self.stream.append(Tensor(number, meta, "constant" if name is None else "parameter", name))
        return number

    def module(
        self,
        fqn: str,
        op_type: str,
        *,
        leaf: bool = False,
        attributes: dict[str, Any] | None = None,
        **members: Sequence[int],
    ) -> int:
        """Describe a module once: its hyper-parameters, and its parameters as ``name=shape``. Returns its number."""
        if fqn not in self._modules:
            number = self._modules[fqn] = len(self._modules)
            prefix = f"{fqn}." if fqn else ""
            own = tuple(Member(name, self.tensor(shape, name=prefix + name)) for name, shape in members.items())
            target = f"torch.nn.{op_type}" if leaf else f"models.{op_type}"
            self.stream.append(
                Module(number, fqn, op_type, target, leaf, root=fqn == "", attributes=attributes or {}, parameters=own)
            )
        return self._modules[fqn]

    def op(
        self,
        fqn: str | None,
        op_type: str,
        inputs: Sequence[int],
        *shapes: Sequence[int],
        error: str | None = None,
        attributes: dict[str, Any] | None = None,
        **members: Sequence[int],
    ) -> int:
        """A finished call with one output for each shape: of the leaf module ``fqn``, or of a function if it is None.
        ``attributes`` are the module's hyper-parameters or the function's arguments. Returns the number of the first
        output (-1 if there is none).
        """
        module = None
        if fqn is not None:
            module, attributes = self.module(fqn, op_type, leaf=True, attributes=attributes, **members), None
        start = self._tick()
        grad_fn = f"{op_type.title()}Backward0"
        outputs = tuple(
            Output(number, TensorMeta(tuple(shape), "float32", "cpu", True, grad_fn, None, number))
            for shape in shapes
            for number in [self._number(shape)]
        )
        self.stream.append(
            Op(
                op_type,
                start,
                self._tick(),
                target="" if fqn is not None else f"torch.{op_type}",
                module=module,
                call=None if module is None else self._call(),
                inputs=tuple(inputs),
                outputs=outputs,
                error=error,
                attributes=attributes or {},
            )
        )
        return outputs[0].tensor if outputs else -1

    def view(self, op_type: str, tensor: int, shape: Sequence[int]) -> int:
        """A function that returns a view of ``tensor``: the two share memory. Returns the view's number."""
        number = self._number(shape)
        storage = self._storages[number] = self._storages.get(tensor, tensor)
        self.stream.append(
            Op(
                op_type,
                self._tick(),
                self._tick(),
                target=f"torch.Tensor.{op_type}",
                inputs=(tensor,),
                outputs=(Output(number, TensorMeta(tuple(shape), "float32", "cpu", storage=storage)),),
            )
        )
        return number

    def write(self, op_type: str, tensor: int, inputs: Sequence[int] = ()) -> int:
        """A function that writes ``tensor`` in place. Returns the tensor's number again."""
        storage = self._storages.get(tensor, tensor)
        meta = TensorMeta(self._shapes[tensor], "float32", "cpu", storage=storage)
        self.stream.append(
            Op(
                op_type,
                self._tick(),
                self._tick(),
                target=f"torch.Tensor.{op_type}",
                inputs=(tensor, *inputs),
                outputs=(Output(tensor, meta),),
                writes=(tensor,),
            )
        )
        return tensor

    @contextmanager
    def call(self, fqn: str, op_type: str, inputs: Sequence[int] = ()) -> "Iterator[OpenCall]":
        """A call of a module that may hold others. Set ``outputs`` (and ``error``) on what this gives you."""
        module = self.module(fqn, op_type)
        open_call = OpenCall()
        number = self._call()
        self.stream.append(Enter(number, module, self._tick(), tuple(inputs), outermost=self._depth == 0))
        self._depth += 1
        yield open_call
        self._depth -= 1
        self.stream.append(Leave(number, self._tick(), tuple(inputs), tuple(open_call.outputs), open_call.error))

    def append(self, event: Event) -> None:
        """Any event of your own making."""
        self.stream.append(event)

    def _number(self, shape: Sequence[int]) -> int:
        number = len(self._shapes)
        self._shapes[number] = tuple(shape)
        return number

    def _call(self) -> int:
        self._calls += 1
        return self._calls - 1

    def _tick(self) -> int:
        self._now += 1000
        return self._now


class OpenCall:
    """What a call in progress is going to return."""

    def __init__(self) -> None:
        self.outputs: Sequence[int] = ()
        self.error: str | None = None


def sample_streams() -> dict[str, EventStream]:
    """Small streams, one for each thing that an exporter should be able to draw, by name."""
    return {name: make() for name, make in _SAMPLES.items()}


def sample_graphs() -> dict[str, Graph]:
    """The graphs of `sample_streams`, and an empty one."""
    return {"empty": Graph(name="Empty"), **{name: assemble(stream) for name, stream in sample_streams().items()}}


def chain(length: int, *, blocks: int = 1) -> Graph:
    """A large graph: ``blocks`` scopes with ``length // blocks`` linear layers each, one after another."""
    build = StreamBuilder("Chain")
    x = build.tensor((1, 8))
    with build.call("", "Chain", [x]) as net:
        for block in range(blocks):
            with build.call(f"blocks.{block}", "Block", [x]) as call:
                for layer in range(length // blocks):
                    x = build.op(f"blocks.{block}.{layer}", "Linear", [x], (1, 8))
                call.outputs = [x]
        net.outputs = [x]
    return assemble(build.stream)


def bearing(*names: str) -> Graph:
    """A chain of one node for each name, which bears it wherever a name can stand: of nodes, scopes, values, attributes
    and meta, and as an error. No name may come twice.
    """
    value = Value("what comes in", (2, 3), "float32", "cpu", role="input")
    nodes, scopes, inputs = [], [], [value]
    for name in names:
        scopes.append(Scope(name, 0, name, None, name, name, error=name, attributes={name: name}, meta={name: name}))
        made = Value(name, (2, 3), "float32", "cpu", grad_fn=name, meta={name: name})
        nodes.append(
            Node(
                name,
                "module",
                name,
                name,
                name,
                0,
                scopes[-1],
                (value,),
                (made,),
                {name: name},
                {name: name},
                error=name,
            )
        )
        value = made
    title = names[0] if names else ""
    return Graph(nodes, inputs=inputs, outputs=[value], scopes=scopes, name=title, meta={title: title})


def check_exporter(exporter: "Exporter") -> None:
    """Check what every exporter promises: for the first test of yours.

    That it can be registered. That it is documented, it and each option, which has a type and a default. That it writes
    every sample, also with each option, and names that have broken other formats: as JSON or XML that can be read, if
    that is its media type, and without changing the graph. That the same graph always gives the same text or bytes, in
    another process too. And that it works where torch is not installed.

    Args:
        exporter: an object of a class that another process can import: of a module, not of a function.

    Raises:
        AssertionError: a promise is not kept; says which one, and on which graph.
        RecorderError: it cannot be registered, or failed. Of a `PluginError` the cause is its own error.
    """
    from recorder.promises import check_exporter  # what that imports is for checking alone

    check_exporter(exporter)


def _tiny() -> EventStream:
    build = StreamBuilder("Tiny")
    x = build.tensor((1, 4))
    with build.call("", "Tiny", [x]) as net:
        h = build.op("fc", "Linear", [x], (1, 2), weight=(2, 4), bias=(2,))
        net.outputs = [build.op(None, "relu", [h], (1, 2))]
    return build.stream


def _residual() -> EventStream:
    build = StreamBuilder("Residual")
    x = build.tensor((1, 8, 32, 32))
    with build.call("", "Residual", [x]) as net:
        for name in ("layer1", "layer2"):
            with build.call(name, "Block", [x]) as block:
                h = build.op(f"{name}.conv", "Conv2d", [x], (1, 8, 32, 32), weight=(8, 8, 3, 3))
                h = build.op(f"{name}.bn", "BatchNorm2d", [h], (1, 8, 32, 32), weight=(8,), bias=(8,))
                x = build.op(None, "add", [h, x], (1, 8, 32, 32))
                block.outputs = [x]
        net.outputs = [x]
    return build.stream


def _branching() -> EventStream:
    build = StreamBuilder("Branching")
    x = build.tensor((1, 4))
    with build.call("", "Branching", [x]) as net:
        parts = []
        for i in range(3):
            with build.call(f"branches.{i}", "Branch", [x]) as branch:
                h = build.op(f"branches.{i}.fc", "Linear", [x], (1, 4), weight=(4, 4))
                parts.append(build.op(f"branches.{i}.act", "Tanh", [h], (1, 4)))
                branch.outputs = parts[-1:]
        net.outputs = [build.op(None, "cat", parts, (1, 12), attributes={"dim": 1})]
    return build.stream


def _outputs() -> EventStream:
    build = StreamBuilder("ManyOutputs")
    x = build.tensor((1, 6))
    y = build.tensor((1, 6), dtype="int64")
    with build.call("", "ManyOutputs", [x, y]) as net:
        first = build.op(None, "split", [x], (1, 2), (1, 2), (1, 2), attributes={"arg1": 2, "dim": 1})
        h = build.op(None, "mul", [first, first + 1], (1, 2))
        net.outputs = [h, first + 2, y]
    return build.stream


def _recursive() -> EventStream:
    build = StreamBuilder("Recursive")
    x = build.tensor((1, 4))

    def descend(x: int, depth: int) -> int:
        with build.call("cell", "Cell", [x]) as cell:
            x = build.op("cell.fc", "Linear", [x], (1, 4), weight=(4, 4))
            x = descend(x, depth - 1) if depth else x
            cell.outputs = [x]
        return x

    with build.call("", "Recursive", [x]) as net:
        net.outputs = [descend(x, 2)]
    return build.stream


def _in_place() -> EventStream:
    build = StreamBuilder("InPlace")
    x = build.tensor((1, 4))
    scale = build.tensor((4,))
    with build.call("", "InPlace", [x]) as net:
        h = build.op("fc", "Linear", [x], (1, 4), weight=(4, 4))
        build.write("mul_", h, [scale])
        build.write("relu_", h)
        net.outputs = [h]
    return build.stream


def _error() -> EventStream:
    build = StreamBuilder("Failing")
    x = build.tensor((1, 4))
    message = "RuntimeError: mat1 and mat2 shapes cannot be multiplied (1x4 and 5x2)"
    with build.call("", "Failing", [x]) as net:
        h = build.op("fc1", "Linear", [x], (1, 4), weight=(4, 4))
        build.op("fc2", "Linear", [h], error=message, weight=(2, 5))
        net.error = message
    return build.stream


def _hostile() -> EventStream:
    build = StreamBuilder('Host"ile<Net>')
    x = build.tensor((1,))
    with build.call("", 'Host"ile<Net>', [x]) as net:
        for name in HOSTILE_NAMES:
            with build.call(f"scope {name}", name or "Empty", [x]) as call:
                x = build.op(f"leaf {name}", name or "Empty", [x], (1,), attributes={name: name})
                x = build.op(None, name or "empty", [x], (1,))
                call.outputs = [x]
        net.outputs = [x]
    return build.stream


_SAMPLES = {
    "tiny": _tiny,
    "residual": _residual,
    "branching": _branching,
    "outputs": _outputs,
    "recursive": _recursive,
    "in_place": _in_place,
    "error": _error,
    "hostile": _hostile,
}
