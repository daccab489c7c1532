"""select() and hide(), with networkx as the judge of what reaches what."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies
from support.models import Net, linear, x
from torch import nn

import recorder
from recorder import Graph, Node, Recorder, Value, assemble, collapse, dumps, fold, hide, select
from recorder.testing import StreamBuilder, sample_graphs

any_graph = st.one_of(strategies.graphs(), strategies.streams().map(assemble), strategies.repetitive())


def network(graph: Graph) -> "nx.DiGraph[str]":
    result: nx.DiGraph[str] = nx.DiGraph()
    result.add_nodes_from(node.name for node in graph.nodes)
    result.add_edges_from((edge.source.name, edge.target.name) for edge in graph.edges())
    return result


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(any_graph, st.integers(0, 30), st.integers(0, 30), st.integers(0, 3))
def test_a_selected_part_is_a_part(graph: Graph, one: int, other: int, radius: int) -> None:
    if not graph.nodes:
        return
    before = dumps(graph, timing=True)
    a, b = graph.nodes[one % len(graph.nodes)], graph.nodes[other % len(graph.nodes)]
    whole = network(graph)
    below, above = nx.descendants(whole, a.name) | {a.name}, nx.ancestors(whole, b.name) | {b.name}
    near = set(nx.ego_graph(whole, a.name, radius=radius, undirected=True))
    for view, expected in (
        (select(graph, ancestors=b), above),
        (select(graph, descendants=a), below),
        (select(graph, between=(a, b)), below & above),
        (select(graph, around=a, radius=radius), near),
    ):
        view.lint()
        check_part(graph, view, expected)
        if expected is not near:  # every path between two of them is there, too
            closed = nx.transitive_closure_dag(whole).subgraph(expected)
            assert set(nx.transitive_closure_dag(network(view)).edges) == set(closed.edges)
    assert dumps(graph, timing=True) == before


def check_part(graph: Graph, view: Graph, names: set[str]) -> None:
    """The nodes, the edges between them, and each tensor that crosses the border as an input or output."""
    assert [node.name for node in view.nodes] == [node.name for node in graph.nodes if node.name in names]
    assert set(network(view).edges) == set(network(graph).subgraph(names).edges)
    old = {node.name: node for node in graph.nodes}
    for node in view.nodes:
        assert [v.name for v in node.inputs] == [v.name for v in old[node.name].inputs]
        assert [v.name for v in node.outputs] == [v.name for v in old[node.name].outputs]
    inputs = {v.name for v in view.inputs}
    for node in view.nodes:
        for mine, its in zip(node.inputs, old[node.name].inputs, strict=True):
            if its.producer is not None and its.producer.name not in names:
                assert mine.name in inputs
                assert mine.role == "input"
    outputs = {v.name for v in view.outputs}
    for edge in graph.edges():
        if edge.source.name in names and edge.target.name not in names:
            assert edge.value.name in outputs


def test_one_scope() -> None:
    graph = sample_graphs()["residual"]
    view = select(graph, scope="layer1")
    assert [node.name for node in view.nodes] == ["layer1.conv", "layer1.bn", "layer1.add"]
    assert [scope.name for scope in view.scopes] == ["Residual", "layer1"]
    assert [v.name for v in view.initializers] == ["layer1.conv.weight", "layer1.bn.weight", "layer1.bn.bias"]
    assert [[v.name for v in side] for side in (view.inputs, view.outputs)] == [["input"], ["layer1.add:0"]]
    assert select(graph, scope=graph.scopes[1]) == view
    assert select(collapse(graph, 1), scope="layer1").nodes[0].meta == {"collapsed": 3}


def test_places_by_pattern_or_by_their_very_name() -> None:
    graph = sample_graphs()["residual"]
    assert [node.name for node in select(graph, around="*.bn", radius=0).nodes] == ["layer1.bn", "layer2.bn"]
    graph.nodes[0].name = "conv[1]*"
    assert [node.name for node in select(graph, around="conv[1]*", radius=0).nodes] == ["conv[1]*"]


def test_what_cannot_be_selected() -> None:
    graph = sample_graphs()["residual"]
    with pytest.raises(ValueError, match="no node or scope 'nope'; among the names are: Residual, layer1"):
        select(graph, around="nope")
    with pytest.raises(ValueError, match=r"no scope .layer1\.bn."):
        select(graph, scope="layer1.bn")
    with pytest.raises(ValueError, match="not by nothing"):
        select(graph)
    with pytest.raises(ValueError, match="not by scope and around"):
        select(graph, scope="layer1", around="layer1")
    with pytest.raises(ValueError, match="radius is -1"):
        select(graph, around="layer1", radius=-1)


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(any_graph, st.sets(st.sampled_from(["identities", "views", "constants"])), st.sampled_from(["*", "add", "R*"]))
def test_hiding_neither_adds_nor_loses_a_path(graph: Graph, kinds: set, pattern: str) -> None:
    before = dumps(graph, timing=True)
    view = hide(graph, kinds, op_type=pattern)
    view.lint()
    assert dumps(graph, timing=True) == before
    left = {node.name for node in view.nodes}
    assert [node.name for node in view.nodes] == [node.name for node in graph.nodes if node.name in left]
    whole = nx.transitive_closure_dag(network(graph)).subgraph(left)
    assert set(nx.transitive_closure_dag(network(view)).edges) == set(whole.edges)
    hidden = [node for node in graph.nodes if node.name not in left]
    joining = [n for n in graph.nodes if len({v.name for v in n.inputs if v.role not in ("parameter", "buffer")}) > 1]
    assert not {node.name for node in joining} & {node.name for node in hidden} or "constants" in kinds
    assert all(node.error is None for node in hidden)
    assert {v.name for v in view.inputs} == {v.name for v in graph.inputs}


def test_identities_are_told_by_what_they_did() -> None:
    net = Net(lambda net, x: net.drop(net.id(net.fc(x))), fc=linear(), id=nn.Identity(), drop=nn.Dropout(0.5))
    for training, left in ((True, ["fc", "drop"]), (False, ["fc"])):
        with Recorder(net.train(training)) as r:
            net(x())
        view = hide(r.graph)
        view.lint()
        assert [node.name for node in view.nodes] == left
        assert [v.name for v in view.outputs] == [f"{left[-1]}:0"]


def test_views_constants_and_others() -> None:
    build = StreamBuilder("Net")
    given = build.tensor((2, 6))
    with build.call("", "Net", [given]) as net:
        with build.call("shape", "Reshape", [given]) as shape:
            y = build.view("view", given, (3, 4))
            y = build.view("transpose", y, (4, 3))
            shape.outputs = [y]
        places = build.op(None, "arange", [], (3,))
        places = build.op(None, "mul", [places], (3,))
        noise = build.op(None, "randn", [], (3,))
        y = build.op("norm", "LayerNorm", [y], (4, 3), weight=(3,))
        y = build.op(None, "add", [y, places], (4, 3))
        net.outputs = [build.op(None, "add", [y, noise], (4, 3))]
    graph = assemble(build.stream)

    def left(view: Graph) -> list[str]:
        view.lint()
        return [node.name for node in view.nodes]

    assert left(hide(graph)) == left(graph)
    assert left(hide(graph, "views")) == ["arange", "mul", "randn", "norm", "add", "add_1"]
    assert [scope.name for scope in hide(graph, "views").scopes] == ["Net"]
    assert left(hide(graph, ["views", "constants"])) == ["randn", "norm", "add", "add_1"]
    assert left(hide(graph, fqn="norm", op_type="mul")) == [
        "shape.view", "shape.transpose", "arange", "randn", "add", "add_1",
    ]  # fmt: skip
    with pytest.raises(ValueError, match="'shapes' is none of the kinds"):
        hide(graph, "shapes")  # type: ignore[arg-type]


def test_a_part_of_a_view_of_a_part() -> None:
    graph = sample_graphs()["residual"]
    view = fold(hide(select(collapse(graph, fqn="layer2"), descendants="layer1.bn"), "views"))
    view.lint()
    assert [node.name for node in view.nodes] == ["layer1.bn", "layer1.add", "layer2"]
    assert [node.name for node in recorder.expand(view, fqn="layer2").nodes][2:] == [
        "layer2.conv", "layer2.bn", "layer2.add",
    ]  # fmt: skip


def test_an_input_that_is_returned() -> None:
    given = Value("x", (1,), "float32", "cpu", role="input")
    node = Node("id", "module", "Identity", "", "id", 0, inputs=(given,), outputs=(Value("y", (1,), "float32", "cpu"),))
    graph = Graph([node], inputs=[given], outputs=node.outputs)
    view = hide(graph)
    view.lint()
    assert (view.nodes, [v.name for v in view.outputs]) == ([], ["x"])


def test_what_has_only_a_hidden_constant_to_hand_on_stays() -> None:
    build = StreamBuilder("Net")
    x, scale = build.tensor((3,)), build.tensor((3,), name="scale")
    with build.call("", "Net", [x]) as net:
        scaled = build.op(None, "mul", [build.op(None, "arange", [], (3,)), scale], (3,))
        net.outputs = [build.op(None, "add", [x, scaled], (3,))]
    view = hide(assemble(build.stream), "constants", op_type="mul")
    view.lint()
    assert [(node.name, [v.name for v in node.inputs]) for node in view.nodes] == [
        ("mul", ["scale"]),
        ("add", ["input", "mul:0"]),
    ]
