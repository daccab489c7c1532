"""recorder.testing: what it promises to people who write plugins."""

import doctest
import re

import pytest
from support.faulty_exporters import FAULTY, Good

import recorder.events.stream
import recorder.testing.stream_builder
from recorder import EventStream, Graph, PluginError, assemble, dumps, loads
from recorder.plugins.manager import installed
from recorder.testing import (
    HOSTILE_NAMES,
    StreamBuilder,
    bearing,
    chain,
    check_exporter,
    sample_graphs,
    sample_streams,
)


@pytest.mark.parametrize("module", [recorder.testing.stream_builder, recorder.events.stream])
def test_the_examples_in_its_docstrings_work(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


def test_the_samples_are_there() -> None:
    assert list(sample_graphs()) == ["empty", *sample_streams()]
    assert {"tiny", "residual", "branching", "outputs", "recursive", "in_place", "error", "hostile"} <= set(
        sample_streams()
    )


@pytest.mark.parametrize("name", sample_graphs())
def test_every_sample_lints_and_is_made_anew(name: str) -> None:
    graph = sample_graphs()[name]
    graph.lint()
    again = sample_graphs()[name]
    assert again == graph
    assert again is not graph  # a test may write into what it got


def test_each_sample_shows_what_it_is_named_after() -> None:
    graphs = sample_graphs()
    assert len(graphs["empty"].nodes) == 0
    assert [e.target.name for e in graphs["residual"].edges() if e.source.name == "layer1.add"] == [
        "layer2.conv",
        "layer2.add",
    ]
    assert len(graphs["branching"].nodes[-1].inputs) == 3
    assert len(graphs["outputs"].nodes[0].outputs) == len(graphs["outputs"].outputs) == 3
    assert [scope.call for scope in graphs["recursive"].scopes if scope.fqn == "cell"] == [0, 1, 2]
    assert [n.name for n in graphs["in_place"].outputs[0].producer.predecessors()] == ["mul_"]  # type: ignore[union-attr]
    assert [bool(node.error) for node in graphs["error"].nodes] == [False, True]


def test_hostile_names_survive() -> None:
    graph = sample_graphs()["hostile"]
    for seen in (graph, loads(dumps(graph)), loads(dumps(graph).decode())):
        modules = [node for node in seen.nodes if node.kind == "module"]
        assert [node.fqn for node in modules] == [f"leaf {name}" for name in HOSTILE_NAMES]
        assert [node.attributes for node in modules] == [{name: name} for name in HOSTILE_NAMES]
        assert [s.fqn for s in seen.scopes[1:]] == [f"scope {name}" for name in HOSTILE_NAMES]
        assert seen == graph


@pytest.mark.parametrize("blocks", [1, 4])
def test_a_chain_is_as_long_as_asked(blocks: int) -> None:
    graph = chain(40, blocks=blocks)
    graph.lint()
    assert len(graph.nodes) == 40
    assert len(graph.scopes) == 1 + blocks
    assert [(e.source, e.target) for e in graph.edges()] == list(zip(graph.nodes, graph.nodes[1:], strict=False))


def test_the_builder_keeps_numbers_and_times() -> None:
    build = StreamBuilder("Net")
    x = build.tensor((4, 4))
    with build.call("", "Net", [x]) as call:
        call.outputs = [build.op("fc", "Linear", [x], (4, 2), weight=(2, 4))]
    with build.call("", "Net", [x]) as call:
        call.outputs = [build.op("fc", "Linear", [x], (4, 2), weight=(2, 4))]
    graph = assemble(build.stream)
    graph.lint()
    assert [node.name for node in graph.nodes] == ["fc", "fc#1"]
    assert [v.name for v in graph.initializers] == ["fc.weight"]  # a module is described once
    assert {node.duration_ns for node in graph.nodes} == {1000}
    assert [scope.duration_ns for scope in graph.scopes] == [3000, 3000]


def test_views_of_views_share_the_memory_of_the_first() -> None:
    build = StreamBuilder()
    x = build.tensor((4, 4))
    row = build.view("select", x, (4,))
    element = build.view("getitem", row, ())
    build.write("zero_", element)
    build.op(None, "sum", [x], ())
    graph: Graph = assemble(build.stream)
    graph.lint()
    assert [f"{e.source.name} -> {e.target.name}" for e in graph.edges()] == [
        "select -> getitem",
        "getitem -> zero_",
        "zero_ -> sum",
    ]


def test_samples_can_be_saved(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("samples")
    for name, stream in sample_streams().items():
        assert EventStream.load(stream.save(folder / f"{name}.jsonl")) == stream


def test_a_name_is_borne_wherever_a_name_can_stand() -> None:
    graph = bearing(*HOSTILE_NAMES)
    graph.lint()
    assert len(list(graph.edges())) == len(HOSTILE_NAMES) - 1
    document = dumps(bearing("NAME")).decode()
    fields = set(re.findall(r'"(\w+)":"NAME"', document))
    assert fields == {"name", "op_type", "target", "fqn", "error", "grad_fn", "NAME"}
    assert dumps(bearing()).decode().count("NAME") == 0


@pytest.mark.parametrize("name", ["dot", "json", "mermaid", "onnx-json"])
def test_exporters_of_ours_keep_every_promise(name: str) -> None:
    check_exporter(installed().named(name))


def test_a_good_exporter_passes() -> None:
    check_exporter(Good())


@pytest.mark.parametrize("faulty", FAULTY, ids=lambda faulty: faulty.__name__)
def test_a_broken_promise_is_told(faulty: type[Good]) -> None:
    with pytest.raises((AssertionError, PluginError)) as caught:
        check_exporter(faulty())
    assert re.match(FAULTY[faulty], f"{type(caught.value).__name__}: {caught.value}")
