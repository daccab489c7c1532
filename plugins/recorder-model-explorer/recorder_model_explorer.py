"""Recorded graphs for Google's Model Explorer: scopes as layers to open and close, and what is measured as node data.

Nodes are ``n0``, ``n1``, … in execution order, ``input0``, … and ``output0``, …, in the graph file and in the node data
alike. A layer is known by its path, as in ``ResNet/layer1/0``.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from recorder import Graph, Node, Register, Scope, Value, hookimpl

__all__ = ["ModelExplorerExporter", "NodeDataExporter"]

BACKWARD = "#c2185b"
"""The colour of edges that gradients went along."""

LINKS = "#0b7479"
"""The colour of what ties the ranks of a job."""


class ModelExplorerExporter:
    """JSON for Google's Model Explorer, with layers, attributes, and backward as an overlay."""

    name, suffixes, media_type = "model-explorer", (".model-explorer.json", ".me.json"), "application/json"

    def export(self, graph: Graph) -> str:
        """One graph collection with one graph.

        The overlay named backward has an edge for each use of a value with a gradient between what backward reached.
        Nobody looks for gradients at functions, so they count as reached if the value that they made needs one. The
        overlays named ranks have what the ranks of a job issued together, each kind of operation one.
        """
        ids = _ids(graph)
        namespaces = _namespaces(graph)
        nodes = [_source(ids[id(value)], value) for value in _sources(graph)]
        nodes += (_node(node, ids, namespaces) for node in graph.nodes)
        returned = zip(graph.outputs, graph.output_names, strict=True)
        nodes += (_sink(f"output{i}", value, name, ids) for i, (value, name) in enumerate(returned))
        groups = {namespaces[id(scope)]: _told(scope) for scope in graph.scopes}
        drawn: dict[str, Any] = {"id": graph.name or "graph", "nodes": nodes, "groupNodeAttributes": groups}
        overlays = [("backward", [{"name": "backward", "edgeColor": BACKWARD, "edges": _backward(graph, ids)}])]
        overlays.append(("ranks", list(_links(graph, ids))))
        told = [(name, [one for one in parts if one["edges"]]) for name, parts in overlays]
        if shown := [{"name": name, "type": "edge_overlays", "overlays": parts} for name, parts in told if parts]:
            drawn["tasksData"] = {"edgeOverlaysDataListLeftPane": shown}
        return json.dumps({"label": graph.name or "graph", "graphs": [drawn]})


class NodeDataExporter:
    """Node data for Google's Model Explorer, which colours the nodes by it: times, or the number of parameters."""

    name, suffixes, media_type = "model-explorer-data", (".node-data.json",), "application/json"

    def export(self, graph: Graph, *, metric: Literal["parameters", "forward", "backward"] = "parameters") -> str:
        """A number for each node that has one.

        Args:
            graph: the same that `ModelExplorerExporter` was given.
            metric: how many parameters the node uses, or the milliseconds that it took in forward or backward.
        """
        ids = _ids(graph)
        results = {
            ids[id(node)]: {"value": value} for node in graph.nodes if (value := _measure(node, metric)) is not None
        }
        name = {"parameters": "parameters", "forward": "forward (ms)", "backward": "backward (ms)"}[metric]
        gradient = [{"stop": 0, "bgColor": "#ffffff"}, {"stop": 1, "bgColor": BACKWARD}]
        return json.dumps({graph.name or "graph": {"name": name, "results": results, "gradient": gradient}})


def _measure(node: Node, metric: str) -> float | None:
    if metric == "parameters":
        return sum(_elements(value) for value in node.inputs if value.role == "parameter") or None
    nanoseconds = node.duration_ns if metric == "forward" else node.backward_ns
    return None if nanoseconds is None else nanoseconds / 1e6


def _elements(value: Value) -> int:
    count = 1
    for size in value.shape:
        count *= max(size, 0)  # -1 stands for no single size
    return count


def _sources(graph: Graph) -> list[Value]:
    """What comes in, each value once."""
    return list({id(value): value for value in graph.inputs if value.producer is None}.values())


def _ids(graph: Graph) -> dict[int, str]:
    """Of every node, and of every value that comes in."""
    inputs = {id(value): f"input{i}" for i, value in enumerate(_sources(graph))}
    return inputs | {id(node): f"n{i}" for i, node in enumerate(graph.nodes)}


def _namespaces(graph: Graph) -> dict[int, str]:
    """The path of every scope. A slash in a name would open a layer of its own."""
    paths: dict[int, str] = {}
    taken: set[str] = set()
    for scope in graph.scopes:
        around = "" if scope.parent is None else paths[id(scope.parent)] + "/"
        name = scope.name
        if scope.parent is not None and scope.parent.fqn:
            name = name.removeprefix(f"{scope.parent.fqn}.")
        path = first = around + (name.replace("/", "∕").strip() or "_")
        number = 1
        while path in taken:
            number += 1
            path = f"{first} ({number})"
        taken.add(path)
        paths[id(scope)] = path
    return paths


def _node(node: Node, ids: Mapping[int, str], namespaces: Mapping[int, str]) -> dict[str, Any]:
    given, returned = _called(node.inputs, node.input_names), _called(node.outputs, node.output_names)
    return {
        "id": ids[id(node)],
        "label": node.op_type,
        "namespace": "" if node.scope is None else namespaces[id(node.scope)],
        "attrs": _pairs(_told(node) | _members(node)),
        "incomingEdges": [edge for position, (value, _) in enumerate(given) for edge in _edges(value, position, ids)],
        "inputsMetadata": [_item(position, _tag(*one)) for position, one in enumerate(given)],
        "outputsMetadata": [_item(position, _described(*one)) for position, one in enumerate(returned)],
    }


def _called(values: Sequence[Value], names: Sequence[str]) -> list[tuple[Value, str]]:
    """Each with its name in the call; "" where it has none."""
    return list(zip(values, names or [""] * len(values), strict=True))


def _tag(value: Value, name: str) -> dict[str, str]:
    """What the page calls a tensor: what the call calls it, and beside that its own name."""
    return {"__tensor_tag": name, "name": value.name} if name not in ("", value.name) else {"__tensor_tag": value.name}


def _source(id_: str, value: Value) -> dict[str, Any]:
    return {
        "id": id_, "label": "input", "namespace": "", "attrs": _pairs({"name": value.name}),
        "incomingEdges": [], "outputsMetadata": [_item(0, _described(value))],
    }  # fmt: skip


def _sink(id_: str, value: Value, name: str, ids: Mapping[int, str]) -> dict[str, Any]:
    return {
        "id": id_, "label": name or "output", "namespace": "", "attrs": _pairs({"name": value.name}),
        "incomingEdges": _edges(value, 0, ids), "inputsMetadata": [_item(0, _tag(value, name))],
    }  # fmt: skip


def _edges(value: Value, position: int, ids: Mapping[int, str]) -> list[dict[str, str]]:
    """The edge along which a value arrives; none for parameters, buffers and constants, which the attributes tell."""
    made = value.producer
    source = ids.get(id(value if made is None else made))
    if source is None:
        return []
    output = 0 if made is None else next(i for i, other in enumerate(made.outputs) if other is value)
    return [{"sourceNodeId": source, "sourceNodeOutputId": str(output), "targetNodeInputId": str(position)}]


def _backward(graph: Graph, ids: Mapping[int, str]) -> list[dict[str, str]]:
    if not any("backward" in node.meta for node in graph.nodes):
        return []

    def reached(node: Node) -> bool:
        return "backward" in node.meta or (node.kind != "module" and any(v.requires_grad for v in node.outputs))

    return [
        {"sourceNodeId": ids[id(edge.target)], "targetNodeId": ids[id(edge.source)]}
        for edge in graph.edges()
        if edge.value.requires_grad and reached(edge.source) and reached(edge.target)
    ]


def _links(graph: Graph, ids: Mapping[int, str]) -> Iterator[dict[str, Any]]:
    """What ranks issued together, from each node to the next; between the same two once."""
    edges: dict[str, dict[tuple[str, str], None]] = {}
    for link in graph.links:
        nodes = [ids[id(node)] for node in link.nodes()]
        edges.setdefault(link.op_type, {}).update(dict.fromkeys(pairwise(nodes)))
    for op_type, pairs in edges.items():
        between = [{"sourceNodeId": one, "targetNodeId": other} for one, other in pairs]
        yield {"name": op_type, "edgeColor": LINKS, "edges": between}


def _told(item: Node | Scope) -> dict[str, str]:
    """What the side panel shows of a node or a layer."""
    facts = {"name": item.name, "op_type": item.op_type, "target": item.target, "error": item.error}
    told = {key: value for key, value in facts.items() if value}
    return told | {f"attributes.{key}": _text(value) for key, value in item.attributes.items()}


def _members(node: Node) -> dict[str, str]:
    outside = [value for value in node.inputs if value.role in ("parameter", "buffer", "constant")]
    return {f"{value.role} {value.name}": f"{value.dtype}{list(value.shape)}" for value in outside}


def _described(value: Value, name: str = "") -> dict[str, str]:
    facts = {"device": value.device, "grad_fn": value.grad_fn or ""}
    return {
        **_tag(value, name), "tensor_shape": f"{value.dtype}{list(value.shape)}",
        **{key: fact for key, fact in facts.items() if fact},
    }  # fmt: skip


def _item(position: int, attributes: Mapping[str, str]) -> dict[str, Any]:
    return {"id": str(position), "attrs": _pairs(attributes)}


def _pairs(attributes: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in attributes.items()]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


@hookimpl
def recorder_register_exporters(register: Register) -> None:
    for exporter in (ModelExplorerExporter(), NodeDataExporter()):
        register(exporter)
