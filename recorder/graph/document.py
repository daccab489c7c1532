r"""A graph as a document, and back: the only place that knows how a `Graph` is written down whole.

Nodes, values and scopes become lists, and point at each other by index. The document's JSON schema is
`recorder.graph.schema`.

A document holds what JSON in UTF-8 can hold, and two graphs are equal if their documents are. So a tuple is written as
a list, a float that is not finite as ``"inf"``, ``"-inf"`` or ``"nan"``, and a lone surrogate as its escape,
``\ud800``.
"""

import math
from collections.abc import Iterable
from itertools import chain
from typing import Any, Literal, TypeVar

import msgspec

from recorder.errors import GraphError, StreamError, why_unreadable
from recorder.figures import meta_of
from recorder.files import utf8
from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.link_documents import link_documents, links_in
from recorder.graph.meta import check_told, timeless
from recorder.graph.schema import SCHEMA_VERSION, GraphDoc, NodeDoc, ScopeDoc, ValueDoc
from recorder.limits import DEEPEST

__all__ = ["dumps", "equal", "from_document", "loads", "plain_members", "to_document"]

_T = TypeVar("_T")

UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
"""What msgspec raises for bytes that are not JSON, not UTF-8, not such a document, or nested too deeply."""
NESTING = 100
"""How deep attributes and meta may go: the same for writing and for reading, whatever the stack has room for."""

_DECODER = msgspec.json.Decoder(GraphDoc)


@collector_held_back()
def to_document(graph: Graph, *, timing: bool = True, metrics: bool = True) -> GraphDoc:
    """The graph as a document. ``timing=False`` leaves measured times out, so that the same program always gives the
    same document; ``metrics=False`` leaves out the metrics, for which `recorder.add_metrics` asked.

    Raises:
        GraphError: a node or scope is in a scope that the graph lacks, or attributes or meta hold what JSON cannot.
    """
    writer = _Writer(graph, timing, metrics)
    return GraphDoc(
        format="graph-recorder",
        schema_version=SCHEMA_VERSION,
        name=_text(graph.name),
        nodes=list(map(writer.node, graph.nodes)),
        values=list(map(_value_doc, writer.values)),
        scopes=list(map(writer.scope, graph.scopes)),
        inputs=list(writer.indices(graph.inputs)),
        outputs=list(writer.indices(graph.outputs)),
        initializers=list(writer.indices(graph.initializers)),
        meta=plain_members(graph.meta if timing else timeless(graph.meta), graph),
        input_names=_texts(graph.input_names),
        output_names=_texts(graph.output_names),
        links=link_documents(graph) if graph.links else msgspec.UNSET,
    )


def equal(graph: Graph, other: Graph) -> bool:
    """Whether two graphs are written down alike, measured times and metrics left out: what ``==`` says."""
    return to_document(graph, timing=False, metrics=False) == to_document(other, timing=False, metrics=False)


class _Writer:
    """Writes the parts of one graph, which point at each other by index."""

    def __init__(self, graph: Graph, timing: bool, metrics: bool) -> None:
        self.values = [*graph.values(), *graph.values_of_calls()]
        self._graph, self._timing, self._metrics = graph, timing, metrics
        self._value_index = {id(v): i for i, v in enumerate(self.values)}
        self._scope_index = {id(s): i for i, s in enumerate(graph.scopes)}

    def indices(self, group: Iterable[Value]) -> tuple[int, ...]:
        return tuple([self._value_index[id(v)] for v in group])

    def node(self, n: Node) -> NodeDoc:
        return NodeDoc(
            name=_text(n.name),
            kind=n.kind,
            op_type=_text(n.op_type),
            target=_text(n.target),
            fqn=None if n.fqn is None else _text(n.fqn),
            call=n.call,
            scope=self._index_of(n.scope, n),
            inputs=self.indices(n.inputs),
            outputs=self.indices(n.outputs),
            error=None if n.error is None else _text(n.error),
            duration_ns=n.duration_ns if self._timing else None,
            backward_ns=n.backward_ns if self._timing else None,
            attributes=plain_members(n.attributes, n),
            meta=plain_members(self._meta(n), n),
            input_names=_texts(n.input_names),
            output_names=_texts(n.output_names),
        )

    def scope(self, s: Scope) -> ScopeDoc:
        return ScopeDoc(
            name=_text(s.name),
            fqn=_text(s.fqn),
            call=s.call,
            op_type=_text(s.op_type),
            target=_text(s.target),
            parent=self._index_of(s.parent, s),
            error=None if s.error is None else _text(s.error),
            duration_ns=s.duration_ns if self._timing else None,
            backward_ns=s.backward_ns if self._timing else None,
            attributes=plain_members(s.attributes, s),
            meta=plain_members(self._meta(s), s),
            inputs=self.indices(s.inputs),
            outputs=self.indices(s.outputs),
            input_names=_texts(s.input_names),
            output_names=_texts(s.output_names),
        )

    def _meta(self, place: Node | Scope) -> dict[str, Any]:
        return meta_of(self._graph, place, timing=self._timing) if self._metrics else place.meta

    def _index_of(self, scope: Scope | None, whose: Node | Scope) -> int | None:
        if scope is None:
            return None
        if id(scope) not in self._scope_index:
            kind = type(whose).__name__.lower()
            raise GraphError([f"{kind} {whose.name!r} is in scope {scope.name!r}, which the graph lacks"])
        return self._scope_index[id(scope)]


def _value_doc(v: Value) -> ValueDoc:
    return ValueDoc(
        name=_text(v.name),
        shape=v.shape,
        dtype=v.dtype,
        device=v.device,
        role=v.role,
        requires_grad=v.requires_grad,
        grad_fn=None if v.grad_fn is None else _text(v.grad_fn),
        meta=plain_members(v.meta, v),
    )


def _texts(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(map(_text, texts))


def plain_members(members: dict[str, Any], whose: Any) -> dict[str, Any]:
    """Attributes or meta, as JSON holds them. Most are empty, and 100,000 nodes are exported in seconds."""
    if not members:
        return {}
    try:
        return {_key(key): _plain(value, NESTING) for key, value in members.items()}
    except TypeError as error:
        kind = type(whose).__name__.removesuffix("Doc").lower()
        raise GraphError([f"{kind} {whose.name!r} holds what JSON cannot: {error}"]) from error


def _plain(value: Any, levels: int) -> Any:
    """A value as JSON holds it, so that what is read back equals what was written.

    Raises:
        TypeError: it is nothing that JSON knows, or has more levels than that.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(str.__str__(value))  # of a subclass, such as an enum's member, the plain text
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if isinstance(value, dict | list | tuple):
        if levels == 0:
            raise TypeError(f"lists and objects inside each other go no deeper than {NESTING} levels")
        if isinstance(value, dict):
            return {_key(key): _plain(item, levels - 1) for key, item in value.items()}
        return [_plain(item, levels - 1) for item in value]
    raise TypeError(f"{value!r} is a {type(value).__name__}; attributes and meta hold JSON values only")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"the key {key!r} is a {type(key).__name__}; keys are strings")
    return _text(str.__str__(key))


def _text(text: str) -> str:
    return text if text.isascii() else utf8(text).decode()


@collector_held_back()
def from_document(document: GraphDoc) -> Graph:
    """The graph that a document describes, checked with `Graph.lint`.

    Raises:
        GraphError: the document points at what it does not hold, or the graph contradicts itself.
    """
    reader = _Reader(document)
    nodes = [reader.node(n) for n in document.nodes]
    graph = Graph(
        nodes,
        inputs=reader.pick(document.inputs, "an input of the graph"),
        outputs=reader.pick(document.outputs, "an output of the graph"),
        initializers=reader.pick(document.initializers, "an initializer of the graph"),
        scopes=reader.scopes,
        name=document.name,
        meta=plain_members(document.meta, document),
        input_names=document.input_names,
        output_names=document.output_names,
        links=links_in(document.links or (), nodes),
    )
    reached = {id(v) for v in chain(graph.values(), graph.values_of_calls())}
    if lost := [v.name for v in reader.values if id(v) not in reached]:
        raise GraphError([f"the value {name!r} is neither used nor made nor an input or output" for name in lost])
    graph.lint()
    check_told(graph)
    _take_metrics(graph)
    return graph


class _Reader:
    """Makes the parts of one graph of a document's."""

    def __init__(self, document: GraphDoc) -> None:
        self.values = [
            Value(v.name, v.shape, v.dtype, v.device, v.requires_grad, v.grad_fn, v.role, plain_members(v.meta, v))
            for v in document.values
        ]
        self.scopes: list[Scope] = []
        self._levels: list[int] = []
        for s in document.scopes:
            self.scopes.append(self._scope(s))

    def pick(self, indices: tuple[int, ...] | list[int], whose: str) -> tuple[Value, ...]:
        return tuple([_at(self.values, i, whose) for i in indices])

    def node(self, n: NodeDoc) -> Node:
        return Node(
            name=n.name,
            kind=n.kind,
            op_type=n.op_type,
            target=n.target,
            fqn=n.fqn,
            call=n.call,
            scope=None if n.scope is None else _at(self.scopes, n.scope, f"the scope of node {n.name!r}"),
            inputs=self.pick(n.inputs, f"an input of node {n.name!r}"),
            outputs=self.pick(n.outputs, f"an output of node {n.name!r}"),
            attributes=plain_members(n.attributes, n),
            meta=plain_members(n.meta, n),
            error=n.error,
            duration_ns=n.duration_ns,
            backward_ns=n.backward_ns,
            input_names=n.input_names,
            output_names=n.output_names,
        )

    def _scope(self, s: ScopeDoc) -> Scope:
        parent = None if s.parent is None else _at(self.scopes, s.parent, f"the parent of scope {s.name!r}")
        self._levels.append(1 if s.parent is None else self._levels[s.parent] + 1)
        if self._levels[-1] > DEEPEST:
            raise GraphError([f"scope {s.name!r} is nested more than {DEEPEST:,} deep"])
        return Scope(
            fqn=s.fqn,
            call=s.call,
            op_type=s.op_type,
            parent=parent,
            name=s.name,
            target=s.target,
            error=s.error,
            duration_ns=s.duration_ns,
            backward_ns=s.backward_ns,
            attributes=plain_members(s.attributes, s),
            meta=plain_members(s.meta, s),
            inputs=self.pick(s.inputs, f"an input of scope {s.name!r}"),
            outputs=self.pick(s.outputs, f"an output of scope {s.name!r}"),
            input_names=s.input_names,
            output_names=s.output_names,
        )


def _take_metrics(graph: Graph) -> None:
    """What a document says in ``meta["metrics"]`` becomes the graph's metrics."""
    places: list[Node | Scope] = [*graph.nodes, *graph.scopes]
    if any("metrics" in place.meta for place in places):
        graph.metrics = {place: place.meta.pop("metrics", {}) for place in places}
        graph._metrics_in_documents = True


def _at(items: list[_T], index: int, whose: str) -> _T:
    if not 0 <= index < len(items):
        raise GraphError([f"{whose} is number {index} of {len(items)}"])
    return items[index]


@collector_held_back()
def dumps(graph: Graph, *, timing: bool = False, indent: int = 0) -> bytes:
    """The graph as JSON in UTF-8, on one line unless ``indent`` gives a number of spaces.

    ``timing=True`` includes measured durations, which differ from run to run.

    Raises:
        GraphError: the graph cannot be written; the message says what is in the way.
    """
    document = to_document(graph, timing=timing)
    try:
        data = msgspec.json.encode(document)
    except (TypeError, ValueError) as error:  # a name that is no text, a number of thousands of digits
        raise GraphError([f"graph {graph.name!r} holds what JSON cannot: {error}"]) from error
    return msgspec.json.format(data, indent=indent) if indent else data


@collector_held_back()
def loads(data: bytes | str) -> Graph:
    """Read what `dumps` wrote.

    Raises:
        StreamError: the text is not such a document; the message says where.
        GraphError: it is one, and the graph in it contradicts itself.
    """
    try:
        document = _DECODER.decode(data)
    except UNREADABLE as error:
        raise StreamError(_why_unreadable(data, error)) from error
    return from_document(document)


class _Head(msgspec.Struct):
    """What every version of the document has had."""

    format: Literal["graph-recorder"]
    schema_version: int


def _why_unreadable(data: bytes | str, error: Exception) -> str:
    try:
        version = msgspec.json.decode(data, type=_Head).schema_version
    except UNREADABLE:
        version = SCHEMA_VERSION
    if version != SCHEMA_VERSION:
        return (
            f"a graph document of schema version {version}, and this version of graph-recorder reads {SCHEMA_VERSION}: "
            "export it again, or read it with the version that wrote it"
        )
    return f"not a graph document: {why_unreadable(error)}"
