"""Recordings in TensorBoard: the graph with times and memory, what gradients and values were like from step to step.

TensorBoard reads folders, so this is no exporter but `write`, and the command ``recorder tensorboard``. What goes into
the folder is written by TensorBoard's own writer; TensorFlow is not needed.

    graph                           GraphDef: a call of a module that holds others is a name scope
    forward, backward               RunMetadata: what each call took and, in forward, the memory of its results
    gradient norm/<name>            scalars for each module call, and so largest, nan, inf and zeros
    value norm/<name>               the same, and mean, of what each call made
    parameter gradient norm/<name>  the same for each parameter
"""

import json
import math
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from recorder import EventStream, Graph, Node, Scope, Value, annotate, assemble, hookimpl, utf8

if TYPE_CHECKING:
    import click

__all__ = ["escape", "graph_def", "run_metadata", "scalars", "unescape", "write"]

# TensorBoard takes a quarter of a second to import, which only who writes has to wait for.


def write(graphs: Graph | Sequence[Graph], logdir: str | PathLike[str], *, step: int = 0) -> Path:
    """Add a recording to a folder of TensorBoard's, which is made if it is not there.

    The graph that is drawn, its times and its memory are those of the last step: the first ones warm up.

    Args:
        graphs: one for each step, as `Recorder.graphs` has them, or one alone.
        logdir: the folder. TensorBoard calls it a run.
        step: the number of the first of them.

    Returns:
        The folder.

    Raises:
        ValueError: there are no graphs.
    """
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    graphs = [graphs] if isinstance(graphs, Graph) else list(graphs)
    if not graphs:
        raise ValueError("there are no graphs to write: was the model called?")
    now = time.time()
    last = step + len(graphs) - 1
    events = [Event(step=last, graph_def=graph_def(graphs[-1]).SerializeToString(deterministic=True))]
    for tag in ("forward", "backward"):
        told = run_metadata(graphs[-1], backward=tag == "backward")
        if told.step_stats.dev_stats:
            event = Event(step=last)
            event.tagged_run_metadata.tag = tag
            event.tagged_run_metadata.run_metadata = told.SerializeToString()
            events.append(event)
    for number, graph in enumerate(graphs, step):
        event = Event(step=number)
        for tag, figure in scalars(graph).items():
            event.summary.value.add(tag=tag, simple_value=figure)
        if event.summary.value:
            events.append(event)
    with closing(EventFileWriter(str(logdir))) as file:
        for event in events:
            event.wall_time = now
            file.add_event(event)
    return Path(logdir)


# Names


def escape(name: str) -> str:
    """A name as TensorBoard's graphs can hold it: `unescape` gives it back.

    Letters, digits, ``_`` and ``.`` stay, and other characters become their bytes, as in URLs but with ``>`` for ``%``.
    The ``#`` before the number of a call, which is there often, becomes ``-``. What would not begin with a letter or a
    digit, as has to be, or is what every object in a browser has already, begins with a further dot.
    """
    text = quote(name, safe="#", errors="surrogatepass").replace("~", "%7E").replace("-", "%2D")
    text = text.replace("#", "-").replace("%", ">")
    return text if text[:1].isalnum() and text not in _OF_EVERY_OBJECT else f".{text}"


def unescape(text: str) -> str:
    """The name that `escape` was given."""
    return unquote(text.removeprefix(".").replace("-", "#").replace(">", "%"), errors="surrogatepass")


_OF_EVERY_OBJECT = frozenset((
    "constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString", "toString", "valueOf",
))  # fmt: skip


class _Names:
    """The one place where names are given: of scopes, nodes, and values that no node made, by their `id`.

    All are different, since to TensorBoard a node with the name of a scope lies in it: the second has ``_1`` after it.
    """

    def __init__(self, graph: Graph) -> None:
        self.of: dict[int, str] = {}
        self._taken: set[str] = set()
        for scope in graph.scopes:
            self._give(scope, scope.name, scope.parent)
        for node in graph.nodes:
            self._give(node, node.name, node.scope)
        for value in graph.inputs:
            self._give(value, value.name, None)
        for node in graph.nodes:
            for value in node.inputs:
                if value.producer is None:
                    self._give(value, value.name, node.scope)
        self.results = [self._free(escape(name or "output")) for name in graph.output_names]

    def _give(self, item: Scope | Node | Value, name: str, scope: Scope | None) -> None:
        if id(item) not in self.of:
            around = "" if scope is None else f"{self.of[id(scope)]}/"
            if scope is not None and scope.fqn:
                name = name.removeprefix(f"{scope.fqn}.")
            self.of[id(item)] = self._free(around + escape(name))

    def _free(self, path: str) -> str:
        free, number = path, 0
        while free in self._taken:
            number += 1
            free = f"{path}_{number}"
        self._taken.add(free)
        return free


# The graph


def graph_def(graph: Graph) -> Any:
    """The graph as a ``GraphDef``, whose attributes tell the names as they are.

    A graph's inputs are ``Placeholder``, and what it returns goes to nodes of type ``Output``. Parameters, buffers and
    constants are ``Const``, which TensorBoard draws as small circles beside who uses them, in the scope of the first.
    """
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    names = _Names(graph)
    whole = GraphDef()

    def add(name: str, op: str, inputs: Sequence[Value], outputs: Sequence[Value], told: Mapping[str, Any]) -> None:
        node = whole.node.add(name=name, op=op, input=[_source(value, names) for value in inputs])
        if outputs:
            node.device = _device(outputs[0].device)
            _put_shapes(node.attr["_output_shapes"].list, outputs)
            told = {**told, "dtype": ", ".join(value.dtype for value in outputs)}
        for key, fact in told.items():
            node.attr[utf8(key).decode()].s = utf8(fact if isinstance(fact, str) else json.dumps(fact))

    added: set[int] = set()
    for value in graph.inputs:
        if value.producer is None and id(value) not in added:
            added.add(id(value))
            add(names.of[id(value)], "Placeholder", (), (value,), {"name": value.name, "role": value.role})
    for node in graph.nodes:
        for value in node.inputs:
            if value.producer is None and id(value) not in added:
                added.add(id(value))
                add(names.of[id(value)], "Const", (), (value,), {"name": value.name, "role": value.role})
        add(names.of[id(node)], escape(node.op_type), node.inputs, node.outputs, _told(node))
    for name, value, called in zip(names.results, graph.outputs, graph.output_names, strict=True):
        known = [value] if value.producer is not None or id(value) in added else []
        add(name, "Output", known, (), {"name": value.name, **({"output_name": called} if called else {})})
    return whole


def _source(value: Value, names: _Names) -> str:
    if value.producer is None:
        return names.of[id(value)]
    name = names.of[id(value.producer)]
    slot = next(i for i, other in enumerate(value.producer.outputs) if other is value)
    return f"{name}:{slot}" if slot else name


def _told(node: Node) -> dict[str, Any]:
    facts = {"op_type": node.op_type, "target": node.target, "error": node.error}
    facts |= {"input_names": _list(node.input_names), "output_names": _list(node.output_names)}
    told = {"name": node.name, "kind": node.kind, **{key: fact for key, fact in facts.items() if fact}}
    return told | {f"attributes.{key}": fact for key, fact in node.attributes.items()}


def _list(names: Sequence[str]) -> str:
    """Names in the order of the call; nothing where none is known."""
    return json.dumps(names, ensure_ascii=False) if any(names) else ""


def _put_shapes(into: Any, values: Sequence[Value]) -> None:
    for value in values:
        shape = into.shape.add()
        for size in value.shape:  # -1 stands for no single size, there as here
            shape.dim.add(size=size)


def _device(device: str) -> str:
    """As TensorFlow writes it, ``/device:CUDA:0``, since TensorBoard's menu of devices reads that."""
    kind, _, index = device.partition(":")
    return f"/device:{escape(kind.upper())}:{escape(index or '0')}"


# Times, memory and gradients


def run_metadata(graph: Graph, *, backward: bool = False) -> Any:
    """What each node took, as ``RunMetadata``; in forward the bytes of its results, too.

    TensorBoard says of a scope that it took from the first beginning to the last end of what is in it. A graph knows
    how long a call took and not when it was, so here one begins as soon as the one before it ends: then a scope takes
    the sum of what is in it. The first begins at 1: zeros do not reach the page, and what has no beginning has no time.
    """
    from tensorboard.compat.proto.config_pb2 import RunMetadata

    names = _Names(graph)
    whole = RunMetadata()
    devices: dict[str, Any] = {}
    now = 1000  # nanoseconds
    for node in reversed(graph.nodes) if backward else graph.nodes:
        took = node.backward_ns if backward else node.duration_ns
        memory = None if backward or not node.outputs else graph.metrics[node].get("activation_bytes")
        if took is None and memory is None:
            continue
        device = _device(next((value.device for value in (*node.outputs, *node.inputs)), "cpu"))
        if device not in devices:
            devices[device] = whole.step_stats.dev_stats.add(device=device)
        stats = devices[device].node_stats.add(node_name=names.of[id(node)], all_start_micros=now // 1000)
        if took is not None:
            stats.all_end_rel_micros = stats.op_end_rel_micros = (now + took) // 1000 - now // 1000
            now += took
        if memory is not None:
            stats.memory.add(allocator_name=device, total_bytes=memory, peak_bytes=memory)
        for slot, value in enumerate(() if backward else node.outputs):
            shape = stats.output.add(slot=slot).tensor_description.shape
            shape.SetInParent()  # of a scalar, too, or the page draws no times at all
            for size in value.shape:
                shape.dim.add(size=size)
    return whole


def scalars(graph: Graph) -> dict[str, float]:
    """What gradients and values were like, by tag: at module calls the gradients that arrived, taken together; those of
    parameters; and what each call made, taken together.

    They are there in a recording of ``Recorder(net, gradients="stats", values="stats")``. ``norm`` (the 2-norm),
    ``largest`` magnitude and the ``mean`` of values are over finite elements, ``nan`` and ``inf`` count the others, and
    ``zeros`` is a share from 0 to 1.
    """
    found: dict[str, float] = {}
    for kind, name, told in (*_gradients(graph), *_values(graph)):
        measured = [one for one in told if one is not None and "norm" in one]
        if measured:
            sizes = [math.prod(one["shape"]) for one in measured]
            zeros = sum(size * one["zeros"] for size, one in zip(sizes, measured))
            figures = {
                "norm": math.hypot(*(one["norm"] for one in measured)),
                "largest": max(one["largest"] for one in measured),
                "nan": sum(one["nan"] for one in measured),
                "inf": sum(one["inf"] for one in measured),
                "zeros": zeros / (sum(sizes) or 1),
            }
            if all("mean" in one for one in measured):
                finite = [size - one["nan"] - one["inf"] for size, one in zip(sizes, measured)]
                total = sum(size * one["mean"] for size, one in zip(finite, measured))
                figures["mean"] = total / (sum(finite) or 1)
            found |= {f"{kind} {statistic}/{escape(name)}": figure for statistic, figure in figures.items()}
    return found


def _values(graph: Graph) -> Iterator[tuple[str, str, Sequence[Mapping[str, Any] | None]]]:
    places: list[Scope | Node] = [*graph.scopes, *graph.nodes]
    for place in places:
        yield "value", place.name, [{**v.meta["stats"], "shape": v.shape} for v in place.outputs if "stats" in v.meta]


def _gradients(graph: Graph) -> Iterator[tuple[str, str, Sequence[Mapping[str, Any] | None]]]:
    places: list[Scope | Node] = [*graph.scopes, *graph.nodes]
    for place in places:
        yield "gradient", place.name, place.meta.get("backward", {}).get("arrived", ())
    for value in graph.initializers:
        yield "parameter gradient", value.name, [value.meta.get("backward", {}).get("gradient")]


@hookimpl
def recorder_register_commands(cli: "click.Group") -> None:
    """Add ``recorder tensorboard``."""
    import click

    @cli.command()
    @click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
    @click.option("--logdir", type=click.Path(file_okay=False), required=True, metavar="FOLDER", help="It is made.")
    @click.option("--step", default=0, show_default=True, help="The number of the first step in the recording.")
    def tensorboard(source: Path, logdir: str, step: int) -> None:
        """Add a recording (.jsonl) to a folder that TensorBoard opens."""
        stream = EventStream.load(source)
        graphs = [assemble(part) for part in stream.split()] or [assemble(stream)]
        for graph in graphs:
            annotate(graph)
        write(graphs, logdir, step=step)
