"""Recorded graphs for networkx, and through its writers for the programs that people look at graphs with.

`to_networkx` is the whole of the translation: the exporters only make its result fit what each format can hold.
"""

import json
import re
from io import BytesIO
from typing import Any

import networkx as nx

from recorder import Graph, Register, dumps, hookimpl

__all__ = ["CytoscapeExporter", "GraphMLExporter", "NodeLinkExporter", "to_networkx"]


def to_networkx(graph: Graph, *, timing: bool = True) -> nx.MultiDiGraph:
    """The operations as nodes, in execution order, and every use of a tensor as an edge.

    A node is known by its name. Its data is what the ``json`` format says of it: ``kind``, ``op_type``, ``target``,
    ``attributes`` and so on, with names in the place of indices: ``scope`` is the scope's name, ``inputs`` and
    ``outputs`` are names of values. An edge is the value that it carries, ``name``, ``shape``, ``dtype`` and so on; its
    key is the position among the inputs of its target, and ``input_name`` what the target's call names it. What is
    unknown, or as it usually is (the role "activation"), is left out.

    The graph's own data are its ``name``, ``meta`` and ``scopes``, and in full, since no edge carries them, the
    values that are its ``inputs``, ``outputs`` and ``initializers``; ``input_names`` and ``output_names`` are those of
    the call. A graph of several ranks has its ``links``, too, each with the names of its ``members``.

    Args:
        graph: any graph.
        timing: with measured durations, in nanoseconds; they differ from run to run.

    Raises:
        GraphError: attributes or meta hold what JSON cannot; the message says where.
    """
    document = json.loads(dumps(graph, timing=timing))
    values, scopes = document["values"], document["scopes"]
    value_of = dict(zip(map(id, graph.values()), values))
    for scope in scopes:
        _name_values(scope, values)
        if "parent" in scope:
            scope["parent"] = scopes[scope["parent"]]["name"]
    for group in ("inputs", "outputs", "initializers"):
        document[group] = [values[index] for index in document[group]]

    of_graph = ("name", "meta", "scopes", "inputs", "outputs", "initializers", "input_names", "output_names")
    net = nx.MultiDiGraph(**{key: document[key] for key in of_graph})
    if graph.links:
        net.graph["links"] = [
            {**link, "members": [[ranks, graph.nodes[node].name] for ranks, node in link["members"]]}
            for link in document["links"]
        ]
    for node, data in zip(graph.nodes, document["nodes"]):
        _name_values(data, values)
        if "scope" in data:
            data["scope"] = scopes[data["scope"]]["name"]
        net.add_node(node.name, **data)
    for node in graph.nodes:
        for position, value in enumerate(node.inputs):
            if value.producer is not None:
                name = node.input_names[position] if node.input_names else ""
                carried = {**value_of[id(value)], **({"input_name": name} if name else {})}
                net.add_edge(value.producer.name, node.name, key=position, **carried)
    return net


def _name_values(call: dict[str, Any], values: list[dict[str, Any]]) -> None:
    """Put names in the place of indices."""
    for group in {"inputs", "outputs"} & call.keys():
        call[group] = [values[index]["name"] for index in call[group]]


class NodeLinkExporter:
    """Node-link JSON, as D3 and networkx.node_link_graph read it."""

    name, suffixes, media_type = "node-link", (".node-link.json",), "application/json"

    def export(self, graph: Graph, *, timing: bool = False) -> str:
        """What `to_networkx` gives, whole; nodes are known by their names.

        Args:
            graph: any graph.
            timing: include measured durations.
        """
        return json.dumps(nx.node_link_data(to_networkx(graph, timing=timing), edges="edges"))


class CytoscapeExporter:
    """JSON for Cytoscape and Cytoscape.js, in which scopes are compound nodes."""

    name, suffixes, media_type = "cytoscape", (".cyjs", ".cytoscape.json"), "application/json"

    def export(self, graph: Graph, *, timing: bool = False) -> str:
        """Nodes are n0, n1, …; scopes are s0, s1, … of the ``kind`` "scope"; ``parent`` is the scope around either.

        Args:
            graph: any graph.
            timing: include measured durations.
        """
        net = _numbered(to_networkx(graph, timing=timing))
        scopes = {scope["name"]: (f"s{i}", scope) for i, scope in enumerate(net.graph.pop("scopes"))}
        for data in net.nodes.values():
            if "scope" in data:
                data["parent"] = scopes[data["scope"]][0]
        for id_, scope in scopes.values():
            parent = {"parent": scopes[scope["parent"]][0]} if "parent" in scope else {}
            net.add_node(id_, **{**scope, "kind": "scope", **parent})
        return json.dumps(nx.cytoscape_data(net))


class GraphMLExporter:
    """GraphML, as Gephi, yEd, igraph and networkx.read_graphml read it."""

    name, suffixes, media_type = "graphml", (".graphml",), "application/graphml+xml"

    def export(self, graph: Graph, *, timing: bool = False) -> bytes:
        r"""Nodes are n0, n1, …, with the ``name`` beside; whatever is no number or text is written as JSON.

        XML cannot hold most control characters: they are shown as Python escapes (``\x1b``).

        Args:
            graph: any graph.
            timing: include measured durations.
        """
        net = _numbered(to_networkx(graph, timing=timing))
        for data in (net.graph, *net.nodes.values(), *(data for _, _, data in net.edges(data=True))):
            flat = {key: _flat(value) for key, value in data.items() if value not in ("", [], {})}
            data.clear()
            data.update(flat)
        file = BytesIO()
        nx.write_graphml_xml(net, file)
        return file.getvalue()


def _numbered(net: nx.MultiDiGraph) -> nx.MultiDiGraph:
    """The same with ids that every program takes: n0, n1, … for nodes, and 0, 1, … for edges. ``input`` of an edge is
    the position that was its key.
    """
    ids = {name: f"n{i}" for i, name in enumerate(net)}
    numbered = nx.MultiDiGraph(**net.graph)
    numbered.add_nodes_from((ids[name], data) for name, data in net.nodes.items())
    for i, (source, target, position, data) in enumerate(net.edges(keys=True, data=True)):
        numbered.add_edge(ids[source], ids[target], key=i, input=position, **data)
    return numbered


_NOT_IN_XML = re.compile("[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What is no Char of XML 1.0; and the carriage return, for which every reader of XML puts a line feed."""


def _flat(value: Any) -> str | int | float:
    """A value as GraphML knows them: numbers, truth values, text."""
    if isinstance(value, int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return _NOT_IN_XML.sub(lambda match: ascii(match[0])[1:-1], text)


@hookimpl
def recorder_register_exporters(register: Register) -> None:
    for exporter in (GraphMLExporter(), CytoscapeExporter(), NodeLinkExporter()):
        register(exporter)
