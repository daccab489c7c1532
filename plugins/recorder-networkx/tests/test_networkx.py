"""What was written is read back by networkx, and compared with the graph's own objects, one by one."""

import json
import re
from io import BytesIO
from pathlib import Path

import networkx as nx
import pytest
import recorder_networkx
from recorder_networkx import CytoscapeExporter, GraphMLExporter, NodeLinkExporter, to_networkx

import recorder
from recorder import EventStream, Graph, Node, Recorder, Scope, Value
from recorder.events import Collective, Group, Header
from recorder.testing import HOSTILE_NAMES, chain, check_exporter, sample_graphs

README = Path(__file__).parents[1] / "README.md"
SAMPLES = sample_graphs()


@pytest.fixture(scope="module")
def resnet() -> Graph:
    import torch
    from torchvision.models import resnet18

    net = resnet18().eval()
    with torch.no_grad(), Recorder(net) as r:
        net(torch.zeros(1, 3, 64, 64))
    return r.graph


@pytest.fixture(params=[*SAMPLES, "resnet"])
def graph(request):
    return request.getfixturevalue("resnet") if request.param == "resnet" else SAMPLES[request.param]


@pytest.mark.parametrize("exporter", [GraphMLExporter(), CytoscapeExporter(), NodeLinkExporter()])
def test_every_promise_is_kept(exporter):
    check_exporter(exporter)


def nodes(graph):
    """What a graph says of its nodes, in order."""
    return [
        (n.name, n.kind, n.op_type, n.fqn, n.call, n.scope and n.scope.name, n.error, [v.name for v in n.outputs])
        for n in graph.nodes
    ]


def edges(graph):
    """Every edge by the positions of its ends among the nodes, and of the value among the target's inputs."""
    at = {id(node): i for i, node in enumerate(graph.nodes)}
    return sorted(
        (at[id(v.producer)], at[id(node)], position, v.name, list(v.shape), v.dtype)
        for node in graph.nodes
        for position, v in enumerate(node.inputs)
        if v.producer is not None
    )


def nodes_of(net, decode=lambda value: value):
    return [
        (
            d.get("name", ""), d["kind"], d.get("op_type", ""), d.get("fqn"), d.get("call"),
            d.get("scope"), d.get("error"), decode(d.get("outputs", [])),
        )
        for d in net.nodes.values()
    ]  # fmt: skip


def edges_of(net, position, decode=lambda value: value):
    at = {name: i for i, name in enumerate(net)}
    return sorted(
        (at[u], at[v], position(key, d), d.get("name", ""), decode(d["shape"]), d["dtype"])
        for u, v, key, d in net.edges(keys=True, data=True)
    )


def key(key, data):
    return key


def from_data(key, data):
    return data["input"]


def test_networkx_has_every_node_and_every_edge(graph):
    net = to_networkx(graph)
    assert nodes_of(net) == nodes(graph)
    assert list(net) == [node.name for node in graph.nodes]
    assert edges_of(net, key) == edges(graph)
    assert [v["name"] for v in net.graph["inputs"]] == [v.name for v in graph.inputs]
    assert [v["name"] for v in net.graph["initializers"]] == [v.name for v in graph.initializers]
    assert [s["name"] for s in net.graph["scopes"]] == [s.name for s in graph.scopes]
    assert nx.is_directed_acyclic_graph(net)


def test_node_link_reads_back_equal(graph):
    back = nx.node_link_graph(json.loads(NodeLinkExporter().export(graph)), edges="edges")
    assert nx.utils.graphs_equal(back, to_networkx(graph, timing=False))


def test_cytoscape_reads_back_isomorphic(graph):
    back = nx.cytoscape_graph(json.loads(CytoscapeExporter().export(graph)))
    back.remove_nodes_from([name for name, data in back.nodes.items() if data["kind"] == "scope"])
    assert nodes_of(back) == nodes(graph)
    assert edges_of(back, from_data) == edges(graph)


def test_cytoscape_holds_every_operation_and_scope_in_its_scope(graph):
    elements = json.loads(CytoscapeExporter().export(graph))["elements"]
    at = {e["data"]["id"]: e["data"] for e in elements["nodes"]}
    assert len(at) == len(elements["nodes"]) == len(graph.nodes) + len(graph.scopes)
    told = [at[d["parent"]]["name"] if "parent" in d else None for d in at.values()]
    assert told == [item and item.name for item in [*(n.scope for n in graph.nodes), *(s.parent for s in graph.scopes)]]
    assert {at[d["parent"]]["kind"] for d in at.values() if "parent" in d} <= {"scope"}
    assert all(e["data"][end] in at for e in elements["edges"] for end in ("source", "target"))


def as_xml(value):
    """Text with an escape for what is not a Char of XML 1.0, and for the carriage return, as the README says."""
    allowed = [(0x9, 0xA), (0x20, 0xD7FF), (0xE000, 0xFFFD), (0x10000, 0x10FFFF)]
    if isinstance(value, list | tuple):
        return type(value)(map(as_xml, value))
    if not isinstance(value, str):
        return value
    return "".join(
        c if any(low <= ord(c) <= high for low, high in allowed) else c.encode("unicode_escape").decode() for c in value
    )


def test_graphml_reads_back_isomorphic(graph):
    back = nx.read_graphml(BytesIO(GraphMLExporter().export(graph)), force_multigraph=True)

    def decode(text):
        return as_xml(json.loads(text or "[]"))

    # What is empty is not there; \r in JSON is an escape of JSON's.
    assert [tuple(x or "" for x in n) for n in nodes_of(back, decode)] == [
        tuple(as_xml(x) or "" for x in n) for n in nodes(graph)
    ]
    assert edges_of(back, from_data, json.loads) == [tuple(map(as_xml, edge)) for edge in edges(graph)]


def test_graphml_edges_have_ids_of_their_own(graph):
    ids = re.findall(rb'<edge [^>]*id="(\d+)"', GraphMLExporter().export(graph))
    assert len(ids) == len(set(ids)) == len(list(graph.edges()))


def test_a_value_that_is_used_twice_is_two_edges():
    x = Value("x", (2,), "float32", "cpu", role="input")
    y, z = (Value(name, (2,), "float32", "cpu") for name in "yz")
    make = Node("make", "function", "relu", "torch.relu", inputs=(x,), outputs=(y,))
    add = Node("add", "function", "add", "torch.add", inputs=(y, x, y), outputs=(z,))
    net = to_networkx(Graph([make, add], inputs=[x], outputs=[z]))
    assert list(net.edges(keys=True)) == [("make", "add", 0), ("make", "add", 2)]


def test_calls_are_told_by_names():
    x, mask, y = (Value(name, (2,), "float32", "cpu") for name in ("x", "mask", "y"))
    net = Scope("", 0, "Net", name="Net", inputs=(mask, x), outputs=(y,))
    net.input_names, net.output_names = ("attention_mask", "ids"), ("logits",)
    make = Node("make", "function", "relu", "torch.relu", scope=net, inputs=(x,), outputs=(mask,))
    fc = Node("fc", "module", "Linear", "", "fc", 0, net, (x, mask), (y,), input_names=("ids", "attention_mask"))
    fc.output_names = ("state",)
    graph = Graph([make, fc], inputs=[x], outputs=[y], output_names=["logits"], scopes=[net])
    net = to_networkx(graph)
    assert net.edges["make", "fc", 1]["input_name"] == "attention_mask"
    assert net.nodes["fc"]["input_names"] == ["ids", "attention_mask"]
    assert net.graph["output_names"] == ["logits"]
    (scope,) = net.graph["scopes"]
    assert (scope["inputs"], scope["outputs"]) == (["mask", "x"], ["y"])
    assert (scope["input_names"], scope["output_names"]) == (["attention_mask", "ids"], ["logits"])
    read = nx.read_graphml(BytesIO(GraphMLExporter().export(graph)))
    assert [data["input_name"] for _, _, data in read.edges(data=True)] == ["attention_mask"]


def test_links_between_ranks_are_told_by_names(tmp_path):
    for rank in range(2):
        events = [
            Group(0, "0", "0-1", rank),
            Collective(0, 0, 0, ("send", "recv")[rank], 0, peer=1 - rank),
            Collective(1, 0, 0, "barrier", 1),
        ]
        header = Header(meta={"rank": rank, "world_size": 2})
        EventStream(events, header).save(tmp_path / f"{rank}.jsonl")
    graph = recorder.merge(str(tmp_path / "*.jsonl"))
    sent, barrier = to_networkx(graph).graph["links"]
    assert sent["op_type"] == "send"
    assert sent["members"] == [["0", "rank 0.send"], ["1", "rank 1.recv"]]
    assert [name for _, name in barrier["members"]] == ["rank 0.barrier", "rank 1.barrier"]
    for exporter in (GraphMLExporter(), CytoscapeExporter(), NodeLinkExporter()):
        assert b"rank 1.barrier" in (text if isinstance(text := exporter.export(graph), bytes) else text.encode())


def test_names_that_no_format_can_hold_stay_apart():
    names = ["a\ud800", "a\\ud800", "a\x00", "a\\x00", "", " ", *HOSTILE_NAMES[3:9]]
    graph = Graph([Node(name, "function", name, name) for name in names])
    read = nx.read_graphml(BytesIO(GraphMLExporter().export(graph)))
    assert len(read) == len(nx.cytoscape_graph(json.loads(CytoscapeExporter().export(graph)))) == len(names)
    assert list(nx.node_link_graph(json.loads(NodeLinkExporter().export(graph)), edges="edges")) == names


def test_numbers_that_json_cannot_hold_are_text():
    node = Node("mask", "function", "masked_fill", "torch.masked_fill", attributes={"value": float("-inf")})
    assert to_networkx(Graph([node])).nodes["mask"]["attributes"] == {"value": "-inf"}
    for exporter in (NodeLinkExporter(), CytoscapeExporter()):
        json.loads(exporter.export(Graph([node])), parse_constant=pytest.fail)


@pytest.mark.parametrize("exporter", [GraphMLExporter(), CytoscapeExporter(), NodeLinkExporter()])
def test_durations_are_written_on_demand(exporter):
    graph = SAMPLES["tiny"]
    without, with_times = exporter.export(graph), exporter.export(graph, timing=True)
    assert "duration_ns" not in str(without)
    assert "duration_ns" in str(with_times)


def test_a_large_graph():
    net = to_networkx(chain(5_000, blocks=10))
    assert (len(net), net.number_of_edges()) == (5_000, 4_999)
    assert len(nx.dag_longest_path(net)) == 5_000


def test_the_example_of_the_readme():
    import torch

    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    program, results = block.split("graph = to_networkx(r.graph)\n")
    names = {"x": torch.zeros(1, 3, 224, 224)}
    exec(program, names)
    names["graph"] = to_networkx(names["r"].graph)
    assert len(results.splitlines()) == 4
    for line in results.splitlines():
        source, _, told = line.partition("  # ")
        assert told.startswith(repr(eval(source, names))), line


def test_it_registers_itself():
    registered = []
    recorder_networkx.recorder_register_exporters(registered.append)
    assert [exporter.name for exporter in registered] == ["graphml", "cytoscape", "node-link"]
