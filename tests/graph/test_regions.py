"""What enters a region of a graph and what leaves it, held against its edges."""

from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies

from recorder import Graph
from recorder.graph.regions import Ranges, entering, holders, leaving
from recorder.testing import sample_graphs


@settings(deadline=None)
@given(strategies.graphs(), st.integers(0, 30), st.integers(0, 30))
def test_edges_that_cross_the_border_are_what_enters_and_leaves(graph: Graph, one: int, other: int) -> None:
    start, end = sorted((min(one, len(graph.nodes)), min(other, len(graph.nodes))))
    region = graph.nodes[start:end]
    names = {node.name for node in region}
    coming = {edge.value.name for edge in graph.edges() if edge.target.name in names and edge.source.name not in names}
    going = {edge.value.name for edge in graph.edges() if edge.source.name in names and edge.target.name not in names}
    made = [value for node in region for value in node.outputs]
    returned = {id(value) for value in graph.outputs}

    entered = entering(region)
    assert {v.name for v in entered if v.producer is not None} == coming
    assert [v for v in entered if v.producer is None] == list(
        dict.fromkeys(v for node in region for v in node.inputs if v.producer is None)
    )
    left = list(leaving(region, returned))
    assert {v.name for v in left} == going | {v.name for v in made if id(v) in returned}
    ranges = Ranges(graph)
    assert ranges.leaving(made, end) == left
    for value in made:
        users = [number for number, node in enumerate(graph.nodes) for v in node.inputs if v is value]
        assert list(ranges.users_outside(value, start, end)) == [n for n in users if not start <= n < end]
        assert ranges.made_at(value) == ranges.number(region[ranges.made_at(value) - start])


def test_holders_are_all_scopes_around_and_no_other() -> None:
    for graph in sample_graphs().values():
        assert list(holders(graph, [])) == []
        for node in graph.nodes:
            around = [] if node.scope is None else [scope.name for scope in node.scope.ancestors()]
            assert [scope.name for scope in holders(graph, [node])] == around[::-1]
