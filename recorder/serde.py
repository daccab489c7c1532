"""A graph as a document, and back: the only place that knows how a `Graph` is written down whole.

Nodes, values and scopes become lists, and point at each other by index. The document's JSON schema is
`json_schema()`; the published copy is ``docs/graph.schema.json``.
"""

from typing import Any, Literal, TypeVar

import msgspec

from recorder.errors import GraphError, StreamError
from recorder.graph import Graph, Node, NodeKind, Role, Scope, Value

__all__ = ["dumps", "from_document", "json_schema", "loads", "to_document"]

_T = TypeVar("_T")


class ValueDoc(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One `Value`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    role: Role = "activation"
    requires_grad: bool = False
    grad_fn: str | None = None
    meta: dict[str, Any] = {}


class ScopeDoc(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One `Scope`; ``parent`` is its parent's index."""

    name: str
    fqn: str
    call: int
    op_type: str
    target: str = ""
    parent: int | None = None
    error: str | None = None
    duration_ns: int | None = None
    backward_ns: int | None = None
    attributes: dict[str, Any] = {}
    meta: dict[str, Any] = {}


class NodeDoc(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One `Node`; ``scope``, ``inputs`` and ``outputs`` are indices."""

    name: str
    kind: NodeKind
    op_type: str
    target: str
    fqn: str | None = None
    call: int | None = None
    scope: int | None = None
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    error: str | None = None
    duration_ns: int | None = None
    backward_ns: int | None = None
    attributes: dict[str, Any] = {}
    meta: dict[str, Any] = {}


class GraphDoc(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One `Graph`; ``inputs``, ``outputs`` and ``initializers`` are indices into ``values``."""

    name: str
    nodes: list[NodeDoc]
    values: list[ValueDoc]
    scopes: list[ScopeDoc]
    inputs: list[int]
    outputs: list[int]
    initializers: list[int]
    meta: dict[str, Any] = {}
    format: Literal["graph-recorder"] = "graph-recorder"
    schema_version: Literal[1] = 1


def to_document(graph: Graph, *, timing: bool = True) -> GraphDoc:
    """The graph as a document. ``timing=False`` leaves measured times out, so that the same program always gives the
    same document."""
    values = list(graph.values())
    value_index = {id(v): i for i, v in enumerate(values)}
    scope_index = {id(s): i for i, s in enumerate(graph.scopes)}

    def indices(group: "tuple[Value, ...] | list[Value]") -> list[int]:
        return [value_index[id(v)] for v in group]

    return GraphDoc(
        name=graph.name,
        nodes=[
            NodeDoc(
                name=n.name,
                kind=n.kind,
                op_type=n.op_type,
                target=n.target,
                fqn=n.fqn,
                call=n.call,
                scope=None if n.scope is None else scope_index[id(n.scope)],
                inputs=tuple(indices(n.inputs)),
                outputs=tuple(indices(n.outputs)),
                error=n.error,
                duration_ns=n.duration_ns if timing else None,
                backward_ns=n.backward_ns if timing else None,
                attributes=n.attributes,
                meta=n.meta,
            )
            for n in graph.nodes
        ],
        values=[
            ValueDoc(v.name, v.shape, v.dtype, v.device, v.role, v.requires_grad, v.grad_fn, v.meta) for v in values
        ],
        scopes=[
            ScopeDoc(
                name=s.name,
                fqn=s.fqn,
                call=s.call,
                op_type=s.op_type,
                target=s.target,
                parent=None if s.parent is None else scope_index[id(s.parent)],
                error=s.error,
                duration_ns=s.duration_ns if timing else None,
                backward_ns=s.backward_ns if timing else None,
                attributes=s.attributes,
                meta=s.meta,
            )
            for s in graph.scopes
        ],
        inputs=indices(list(graph.inputs)),
        outputs=indices(list(graph.outputs)),
        initializers=indices(list(graph.initializers)),
        meta=graph.meta,
    )


def from_document(document: GraphDoc) -> Graph:
    """The graph that a document describes, checked with `Graph.lint`.

    Raises:
        GraphError: the document points at what it does not hold, or the graph contradicts itself.
    """
    values = [
        Value(v.name, v.shape, v.dtype, v.device, v.requires_grad, v.grad_fn, v.role, dict(v.meta))
        for v in document.values
    ]
    scopes: list[Scope] = []
    for s in document.scopes:
        parent = None if s.parent is None else _at(scopes, s.parent, f"the parent of scope {s.name!r}")
        scopes.append(
            Scope(
                fqn=s.fqn,
                call=s.call,
                op_type=s.op_type,
                parent=parent,
                name=s.name,
                target=s.target,
                error=s.error,
                duration_ns=s.duration_ns,
                backward_ns=s.backward_ns,
                attributes=dict(s.attributes),
                meta=dict(s.meta),
            )
        )

    def pick(indices: "tuple[int, ...] | list[int]", whose: str) -> tuple[Value, ...]:
        return tuple(_at(values, i, whose) for i in indices)

    nodes = [
        Node(
            name=n.name,
            kind=n.kind,
            op_type=n.op_type,
            target=n.target,
            fqn=n.fqn,
            call=n.call,
            scope=None if n.scope is None else _at(scopes, n.scope, f"the scope of node {n.name!r}"),
            inputs=pick(n.inputs, f"an input of node {n.name!r}"),
            outputs=pick(n.outputs, f"an output of node {n.name!r}"),
            attributes=dict(n.attributes),
            meta=dict(n.meta),
            error=n.error,
            duration_ns=n.duration_ns,
            backward_ns=n.backward_ns,
        )
        for n in document.nodes
    ]
    graph = Graph(
        nodes,
        inputs=pick(document.inputs, "an input of the graph"),
        outputs=pick(document.outputs, "an output of the graph"),
        initializers=pick(document.initializers, "an initializer of the graph"),
        scopes=scopes,
        name=document.name,
        meta=dict(document.meta),
    )
    graph.lint()
    return graph


def _at(items: list[_T], index: int, whose: str) -> _T:
    if not 0 <= index < len(items):
        raise GraphError([f"{whose} is number {index} of {len(items)}"])
    return items[index]


def dumps(graph: Graph, *, timing: bool = False, indent: int = 0) -> bytes:
    """The graph as JSON in UTF-8. ``timing=True`` includes measured durations, which differ from run to run."""
    data = msgspec.json.encode(to_document(graph, timing=timing))
    return msgspec.json.format(data, indent=indent) if indent else data


def loads(data: bytes | str) -> Graph:
    """Read what `dumps` wrote.

    Raises:
        StreamError: the text is not such a document; the message says where.
        GraphError: it is one, and the graph in it contradicts itself.
    """
    try:
        document = msgspec.json.decode(data, type=GraphDoc)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StreamError(f"not a graph document: {error}") from error
    return from_document(document)


def json_schema() -> dict[str, Any]:
    """The JSON schema of the document that `dumps` writes."""
    return msgspec.json.schema(GraphDoc)
