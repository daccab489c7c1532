"""What was written is read back by TensorBoard's own event loader."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path

import click
import pytest
import recorder_tensorboard
from click.testing import CliRunner
from recorder_tensorboard import escape, unescape, write
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recorder import Graph, Node, Scope, Value
from recorder.testing import HOSTILE_NAMES, bearing, sample_graphs, sample_streams

SAMPLES = {**sample_graphs(), "bearing": bearing(*HOSTILE_NAMES)}
README = Path(__file__).parents[1] / "README.md"


def read(logdir):
    events = EventAccumulator(str(logdir))
    events.Reload()
    return events


def drawn(graph, tmp_path):
    """The nodes by name."""
    nodes = read(write(graph, tmp_path)).Graph().node
    assert len({node.name for node in nodes}) == len(nodes)
    return {node.name: node for node in nodes}


def fact(node, key):
    return node.attr[key].s.decode()


def called(graph, nodes):
    """The nodes of calls, in order."""
    found = [node for node in nodes.values() if "kind" in node.attr]
    assert [fact(node, "name") for node in found] == [node.name for node in graph.nodes]
    return found


def sizes(node):
    return [tuple(dim.size for dim in shape.dim) for shape in node.attr["_output_shapes"].list.shape]


def training(net, x, steps, gradients="stats"):
    import torch

    from recorder import Recorder

    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with Recorder(net, gradients=gradients) as r:
        for _ in range(steps):
            optimizer.zero_grad()
            net(x).pow(2).mean().backward()
            optimizer.step()
    return r


@pytest.fixture(scope="module")
def trained():
    import torch
    from torch import nn

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

        def forward(self, x):
            return x + self.bn(self.conv(x)).relu()

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1), Block(), Block(), nn.Flatten(), nn.Linear(256, 2))
    return training(net, torch.randn(2, 3, 8, 8), 3)


# Names


@pytest.mark.parametrize(
    "name", [*HOSTILE_NAMES, "relu#1", "a-1", ".a", "..", "_a", "~", "\ud800", ">3E", "valueOf", "%"]
)
def test_a_name_is_one_that_tensorflow_would_take_and_can_be_had_back(name):
    assert re.fullmatch(r"[A-Za-z0-9.][A-Za-z0-9_.>-]*", escape(name))
    assert unescape(escape(name)) == name


def test_names_that_are_there_often_stay_readable():
    assert [escape(name) for name in ("layer1.0", "relu#1", "add_", "_norm", "toString")] == [
        "layer1.0", "relu-1", "add_", "._norm", ".toString"
    ]  # fmt: skip


def test_names_that_meet_stay_apart(tmp_path):
    root = Scope("", 0, "Net", name="Net")
    inner = Scope("a", 0, "A", root, "a")
    x, y = (Value("a", (1,), "float32", "cpu", role=role) for role in ("input", "constant"))
    made = [Node(name, "function", "f", "f", scope=scope, inputs=(x, y)) for name, scope in
            (("a.b", inner), ("b", inner), ("a", root), ("Net", None), ("b/c", inner))]  # fmt: skip
    nodes = drawn(Graph(made, scopes=[root, inner], inputs=[x]), tmp_path)
    assert list(nodes) == ["a", "Net/a/a", "Net/a/b", "Net/a/b_1", "Net/a_1", "Net_1", "Net/a/b>2Fc"]
    assert {tuple(node.input) for node in nodes.values()} == {(), ("a", "Net/a/a")}


# The graph


@pytest.mark.parametrize("name", SAMPLES)
def test_every_node_and_every_edge_is_there(name, tmp_path):
    graph = SAMPLES[name]
    nodes = drawn(graph, tmp_path)
    calls = called(graph, nodes)
    at = {id(node): written.name for node, written in zip(graph.nodes, calls)}

    def sources(values):
        for value in values:
            if value.producer is None:
                yield fact(nodes[edges.pop(0)], "name"), value.name
            else:
                slot = value.producer.outputs.index(value)
                yield edges.pop(0), at[id(value.producer)] + (f":{slot}" if slot else "")

    returned = [node for node in nodes.values() if node.op == "Output"]
    assert len(returned) == len(graph.outputs)
    ends = [(node.inputs, written) for node, written in zip(graph.nodes, calls)]
    for values, written in [*ends, *(((value,), node) for value, node in zip(graph.outputs, returned))]:
        edges = list(written.input)
        assert all(found == expected for found, expected in sources(values))
        assert not edges
    assert [sizes(written) for written in calls] == [[v.shape for v in node.outputs] for node in graph.nodes]
    comes_in = {id(v) for v in graph.inputs} | {id(v) for n in graph.nodes for v in n.inputs if v.producer is None}
    assert len(nodes) == len(graph.nodes) + len(comes_in) + len(graph.outputs)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_scope_is_a_name_scope_of_its_own_within_its_parent(name, tmp_path):
    graph = SAMPLES[name]
    paths = {}
    for node, written in zip(graph.nodes, called(graph, drawn(graph, tmp_path))):
        scopes = [] if node.scope is None else [*node.scope.ancestors()]
        parts = written.name.split("/")
        assert len(parts) == len(scopes) + 1
        for depth, scope in enumerate(reversed(scopes), 1):
            path = "/".join(parts[:depth])
            assert paths.setdefault(id(scope), path) == path
            assert scope.name.endswith(unescape(parts[depth - 1]))
    assert len(set(paths.values())) == len(paths)


def test_scopes_are_named_as_a_reader_would(tmp_path):
    assert list(drawn(SAMPLES["recursive"], tmp_path)) == [
        "input", "Recursive/cell/fc.weight", "Recursive/cell/fc", "Recursive/cell/cell-1/fc-1",
        "Recursive/cell/cell-1/cell-2/fc-2", "output",
    ]  # fmt: skip


def test_attributes_tell_names_arguments_and_errors_as_they_are(tmp_path):
    (cat,) = [n for n in drawn(SAMPLES["branching"], tmp_path / "branching").values() if n.op == "cat"]
    assert (fact(cat, "attributes.dim"), fact(cat, "target"), fact(cat, "dtype")) == ("1", "torch.cat", "float32")
    assert cat.device == "/device:CPU:0"
    nodes = drawn(SAMPLES["error"], tmp_path / "error").values()
    assert sum("mat1 and mat2" in fact(node, "error") for node in nodes) == 1
    nodes = drawn(SAMPLES["hostile"], tmp_path / "hostile").values()
    names = [fact(node, "name") for node in nodes]
    assert [name for name in names if name.startswith("leaf ")] == [f"leaf {name}" for name in HOSTILE_NAMES]
    assert fact(next(node for node in nodes if fact(node, "name") == 'leaf "'), 'attributes."') == '"'


def test_calls_are_told_by_names(tmp_path):
    x, mask, y = (Value(name, (2,), "float32", "cpu") for name in ("x", "mask", "y"))
    net = Scope("", 0, "Net", name="Net", inputs=(mask, x), outputs=(y,))
    net.input_names, net.output_names = ("attention_mask", "ids"), ("logits",)
    make = Node("make", "function", "relu", "torch.relu", scope=net, inputs=(x,), outputs=(mask,))
    fc = Node("fc", "module", "Linear", "", "fc", 0, net, (x, mask), (y,), input_names=("ids", "attention_mask"))
    fc.output_names = ("state",)
    graph = Graph([make, fc], inputs=[x], outputs=[y], output_names=["logits"], scopes=[net])
    nodes = drawn(graph, tmp_path)
    assert (nodes["logits"].op, fact(nodes["logits"], "name")) == ("Output", "y")
    assert fact(nodes["logits"], "output_name") == "logits"
    assert json.loads(fact(nodes["Net/fc"], "input_names")) == ["ids", "attention_mask"]
    assert json.loads(fact(nodes["Net/fc"], "output_names")) == ["state"]
    assert "input_names" not in nodes["Net/make"].attr


def test_a_lone_surrogate_is_told_in_ascii(tmp_path):
    node = Node("\ud800", "function", "f", "f", attributes={"\ud800": "\udfff"})
    (written,) = drawn(Graph([node]), tmp_path).values()
    assert (unescape(written.name), fact(written, "name")) == ("\ud800", "\\ud800")
    assert fact(written, "attributes.\\ud800") == "\\udfff"


def test_a_value_that_comes_in_twice_or_goes_out_unknown(tmp_path):
    x, unknown = (Value(name, (2, -1), "float32", "cuda:1", role="input") for name in ("x", "unknown"))
    add = Node("add", "function", "add", "torch.add", inputs=(x, x))
    nodes = drawn(Graph([add], inputs=[x, x], outputs=[x, unknown]), tmp_path)
    assert {name: list(node.input) for name, node in nodes.items()} == {
        "x": [], "add": ["x", "x"], "output": ["x"], "output_1": []
    }  # fmt: skip
    assert (nodes["x"].op, nodes["x"].device, sizes(nodes["x"])) == ("Placeholder", "/device:CUDA:1", [(2, -1)])


# Times and memory


@pytest.mark.parametrize("tag", ["forward", "backward"])
def test_every_time_is_told_and_a_scope_took_the_sum_of_what_is_in_it(trained, tag, tmp_path):
    graph = trained.graphs[-1]
    events = read(write(trained.graphs, tmp_path))
    names = {fact(n, "name"): n.name for n in events.Graph().node if "kind" in n.attr}
    (device,) = events.RunMetadata(tag).step_stats.dev_stats
    took = {stats.node_name: stats for stats in device.node_stats}
    expected = {names[n.name]: n.duration_ns if tag == "forward" else n.backward_ns for n in graph.nodes}
    measured = {name: ns for name, ns in expected.items() if ns is not None}
    assert len(measured) == len(graph.nodes if tag == "forward" else [n for n in graph.nodes if "backward" in n.meta])
    assert took.keys() == measured.keys()
    for name, ns in measured.items():
        assert abs(took[name].all_end_rel_micros - ns / 1000) <= 1
    assert device.node_stats[0].all_start_micros == 1, "the page shows no time of what begins at 0"
    for one, other in pairwise(device.node_stats):
        assert one.all_start_micros + one.all_end_rel_micros == other.all_start_micros
    inside = [stats for name, stats in took.items() if name.startswith("Sequential/1/")]
    begin = min(stats.all_start_micros for stats in inside)
    end = max(stats.all_start_micros + stats.all_end_rel_micros for stats in inside)
    assert len(inside) > 1
    assert end - begin == sum(stats.all_end_rel_micros for stats in inside)


def test_memory_is_that_of_the_results(trained, tmp_path):
    graph = trained.graphs[-1]
    (device,) = read(write(graph, tmp_path)).RunMetadata("forward").step_stats.dev_stats
    told = {s.node_name: sum(m.total_bytes for m in s.memory) for s in device.node_stats}
    assert told["Sequential/0"] == 2 * 4 * 8 * 8 * 4
    assert told["Sequential/3"] == 0  # a view
    assert sum(told.values()) == sum(graph.metrics[node]["activation_bytes"] for node in graph.nodes)
    assert all(out.tensor_description.HasField("shape") for s in device.node_stats for out in s.output)
    shapes = [[dim.size for dim in out.tensor_description.shape.dim] for s in device.node_stats for out in s.output]
    assert shapes == [list(value.shape) for node in graph.nodes for value in node.outputs]


def test_a_graph_without_times_has_no_run_metadata(tmp_path):
    tags = read(write(Graph([Node("f", "function", "f", "f")]), tmp_path)).Tags()
    assert (tags["graph"], tags["run_metadata"], tags["scalars"]) == (True, [], [])


# Gradients


def test_gradients_are_told_from_step_to_step(trained, tmp_path):
    events = read(write(trained.graphs, tmp_path, step=10))
    places = [s.name for s in trained.graphs[0].scopes]
    places += [n.name for n in trained.graphs[0].nodes if "backward" in n.meta]
    parameters = [v.name for v in trained.graphs[0].initializers if v.role == "parameter"]
    statistics = ("norm", "largest", "nan", "inf", "zeros")
    assert set(events.Tags()["scalars"]) == {
        *(f"gradient {statistic}/{name}" for statistic in statistics for name in places),
        *(f"parameter gradient {statistic}/{name}" for statistic in statistics for name in parameters),
    }
    graphs = trained.graphs
    nodes = [next(node for node in graph.nodes if node.name == "1.bn") for graph in graphs]
    biases = [next(value for value in graph.initializers if value.name == "4.bias") for graph in trained.graphs]
    for tag, told in {
        "gradient norm/1.bn": [graph.metrics[node]["gradient_norm"] for graph, node in zip(graphs, nodes)],
        "parameter gradient largest/4.bias": [value.meta["backward"]["gradient"]["largest"] for value in biases],
    }.items():
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [10, 11, 12]
        assert [scalar.value for scalar in scalars] == pytest.approx(told)
        assert len(set(told)) == 3


def test_values_are_told_from_step_to_step(tmp_path):
    import torch

    from recorder import Recorder

    net = torch.nn.Sequential(torch.nn.Linear(2, 4), torch.nn.ReLU())
    with Recorder(net, values="stats") as r:
        net(torch.tensor([[1.0, 2.0], [float("nan"), 1.0]]))
        net(torch.ones(2, 2))
    events = read(write(r.graphs, tmp_path))
    statistics = ("norm", "largest", "nan", "inf", "zeros", "mean")
    places = [place.name for place in (*r.graphs[0].scopes, *r.graphs[0].nodes)]
    assert set(events.Tags()["scalars"]) == {f"value {what}/{name}" for what in statistics for name in places}
    stats = [graph.nodes[0].outputs[0].meta["stats"] for graph in r.graphs]
    assert [told["nan"] for told in stats] == [4, 0]
    for what in statistics:
        assert [scalar.value for scalar in events.Scalars(f"value {what}/0")] == pytest.approx([t[what] for t in stats])


def test_gradients_that_arrived_together_are_taken_together():
    def gradient(shape, norm, largest, zeros, nan=0):
        told = {"norm": norm, "largest": largest, "nan": nan, "inf": 1, "zeros": zeros}
        return {"shape": shape, "dtype": "float32", **told}

    split = Node("split", "module", "Split", "Split", "split", 0)
    split.meta["backward"] = {"arrived": [gradient([2, 3], 3.0, 2.0, 0.5), None, gradient([2], 4.0, 1.0, 0.0, nan=7)]}
    assert recorder_tensorboard.scalars(Graph([split])) == {
        "gradient norm/split": 5.0, "gradient largest/split": 2.0, "gradient nan/split": 7, "gradient inf/split": 2,
        "gradient zeros/split": 3 / 8,
    }  # fmt: skip


def test_a_gradient_that_is_not_finite_is_counted(tmp_path):
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 3)

        def forward(self, x):
            return self.fc(x).abs().sqrt().log()  # of what is zero

    net = Net()
    nn.init.zeros_(net.fc.weight)
    nn.init.zeros_(net.fc.bias)
    events = read(write(training(net, torch.ones(2, 3), 1).graphs, tmp_path))
    assert sum(events.Scalars(f"gradient {of}/fc")[0].value for of in ("nan", "inf")) == 6
    assert math.isfinite(events.Scalars("gradient norm/fc")[0].value)


def test_without_statistics_there_are_no_scalars(tmp_path):
    import torch

    r = training(torch.nn.Linear(2, 2), torch.ones(1, 2), 1, gradients="on")
    assert read(write(r.graph, tmp_path)).Tags()["scalars"] == []


# The folder, and the command


def test_a_folder_can_be_written_to_again(trained, tmp_path):
    first, second, _ = trained.graphs
    write(first, tmp_path / "run", step=1)
    assert write(second, str(tmp_path / "run"), step=2) == tmp_path / "run"
    assert [scalar.step for scalar in read(tmp_path / "run").Scalars("gradient norm/0")] == [1, 2]


def test_no_graphs_at_all_is_an_error_and_makes_no_folder(tmp_path):
    with pytest.raises(ValueError, match="was the model called"):
        write([], tmp_path / "run")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def command():
    group = click.Group()
    recorder_tensorboard.recorder_register_commands(group)
    return lambda *arguments: CliRunner().invoke(group, ["tensorboard", *map(str, arguments)])


def test_the_command_writes_what_the_function_does(command, trained, tmp_path):
    path = trained.events.save(tmp_path / "run.jsonl")
    result = command(path, "--logdir", tmp_path / "a", "--step", 5)
    assert (result.exit_code, result.output) == (0, "")
    told, expected = read(tmp_path / "a"), read(write(trained.graphs, tmp_path / "b", step=5))
    assert told.Graph() == expected.Graph()
    assert told.Tags() == expected.Tags()
    for tag in told.Tags()["run_metadata"]:
        assert told.RunMetadata(tag) == expected.RunMetadata(tag)
    for tag in told.Tags()["scalars"]:
        assert [(s.step, s.value) for s in told.Scalars(tag)] == [(s.step, s.value) for s in expected.Scalars(tag)]


def test_the_command_writes_a_recording_in_which_nothing_was_called(command, tmp_path):
    from recorder import EventStream

    assert command(EventStream().save(tmp_path / "run.jsonl"), "--logdir", tmp_path / "a").exit_code == 0
    assert len(read(tmp_path / "a").Graph().node) == 0
    streams = sample_streams()
    assert command(streams["tiny"].save(tmp_path / "run.jsonl"), "--logdir", tmp_path / "b").exit_code == 0
    assert [n.name for n in read(tmp_path / "b").Graph().node if "kind" in n.attr] == ["Tiny/fc", "Tiny/relu"]


def test_the_example_of_the_readme(tmp_path, monkeypatch):
    import torch

    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.ReLU())
    batches = torch.ones(3, 1, 2)
    exec(block, {"net": net, "batches": batches, "optimizer": torch.optim.SGD(net.parameters(), 0.1)})
    events = read(tmp_path / "runs" / "net")
    assert len(events.Scalars("parameter gradient norm/0.weight")) == 3
    assert events.Tags()["run_metadata"] == ["forward", "backward"]
