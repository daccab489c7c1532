"""select(), with networkx as the judge of what reaches what."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies
from support.networks import network

import recorder
from recorder import Graph, assemble, collapse, dumps, fold, hide, select
from recorder.testing import sample_graphs

any_graph = st.one_of(strategies.graphs(), strategies.streams().map(assemble), strategies.repetitive())


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
    with pytest.raises(ValueError, match=r"no node or scope 'layer1\.nb': did you mean layer1\.bn"):
        select(graph, around="layer1.nb")
    with pytest.raises(ValueError, match=r"no scope 'layer9': did you mean layer2 or layer1\?"):
        select(graph, scope="layer9")
    with pytest.raises(ValueError, match=r"no scope .layer1\.bn."):
        select(graph, scope="layer1.bn")
    with pytest.raises(ValueError, match="not by nothing"):
        select(graph)
    with pytest.raises(ValueError, match="not by scope and around"):
        select(graph, scope="layer1", around="layer1")
    with pytest.raises(ValueError, match="radius is -1"):
        select(graph, around="layer1", radius=-1)


def test_a_part_of_a_view_of_a_part() -> None:
    graph = sample_graphs()["residual"]
    view = fold(hide(select(collapse(graph, fqn="layer2"), descendants="layer1.bn"), "views"))
    view.lint()
    assert [node.name for node in view.nodes] == ["layer1.bn", "layer1.add", "layer2"]
    assert [node.name for node in recorder.expand(view, fqn="layer2").nodes][2:] == [
        "layer2.conv", "layer2.bn", "layer2.add",
    ]  # fmt: skip


def test_a_part_is_called_by_its_name_and_type():
    graph = sample_graphs()["residual"]
    inner = next(scope for scope in graph.scopes if scope.fqn)
    assert select(graph, scope=inner.name).name == f"{inner.name} {inner.op_type}"
    assert select(graph, scope="layer*").name == graph.name, "two parts have no one name"
    assert select(graph, scope=graph.scopes[0].name).name == graph.name
    assert select(graph, around=inner.name).name == graph.name
    assert f"<b>{inner.name} {inner.op_type}</b>" in recorder.export(graph, "dot", scope=inner.name)
