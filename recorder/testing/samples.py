"""Small streams and graphs, one for each thing that an exporter should be able to draw, and names that have broken
formats.
"""

from recorder.assembly.assembler import assemble
from recorder.events.stream import EventStream
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.testing.stream_builder import StreamBuilder

__all__ = ["HOSTILE_NAMES", "bearing", "chain", "sample_graphs", "sample_streams"]

HOSTILE_NAMES = (
    '"', "'", "\\", "a:b", "a->b", "<b>bold</b>", "</script><script>alert(1)</script>", "&amp;", "#35;", "{x|y}",
    "end", "graph", "subgraph", "node", "digraph", "strict", "__proto__", "constructor", "toString", "class", "style",
    "a\nb", "a\r\nb", "tab\there", "\x00", "\x1b[31mred", "\u202egnp.exe", "\ud7ff", "é漢字😀", " ", "", "%%comment",
    "`code`", "$(id)", "]]>", "-->", "a---oB", "x" * 300,
    "\x9b31m", "\x1b]0;title\x07", "\u2067a\u2069", "\u200b", "\u2028", "&lt;", "&#x3c;", "<!--", "edge", "click",
    "null", "\ufeff", "a\\", "\\N", "![](x)", "%s", "{{", "1.", "e\u0301",
)  # fmt: skip
"""Names that have broken some format or other."""


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
