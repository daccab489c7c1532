"""collapse() keeps dataflow, and leaves the original alone. networkx is the judge of what reaches what."""

import pickle

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies

from recorder import (
    EventStream,
    Graph,
    Node,
    Scope,
    Value,
    assemble,
    collapse,
    collapse_to_fit,
    dumps,
    expand,
    fold,
    loads,
    readable,
    select,
    unfold,
)
from recorder.testing import StreamBuilder, chain, sample_graphs

any_graph = st.one_of(strategies.graphs(), strategies.streams().map(assemble), strategies.repetitive())


def place(node: Node, depth: int) -> str:
    """The name that stands for a node when ``depth`` levels of scopes are open."""
    around = [] if node.scope is None else [scope.name for scope in node.scope.ancestors()][::-1]
    return node.name if len(around) <= depth else around[depth]


def network(graph: Graph, depth: int | None = None) -> "nx.DiGraph[str]":
    """The dataflow between nodes, or between what stands for them."""
    result: nx.DiGraph[str] = nx.DiGraph()

    def name(node: Node) -> str:
        return node.name if depth is None else place(node, depth)

    result.add_nodes_from(name(node) for node in graph.nodes)
    pairs = ((name(edge.source), name(edge.target)) for edge in graph.edges())
    result.add_edges_from((source, target) for source, target in pairs if source != target)
    return result


def levels(graph: Graph) -> int:
    return max((sum(1 for _ in scope.ancestors()) for scope in graph.scopes), default=0)


@settings(deadline=None)
@given(any_graph)
def test_dataflow_is_kept_at_every_depth(graph: Graph) -> None:
    whole = network(graph)
    reached = nx.transitive_closure_dag(whole)
    by_name = {node.name: node for node in graph.nodes}
    for depth in range(levels(graph) + 2):
        view = collapse(graph, depth)
        view.lint()
        contracted = network(graph, depth)
        assert nx.is_directed_acyclic_graph(contracted)
        assert set(network(view).edges) == set(contracted.edges)
        assert list(network(view).nodes) == list(contracted.nodes)  # in the order of what came first
        reached_in_view = nx.transitive_closure_dag(network(view))
        for source, target in reached.edges:  # no path is lost
            pair = (place(by_name[source], depth), place(by_name[target], depth))
            assert pair[0] == pair[1] or reached_in_view.has_edge(*pair)


@settings(deadline=None)
@given(any_graph)
def test_the_borders_of_the_graph_are_kept(graph: Graph) -> None:
    for depth in range(levels(graph) + 1):
        view = collapse(graph, depth)
        for side in ("inputs", "outputs", "initializers"):
            assert [v.name for v in getattr(view, side)] == [v.name for v in getattr(graph, side)]
        assert (view.name, view.meta) == (graph.name, graph.meta)
        assert sum(node.meta.get("collapsed", 1) for node in view.nodes) == len(graph.nodes)
        assert all(sum(1 for _ in scope.ancestors()) <= depth for scope in view.scopes)
        # What was not collapsed is as it was: the same values in the same places.
        kept = {node.name: node for node in graph.nodes}
        for node in view.nodes:
            if "collapsed" not in node.meta:
                old = kept[node.name]
                assert [v.name for v in node.inputs] == [v.name for v in old.inputs]
                assert [v.name for v in node.outputs] == [v.name for v in old.outputs]
                assert node.attributes == old.attributes


@settings(deadline=None)
@given(any_graph)
def test_the_original_is_left_alone(graph: Graph) -> None:
    before = dumps(graph, timing=True)
    uses = {id(v): list(v.uses) for v in graph.values()}
    for depth in range(levels(graph) + 2):
        view = collapse(graph, depth)
        for thing in (*view.nodes, *view.scopes):
            thing.attributes["mine"] = thing.meta["mine"] = 1
        for value in view.values():
            value.name += "!"
            value.meta["mine"] = 1
        view.meta["mine"] = 1
    assert dumps(graph, timing=True) == before
    assert {id(v): list(v.uses) for v in graph.values()} == uses
    graph.lint()


@settings(deadline=None)
@given(any_graph, st.integers(0, 4), st.integers(0, 4))
def test_collapsing_in_two_steps_is_collapsing_at_once(graph: Graph, one: int, other: int) -> None:
    assert collapse(collapse(graph, max(one, other)), min(one, other)) == collapse(graph, min(one, other))


@settings(deadline=None)
@given(any_graph)
def test_a_view_that_is_deep_enough_is_the_graph(graph: Graph) -> None:
    assert collapse(graph, levels(graph)) == graph


def test_what_a_collapsed_node_says() -> None:
    graph = sample_graphs()["residual"]
    view = collapse(graph, 1)
    first, second = view.nodes
    scope = next(scope for scope in graph.scopes if scope.fqn == "layer1")
    assert (first.name, first.kind, first.op_type, first.target) == ("layer1", "module", "Block", "models.Block")
    assert (first.fqn, first.call, first.error, first.meta) == ("layer1", 0, None, {"collapsed": 3})
    assert first.duration_ns == scope.duration_ns
    assert first.scope is view.scopes[0]
    assert [v.name for v in first.inputs] == [
        "input", "layer1.conv.weight", "layer1.bn.weight", "layer1.bn.bias",
    ]  # fmt: skip
    assert [v.name for v in first.outputs] == ["layer1.add:0"]
    assert [(e.source, e.target) for e in view.edges()] == [(first, second)]
    (net,) = collapse(graph, 0).nodes
    assert (net.name, net.scope, net.meta) == ("Residual", None, {"collapsed": 6})


def test_two_depths_of_recursion() -> None:
    graph = sample_graphs()["recursive"]
    assert [[node.name for node in collapse(graph, depth).nodes] for depth in range(5)] == [
        ["Recursive"],
        ["cell"],
        ["cell.fc", "cell#1"],
        ["cell.fc", "cell.fc#1", "cell#2"],
        ["cell.fc", "cell.fc#1", "cell.fc#2"],
    ]


def test_a_failed_call_stays_failed() -> None:
    (net,) = collapse(sample_graphs()["error"], 0).nodes
    assert net.error is not None
    assert net.outputs == ()


def test_a_scope_with_the_name_of_a_node_gets_another() -> None:
    """Names are unique among nodes and among scopes: a loaded graph may use one for both."""
    scope = Scope("relu", 0, "Relu", name="relu")
    a, b = (Value(name, (1,), "float32", "cpu") for name in "ab")
    inner = Node("inner", "function", "add", "torch.add", scope=scope, outputs=(a,))
    graph = Graph([inner, Node("relu", "function", "relu", "torch.relu", inputs=(a,), outputs=(b,))], scopes=[scope])
    graph.lint()
    view = collapse(graph, 0)
    view.lint()
    assert [node.name for node in view.nodes] == ["relu_1", "relu"]


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(ValueError, match="depth is -1"):
        collapse(Graph(), -1)


@settings(deadline=None)
@given(strategies.streams(), st.integers(0, 12))
def test_the_deepest_view_that_fits(stream: EventStream, limit: int) -> None:
    graph = assemble(stream)

    def fits(view: Graph) -> bool:
        return len(view.nodes) <= limit

    view, depth = collapse_to_fit(graph, fits)
    if depth is None:
        assert view is graph
        assert fits(graph)
    else:
        assert view == collapse(graph, depth)
        assert fits(view) or depth == 0
        assert not fits(collapse(graph, depth + 1))


# Other ways to say what to collapse, and back again


def closed_in(view: Graph) -> list[str]:
    return [node.name for node in view.nodes if "collapsed" in node.meta]


def test_by_name_by_type_and_by_a_function() -> None:
    graph = assemble(strategies.blocks(3, pairs=2))
    assert closed_in(collapse(graph, fqn="pairs.[0-2]")) == ["pairs.0", "pairs.1", "pairs.2"]
    assert closed_in(collapse(graph, fqn=["blocks.1", "*.3"])) == ["blocks.1", "pairs.3"]
    assert closed_in(collapse(graph, op_type="B")) == ["pairs.1", "pairs.3"]
    assert closed_in(collapse(graph, op_type="models.B*")) == ["blocks.0", "blocks.1", "blocks.2", "pairs.1", "pairs.3"]
    assert closed_in(collapse(graph, where=lambda scope: scope.fqn.endswith("2"))) == ["blocks.2", "pairs.2"]
    assert closed_in(collapse(graph, fqn="blocks.0", op_type="A")) == ["blocks.0", "pairs.0", "pairs.2"]
    assert closed_in(collapse(graph, 0, fqn="blocks.0")) == ["Net"]
    assert closed_in(collapse(graph, fqn=[])) == []
    with pytest.raises(ValueError, match="say what to collapse"):
        collapse(graph)
    with pytest.raises(ValueError, match="say what to expand"):
        expand(graph)


@settings(deadline=None)
@given(any_graph, st.data())
def test_any_choice_keeps_dataflow_and_is_undone(graph: Graph, data: st.DataObject) -> None:
    names = data.draw(st.sets(st.sampled_from([scope.name for scope in graph.scopes]))) if graph.scopes else set()
    view = collapse(graph, where=lambda scope: scope.name in names)
    view.lint()
    stands_for = {}
    for node in graph.nodes:
        around = [] if node.scope is None else [scope.name for scope in node.scope.ancestors()][::-1]
        stands_for[node.name] = next((name for name in around if name in names), node.name)
    edges = {(stands_for[edge.source.name], stands_for[edge.target.name]) for edge in graph.edges()}
    assert set(network(view).edges) == {(source, target) for source, target in edges if source != target}
    assert expand(view, where=lambda scope: True) == graph
    opened = data.draw(st.sets(st.sampled_from(sorted(names)))) if names else set()
    around_opened = {s.name for scope in graph.scopes if scope.name in opened for s in scope.ancestors()}
    assert expand(view, where=lambda scope: scope.name in opened) == collapse(
        graph, where=lambda scope: scope.name in names - around_opened
    )


def test_expanding_opens_what_is_around_too_and_nothing_else() -> None:
    graph = sample_graphs()["recursive"]
    view = collapse(graph, 0)
    assert [node.name for node in expand(view, fqn="cell").nodes] == ["cell.fc", "cell.fc#1", "cell.fc#2"]
    assert [node.name for node in expand(view, depth=1).nodes] == ["cell"]
    assert [node.name for node in expand(view, where=lambda scope: scope.call == 1).nodes] == [
        "cell.fc", "cell.fc#1", "cell#2",
    ]  # fmt: skip
    assert expand(graph, depth=9) is graph
    for saved in (loads(dumps(view)), pickle.loads(pickle.dumps(collapse(graph, where=lambda scope: True)))):
        assert saved == view
        assert expand(saved, depth=9) is saved


def test_a_view_of_views_is_opened_where_it_was_closed() -> None:
    graph = assemble(strategies.blocks(3, pairs=2))
    view = fold(collapse(collapse(graph, op_type="A"), op_type="Block"))
    assert [(n.name, n.meta) for n in view.nodes if n.op_type == "Block"] == [
        ("blocks.0", {"collapsed": 2, "repeats": 3, "repeated": ["blocks.0", "blocks.1", "blocks.2"]})
    ]
    opened = expand(view, op_type="Block")
    assert [node.name for node in opened.nodes][:3] == ["blocks.0.fc", "blocks.0.relu", "pairs.0"]
    assert unfold(opened) == collapse(graph, op_type="A")
    assert expand(view, fqn="blocks.1").nodes[1].name == "blocks.1.fc"  # and so it is like no other


# What there is room for


@pytest.mark.slow
@settings(deadline=None)
@given(any_graph, st.integers(1, 12))
def test_a_readable_view_is_as_small_as_it_can_be(graph: Graph, nodes: int) -> None:
    view = readable(graph, nodes)
    view.lint()
    if len(graph.nodes) <= nodes:
        assert view is graph
    elif graph.scopes and not any(node.op_type == "AccumulateGrad" for node in graph.nodes):
        assert len(view.nodes) <= max(nodes, len(collapse(fold(graph), 0).nodes))


def test_modules_that_only_call_functions_are_closed_first() -> None:
    build = StreamBuilder("Net")
    x = build.tensor((2, 4))
    with build.call("", "Net", [x]) as net:
        y = x
        for number in range(3):
            with build.call(f"{number}", "Block", [y]) as block:
                h = build.op(f"{number}.fc", "Linear", [y], (2, 4 + number), weight=(4, 4))
                with build.call(f"{number}.act", "Gelu", [h]) as act:
                    for _ in range(10):
                        h = build.op(None, "mul", [h], (2, 4 + number))
                    act.outputs = [h]
                block.outputs = [h]
            y = h
        net.outputs = [y]
    graph = assemble(build.stream)
    assert [node.op_type for node in readable(graph, 20).nodes] == ["Linear", "Gelu"] * 3
    assert [node.op_type for node in readable(graph, 5).nodes] == ["Block"] * 3
    assert [node.op_type for node in readable(graph, 2).nodes] == ["Net"]


@pytest.mark.slow
def test_collapsing_a_large_graph_takes_no_time() -> None:
    view = collapse(chain(20_000, blocks=1_000), 1)
    view.lint()
    assert len(view.nodes) == 1_000
    assert {node.meta["collapsed"] for node in view.nodes} == {20}


def only_returned() -> Graph:
    """Of the call b, one result is used and returned, one is only returned, and one is used inside alone."""
    build = StreamBuilder("Net")
    x = build.tensor((2,))
    with build.call("", "Net", [x]) as net:
        y = build.op(None, "relu", [x], (2,))
        with build.call("b", "Block", [y]) as block:
            hidden = build.op(None, "exp", [y], (2,))
            aside = build.op(None, "sin", [hidden], (3,))
            used = build.op(None, "cos", [hidden], (4,))
            block.outputs = [used, aside, build.op(None, "tan", [hidden], (5,))]  # the last for nobody
        z = build.op(None, "neg", [used], (4,))
        net.outputs = [z, aside]
    return assemble(build.stream)


def test_what_is_only_returned_keeps_its_producer() -> None:
    graph = only_returned()
    for view, maker in ((collapse(graph, 0), "Net"), (collapse(graph, 1), "b"), (graph, "sin")):
        view.lint()
        producer = view.outputs[1].producer
        assert producer is not None
        assert producer.name.endswith(maker)
        assert producer in view.nodes
        assert [value.name for value in view.outputs] == [value.name for value in graph.outputs]
    (b,) = [node for node in collapse(graph, 1).nodes if node.fqn == "b"]
    assert [value.shape for value in b.outputs] == [(4,), (3,), (5,)]
    assert all(value.producer is b for value in b.outputs)
    assert b.meta["collapsed"] == 4


def test_a_part_keeps_the_producer_of_what_is_only_returned() -> None:
    graph = only_returned()
    closed = collapse(graph, 1)
    for view in (select(graph, around="b", radius=0), select(graph, scope="b"), select(closed, around="b", radius=0)):
        view.lint()
        assert {value.shape for value in view.outputs} == {(3,), (4,)}  # what nobody uses leads nowhere
        assert all(value.producer in view.nodes for value in view.outputs)
        assert [(value.role, value.producer) for value in view.inputs] == [("input", None)]
