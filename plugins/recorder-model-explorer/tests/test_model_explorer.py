import json

import pytest
import recorder_model_explorer
from recorder_model_explorer import ModelExplorerExporter, NodeDataExporter

from recorder import Graph, Node, Recorder, Scope, Value
from recorder.testing import HOSTILE_NAMES, check_exporter, sample_graphs

SAMPLES = sample_graphs()


def drawn(graph):
    collection = json.loads(ModelExplorerExporter().export(graph))
    (only,) = collection["graphs"]
    return only


def attributes(pairs):
    return {pair["key"]: pair["value"] for pair in pairs}


@pytest.mark.parametrize("exporter", [ModelExplorerExporter(), NodeDataExporter()])
def test_every_promise_is_kept(exporter):
    check_exporter(exporter)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_node_and_every_edge_is_there(name):
    graph = SAMPLES[name]
    nodes = {node["id"]: node for node in drawn(graph)["nodes"]}
    assert len(nodes) == len(graph.inputs) + len(graph.nodes) + len(graph.outputs)
    at = {f"n{i}": node for i, node in enumerate(graph.nodes)}
    edges = [
        (at[edge["sourceNodeId"]].name, node.name, int(edge["targetNodeInputId"]), int(edge["sourceNodeOutputId"]))
        for id_, node in at.items()
        for edge in nodes[id_]["incomingEdges"]
        if edge["sourceNodeId"] in at
    ]
    assert edges == [
        (v.producer.name, node.name, position, v.producer.outputs.index(v))
        for node in graph.nodes
        for position, v in enumerate(node.inputs)
        if v.producer
    ]
    into = {e["sourceNodeId"] for node in nodes.values() for e in node["incomingEdges"]} - at.keys()
    assert into == {f"input{i}" for i, v in enumerate(graph.inputs) if v.uses or v in graph.outputs}


@pytest.mark.parametrize("name", SAMPLES)
def test_every_scope_is_a_layer_of_its_own_within_its_parent(name):
    graph = SAMPLES[name]
    only = drawn(graph)
    layers = list(only["groupNodeAttributes"])
    assert len(layers) == len(graph.scopes)
    at = {id(scope): layer for scope, layer in zip(graph.scopes, layers)}
    assert [layer.rpartition("/")[0] for layer in layers] == [at.get(id(s.parent), "") for s in graph.scopes]
    spaces = [node["namespace"] for node in only["nodes"] if node["id"].startswith("n")]
    assert spaces == [at[id(node.scope)] if node.scope else "" for node in graph.nodes]


def test_layers_are_named_as_a_reader_would():
    assert list(drawn(SAMPLES["branching"])["groupNodeAttributes"]) == [
        "Branching", "Branching/branches.0", "Branching/branches.1", "Branching/branches.2"
    ]  # fmt: skip
    assert list(drawn(SAMPLES["recursive"])["groupNodeAttributes"])[-1] == "Recursive/cell/cell#1/cell#2"


def test_slashes_open_no_layer_and_names_that_meet_stay_apart():
    root = Scope("", 0, "Net", name="Net")
    a = Scope("a", 0, "A", root, "a")
    inner = [Scope(name, 0, "B", a, name) for name in ("a.b", "b", "c/d", "")]
    node = Node("relu", "function", "relu", "torch.relu", scope=inner[-1])
    only = drawn(Graph([node], scopes=[root, a, *inner]))
    assert list(only["groupNodeAttributes"]) == ["Net", "Net/a", "Net/a/b", "Net/a/b (2)", "Net/a/c∕d", "Net/a/_"]
    assert only["nodes"][0]["namespace"] == "Net/a/_"


def test_the_side_panel_tells_all_in_text():
    nodes = drawn(SAMPLES["branching"])["nodes"]
    (cat,) = [node for node in nodes if node["label"] == "cat"]
    assert attributes(cat["attrs"])["attributes.dim"] == "1"
    assert [item["attrs"][0]["value"] for item in cat["inputsMetadata"]] == [f"branches.{i}.act:0" for i in range(3)]
    assert attributes(cat["outputsMetadata"][0]["attrs"])["tensor_shape"] == "float32[1, 12]"
    fc = next(node for node in nodes if node["label"] == "Linear")
    assert attributes(fc["attrs"])["parameter branches.0.fc.weight"] == "float32[4, 4]"
    error = [attributes(node["attrs"]).get("error", "") for node in drawn(SAMPLES["error"])["nodes"]]
    assert sum("mat1 and mat2" in text for text in error) == 1


def test_hostile_names_stay_as_they_are():
    names = [attributes(n["attrs"])["name"] for n in drawn(SAMPLES["hostile"])["nodes"]]
    assert [name for name in names if name.startswith("leaf ")] == [f"leaf {name}" for name in HOSTILE_NAMES]


def test_a_value_that_comes_in_twice_is_one_node():
    x = Value("x", (2,), "float32", "cpu", role="input")
    graph = Graph([Node("add", "function", "add", "torch.add", inputs=(x, x))], inputs=[x, x], outputs=[x])
    nodes = drawn(graph)["nodes"]
    assert [node["id"] for node in nodes] == ["input0", "n0", "output0"]
    assert [edge["targetNodeInputId"] for edge in nodes[1]["incomingEdges"]] == ["0", "1"]


def test_tensors_are_called_as_the_call_calls_them():
    x, mask, y = (Value(name, (2,), "float32", "cpu") for name in ("x", "mask", "y"))
    net = Scope("", 0, "Net", name="Net", inputs=(mask, x), outputs=(y,))
    net.input_names, net.output_names = ("attention_mask", "ids"), ("logits",)
    make = Node("make", "function", "relu", "torch.relu", scope=net, inputs=(x,), outputs=(mask,))
    fc = Node("fc", "module", "Linear", "", "fc", 0, net, (x, mask), (y,), input_names=("ids", "attention_mask"))
    fc.output_names = ("state",)
    graph = Graph([make, fc], inputs=[x], outputs=[y], output_names=["logits"], scopes=[net])
    _, made, called, returned = drawn(graph)["nodes"]
    assert [attributes(item["attrs"]) for item in called["inputsMetadata"]] == [
        {"__tensor_tag": "ids", "name": "x"}, {"__tensor_tag": "attention_mask", "name": "mask"}
    ]  # fmt: skip
    (output,) = called["outputsMetadata"]
    assert attributes(output["attrs"]).items() >= {"__tensor_tag": "state", "name": "y"}.items()
    assert (returned["id"], returned["label"], attributes(returned["attrs"])) == ("output0", "logits", {"name": "y"})
    assert attributes(made["inputsMetadata"][0]["attrs"]) == {"__tensor_tag": "x"}


@pytest.fixture(scope="module")
def trained():
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.unused = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x):
            x = self.a(x)
            self.unused(x)
            return self.b(x.relu())

    net = Net()
    with Recorder(net) as r:
        net(torch.ones(1, 4)).sum().backward()
    return r.graph


def test_the_overlay_shows_where_gradients_went(trained):
    only = drawn(trained)
    names = {node["id"]: attributes(node["attrs"])["name"] for node in only["nodes"]}
    (pane,) = only["tasksData"]["edgeOverlaysDataListLeftPane"]
    (overlay,) = pane["overlays"]
    edges = {(names[edge["sourceNodeId"]], names[edge["targetNodeId"]]) for edge in overlay["edges"]}
    assert edges == {("sum", "b"), ("b", "relu"), ("relu", "a")}
    assert "tasksData" not in drawn(SAMPLES["tiny"])


def test_node_data_is_of_the_same_nodes(trained):
    ids = {node["id"]: attributes(node["attrs"])["name"] for node in drawn(trained)["nodes"]}

    def told(metric):
        ((id_, data),) = json.loads(NodeDataExporter().export(trained, metric=metric)).items()
        assert id_ == drawn(trained)["id"]
        return {ids[node]: result["value"] for node, result in data["results"].items()}

    assert told("parameters") == {"a": 20, "unused": 20, "b": 20}
    assert told("forward") == {node.name: node.duration_ns / 1e6 for node in trained.nodes}
    assert told("backward").keys() == {"a", "b"}


def test_it_registers_itself():
    registered = []
    recorder_model_explorer.recorder_register_exporters(registered.append)
    assert [exporter.name for exporter in registered] == ["model-explorer", "model-explorer-data"]
