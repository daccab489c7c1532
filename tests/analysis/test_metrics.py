"""`Graph.metrics`: parameters, bytes, shares of time, and what a scope sums up. FLOPs are in test_flops.py."""

import copy
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from support.models import Block, Net, linear, record, x
from torch import nn

import recorder
from recorder import (
    EventStream,
    Graph,
    Recorder,
    Scope,
    Value,
    annotate,
    assemble,
    collapse,
    dumps,
    fold,
    hide,
    loads,
    select,
)  # fmt: skip
from recorder.analysis.metrics import bytes_of, measured
from recorder.testing import sample_graphs


def metrics(graph: Graph) -> dict[str, dict[str, float]]:
    return {place.name: graph.metrics[place] for place in (*graph.scopes, *graph.nodes)}


def shared() -> Net:
    """A module that is called twice, a weight that two modules share, and one that is frozen."""
    net = Net(lambda net, x: net.b(net.a(net.a(x))).relu() + net.c(x), a=linear(), b=linear(), c=linear())
    net.b.weight = net.a.weight
    net.c.requires_grad_(requires_grad=False)
    return net


def test_parameters_are_counted_once() -> None:
    told = metrics(record(shared(), x()))
    names = ("parameters", "trainable", "parameter_bytes")
    assert {name: [m.get(n) for n in names] for name, m in told.items()} == {
        "Net": [32, 16, 128],
        "a": [16, 16, 64],
        "a#1": [16, 16, 64],
        "b": [16, 16, 64],
        "c": [16, 0, 64],
        "relu": [None, None, None],
        "add": [None, None, None],
    }


def test_activations_are_counted_where_there_is_new_memory() -> None:
    def forward(net: Net, x: torch.Tensor) -> torch.Tensor:
        x = net.act(net.fc(x).view(4, 2).t())
        return x.half().relu_()

    told = metrics(record(Net(forward, fc=linear(), act=nn.ReLU(inplace=True)), x()))
    expected = {"fc": 32, "view": 0, "t": 0, "act": 0, "half": 16, "relu_": 0, "Net": 48}
    assert {name: m["activation_bytes"] for name, m in told.items()} == expected


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "bfloat16", "int64", "uint8", "bool", "complex64", "float8_e4m3fn"]
)
def test_bytes_are_those_of_torch(dtype: str) -> None:
    tensor = torch.zeros(3, 5, dtype=getattr(torch, dtype))
    graph = record(Net(lambda net, x: (x.clone(),)), tensor)
    assert bytes_of(graph.inputs[0]) == tensor.numel() * tensor.element_size()


@pytest.mark.parametrize("dtype", ["float²", "none", "float1024", "9" * 200])
def test_a_dtype_that_nobody_knows_takes_some_bytes_or_none(dtype: str) -> None:
    assert 0 <= bytes_of(Value("x", (2,), dtype, "cpu")) < 1_000


def test_shares_of_time() -> None:
    net = shared()
    with Recorder(net) as r:
        net(x()).sum().backward()
    told, nodes = metrics(r.graph), {node.name: node for node in r.graph.nodes}
    net_time, sum_time = r.graph.scopes[0].duration_ns, nodes["sum"].duration_ns
    assert net_time is not None
    assert sum_time is not None
    assert told["Net"]["time_share"] + told["sum"]["time_share"] == pytest.approx(1)
    assert told["sum"]["time_share"] == pytest.approx(sum_time / (net_time + sum_time))
    assert told["Net"]["backward_share"] == pytest.approx(1)
    assert 0 < told["b"]["backward_share"] < 1
    assert "backward_share" not in told["c"]


@pytest.mark.parametrize("claimed", [10**400, -(10**400)], ids=["after", "before"])
def test_a_file_that_claims_more_time_than_a_clock_counts(claimed: int) -> None:
    """It stands inside a call, so the time of the whole graph, which it is a share of, knows nothing of it."""
    graph = record(Net(lambda net, x: net.fc(x).relu(), fc=linear()), x())
    graph.nodes[0].duration_ns = graph.nodes[0].backward_ns = claimed
    graph.scopes[0].backward_ns = 1
    told = metrics(loads(dumps(graph, timing=True)))
    assert not {"time_share", "backward_share"} & set(told["fc"])
    assert "time_share" in told["relu"]


def test_every_figure_is_a_number_that_json_holds() -> None:
    graph = record(shared(), x())
    for told in metrics(graph).values():
        assert all(type(figure) in (int, float) and figure >= 0 for figure in told.values())
        assert json.loads(json.dumps(told)) == told


def test_nothing_is_computed_before_somebody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[Graph] = []
    monkeypatch.setattr("recorder.analysis.metrics.measured", lambda graph: looked.append(graph) or measured(graph))
    net = shared()
    with Recorder(net) as r:
        net(x())
    graph = r.graph
    view = collapse(graph, 0)
    assert not looked
    assert view.metrics[view.nodes[0]]["parameters"] == 32
    assert graph.metrics[graph.nodes[0]].get("parameters") == 16
    assert looked == [graph]


@pytest.mark.parametrize("again", [copy.deepcopy, lambda graph: pickle.loads(pickle.dumps(graph))])
def test_copies_have_them_too(again: Callable[[Graph], Graph]) -> None:
    graph = record(Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=Block(
        lambda block, x: block.fc(x).relu(), fc=linear())), x())  # fmt: skip
    assert metrics(again(graph)) == metrics(graph)
    view = again(collapse(graph, 1))
    assert metrics(view)["block"] == metrics(graph)["block"]


def test_what_plugins_wrote_is_all_that_is_in_meta() -> None:
    """An encoder that looks into a dict by itself gets no figures that are not there yet."""
    graph = record(shared(), x())
    for place in (*graph.nodes, *graph.scopes):
        assert "metrics" not in json.loads(msgspec.json.encode(place.meta))


def test_what_is_loaded_is_annotated_on_request(tmp_path: Path) -> None:
    net = shared()
    with Recorder(net) as r:
        net(x())
    r.events.save(tmp_path / "run.jsonl")
    graph = assemble(EventStream.load(tmp_path / "run.jsonl"))
    assert b'"metrics"' not in dumps(graph)
    assert graph == r.graph
    assert metrics(graph) == metrics(r.graph)
    assert annotate(graph) is graph
    assert dumps(graph) == dumps(r.graph)
    assert b'"metrics"' in dumps(graph)


def test_metrics_are_in_documents() -> None:
    graph = record(shared(), x())
    again = loads(dumps(graph, timing=True))
    assert metrics(again) == metrics(graph)
    untimed = metrics(loads(dumps(graph)))
    assert untimed["Net"] == {name: n for name, n in metrics(graph)["Net"].items() if name != "time_share"}


@pytest.mark.parametrize(
    "format", [format.name for format in recorder.formats() if format.name not in ("pdf", "png", "svg")]
)
def test_two_runs_are_exported_byte_for_byte_alike(format: str) -> None:
    def exported() -> str | bytes:
        net = shared()
        with Recorder(net) as r:
            net(x()).sum().backward()
        return r.export(format, **({"timing": False} if format == "html" else {}))  # a page shows times

    assert exported() == exported()


@pytest.mark.parametrize("told", ["text", {"flops": "many"}, {"flops": -1}, {"flops": {}}, [1]])
def test_metrics_from_a_stranger_are_checked(told: object) -> None:
    graph = sample_graphs()["residual"]
    graph.nodes[0].meta["metrics"] = told
    with pytest.raises(recorder.GraphError, match=r'meta\["metrics"\] of node'):
        loads(dumps(graph))


def test_a_view_keeps_the_figures_of_what_it_closed() -> None:
    graph = record(Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=Block(
        lambda block, x: torch.fft.fft(block.fc(x)), fc=linear())), x())  # fmt: skip
    view = collapse(graph, 1)
    assert measured(view).total == measured(graph).total
    assert measured(view).unknown == {"Block": 1}


@pytest.mark.parametrize("view", [lambda graph: collapse(graph, 1), fold, lambda graph: collapse(fold(graph), 1),
    lambda graph: loads(dumps(collapse(graph, 1), timing=True)), lambda graph: hide(graph, "views"),
    lambda graph: select(graph, scope="0")])  # fmt: skip
def test_a_view_has_the_figures_of_the_calls_that_it_shows(view: Callable[[Graph], Graph]) -> None:
    def block() -> Block:
        return Block(lambda block, x: block.fc(x).relu().t().t(), fc=linear())

    net = nn.Sequential(block(), block(), block())
    graph = record(net, x(4, 4))
    shown = view(graph)
    places = (*shown.nodes, *shown.scopes)
    told, whole = metrics(shown), metrics(graph)
    modules = [place.name for place in places if place.op_type in ("Block", "Linear", "relu", "Sequential")]
    assert modules
    for name in modules:
        assert told[name] == whole[name]
        assert told[name]["flops" if "relu" not in name else "activation_bytes"]
    assert {place for place in places if not shown.metrics[place]} == {
        place for place in places if isinstance(place, Scope) and place.op_type not in ("Block", "Sequential")
    }


def test_what_is_inside_of_a_node_of_a_saved_view_is_not_made_up() -> None:
    net = Net(lambda net, x: net.block(x), block=Block(lambda block, x: block.fc(x).relu(), fc=linear()))
    with Recorder(net) as r:
        net(x())
    graph = assemble(r.events)
    saved = loads(dumps(collapse(graph, 1)))  # without its metrics
    assert saved.metrics[saved.nodes[0]] == {
        "parameters": 16, "trainable": 16, "parameter_bytes": 64, "flops_unknown": 1,
    }  # fmt: skip


def test_autograd_nodes_are_no_calls() -> None:
    graph = recorder.autograd_graph(linear()(x()).sum())
    assert graph.nodes
    assert not any(graph.metrics.values())


def test_without_torch_everything_but_flops_is_there(tmp_path: Path) -> None:
    net = shared()
    with Recorder(net) as r:
        net(x())
    r.events.save(tmp_path / "run.jsonl")
    script = (
        "import sys; sys.modules['torch'] = None\n"  # as where there is none: an import of it fails
        "import importlib.util, recorder.analysis.metrics\n"
        "recorder.analysis.metrics.find_spec = lambda name: None\n"
        "from recorder import EventStream, annotate, assemble\n"
        f"graph = annotate(assemble(EventStream.load({str(tmp_path / 'run.jsonl')!r})))\n"
        "print(sorted(graph.metrics[graph.scopes[0]]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = ["activation_bytes", "parameter_bytes", "parameters", "time_share", "trainable"]
    assert done.stdout.strip() == str(names)
