"""Graph: both sides of the dataflow agree, and lint() names every contradiction that is planted."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from support import strategies

from recorder import Edge, Graph, GraphError, Node, RecorderError, Scope, Value, assemble, dumps, loads
from recorder.testing import chain, sample_graphs, sample_streams


def value(name: str, role: Any = "activation") -> Value:
    return Value(name, (2, 3), "float32", "cpu", role=role)


def sound() -> Graph:
    """Net: x, w -> first -> second (inside block) -> third, returned."""
    x, w, a, b, c = value("x", "input"), value("w", "parameter"), value("a"), value("b"), value("c")
    net = Scope("", 0, "Net", name="Net")
    block = Scope("block", 0, "Block", net, "block")
    nodes = [
        Node("first", "module", "Linear", "torch.nn.Linear", "first", 0, net, (x, w), (a,)),
        Node("second", "function", "relu", "torch.relu", scope=block, inputs=(a,), outputs=(b,)),
        Node("third", "function", "mul", "torch.mul", scope=net, inputs=(b, b), outputs=(c,)),
    ]
    return Graph(nodes, inputs=[x], outputs=[c], initializers=[w], scopes=[net, block], name="Net")


def test_the_other_side_of_the_dataflow_is_filled_in() -> None:
    graph = sound()
    graph.lint()
    first, second, third = graph.nodes
    x, w = first.inputs
    a, b, c = (node.outputs[0] for node in graph.nodes)
    assert [v.producer for v in (x, w, a, b, c)] == [None, None, first, second, third]
    assert [v.uses for v in (x, w, a, b, c)] == [
        [(first, 0)],
        [(first, 1)],
        [(second, 0)],
        [(third, 0), (third, 1)],
        [],
    ]
    assert list(graph.edges()) == [Edge(first, second, a), Edge(second, third, b), Edge(second, third, b)]
    assert list(graph.values()) == [x, w, a, b, c]
    assert (third.predecessors(), second.predecessors(), first.predecessors()) == ([second], [first], [])
    assert (first.successors(), second.successors(), third.successors()) == ([second], [third], [])
    assert second.scope is not None
    assert [scope.name for scope in second.scope.ancestors()] == ["block", "Net"]
    assert repr(graph) == "<Graph Net: 3 nodes, 2 scopes>"
    assert [repr(first), repr(second.scope), repr(x)] == [
        "<Node first Linear>",
        "<Scope block Block>",
        "<Value x float32[2, 3] input>",
    ]


def test_graphs_that_differ_in_times_only_are_equal() -> None:
    one, other = sound(), sound()
    other.nodes[0].duration_ns = other.nodes[1].backward_ns = other.scopes[0].duration_ns = 7
    assert one == other
    assert one != "a graph"


def rename(graph: Graph) -> None:
    graph.nodes[1].name = "first"


def rename_value(graph: Graph) -> None:
    graph.nodes[1].outputs[0].name = "x"


def rename_scope(graph: Graph) -> None:
    graph.scopes[1].name = "Net"


def unknown_kind(graph: Graph) -> None:
    graph.nodes[1].kind = "kernel"  # type: ignore[assignment]


def no_fqn(graph: Graph) -> None:
    graph.nodes[0].fqn = None


def no_call(graph: Graph) -> None:
    graph.nodes[0].call = None


def function_with_fqn(graph: Graph) -> None:
    graph.nodes[1].fqn = "block"


def children_first(graph: Graph) -> None:
    graph.scopes = graph.scopes[::-1]


def scopes_in_a_circle(graph: Graph) -> None:
    graph.scopes[0].parent = graph.scopes[1]


def its_own_parent(graph: Graph) -> None:
    graph.scopes[0].parent = graph.scopes[0]


def scope_missing(graph: Graph) -> None:
    graph.scopes = graph.scopes[:1]


def scope_twice(graph: Graph) -> None:
    graph.scopes = [*graph.scopes, graph.scopes[1]]


def scope_left_and_entered_again(graph: Graph) -> None:
    graph.nodes[0].scope = graph.nodes[2].scope = graph.scopes[1]
    graph.nodes[1].scope = graph.scopes[0]


def order(graph: Graph) -> None:
    graph.nodes = [graph.nodes[1], graph.nodes[0], graph.nodes[2]]


def cycle(graph: Graph) -> None:
    first, _, third = graph.nodes
    first.inputs = (*first.inputs, third.outputs[0])
    third.outputs[0].uses.append((first, 2))


def uses_itself(graph: Graph) -> None:
    first = graph.nodes[0]
    first.inputs = (*first.inputs, first.outputs[0])
    first.outputs[0].uses.insert(0, (first, 2))


def node_missing(graph: Graph) -> None:
    graph.nodes = graph.nodes[1:]


def node_twice(graph: Graph) -> None:
    graph.nodes = [*graph.nodes, graph.nodes[2]]


def made_twice(graph: Graph) -> None:
    graph.nodes[2].outputs = graph.nodes[0].outputs


def wrong_producer(graph: Graph) -> None:
    graph.nodes[0].outputs[0].producer = graph.nodes[1]


def producer_forgotten(graph: Graph) -> None:
    graph.nodes[0].outputs[0].producer = None


def producer_made_up(graph: Graph) -> None:
    graph.nodes[2].outputs = ()


def use_forgotten(graph: Graph) -> None:
    graph.nodes[0].outputs[0].uses.clear()


def use_made_up(graph: Graph) -> None:
    graph.nodes[0].outputs[0].uses.append((graph.nodes[2], 0))


def input_swapped(graph: Graph) -> None:
    graph.nodes[2].inputs = (graph.nodes[0].outputs[0], graph.nodes[1].outputs[0])


def unknown_role(graph: Graph) -> None:
    graph.inputs[0].role = "weight"  # type: ignore[assignment]


def no_dtype(graph: Graph) -> None:
    graph.inputs[0].dtype = ""


def no_device(graph: Graph) -> None:
    graph.inputs[0].device = ""


def negative_shape(graph: Graph) -> None:
    graph.inputs[0].shape = (3, -2)


def fractional_shape(graph: Graph) -> None:
    graph.inputs[0].shape = (0.5,)  # type: ignore[assignment]


def no_shape(graph: Graph) -> None:
    graph.inputs[0].shape = None  # type: ignore[assignment]


def made_parameter(graph: Graph) -> None:
    graph.nodes[0].outputs[0].role = "parameter"


def constant_input(graph: Graph) -> None:
    graph.inputs[0].role = "constant"


def initializer_of_wrong_role(graph: Graph) -> None:
    graph.initializers[0].role = "constant"


PLANTED: list[tuple[Callable[[Graph], None], str]] = [
    (rename, "two nodes are named 'first'"),
    (rename_value, "two values are named 'x'"),
    (rename_scope, "two scopes are named 'Net'"),
    (unknown_kind, "node 'second' is of unknown kind 'kernel'"),
    (no_fqn, "module node 'first' lacks fqn or call"),
    (no_call, "module node 'first' lacks fqn or call"),
    (function_with_fqn, "function node 'second' has the fqn or call of a module"),
    (children_first, "scope 'block' does not stand after its parent 'Net'"),
    (scopes_in_a_circle, "scope 'Net' does not stand after its parent 'block'"),
    (its_own_parent, "scope 'Net' does not stand after its parent 'Net'"),
    (scope_missing, "node 'second' is in scope 'block', which the graph lacks"),
    (scope_twice, "two scopes are named 'block'"),
    (scope_left_and_entered_again, "scope 'block' goes on at node 'third' after it was left"),
    (order, "'second' uses 'a' before 'first' has made it"),
    (cycle, "'first' uses 'c' before 'third' has made it"),
    (uses_itself, "'first' uses 'a' before 'first' has made it"),
    (node_missing, "'second' uses 'a', whose producer 'first' is not in the graph"),
    (node_twice, "two nodes are named 'third'"),
    (made_twice, "'a' is made twice, by 'first' and 'third'"),
    (wrong_producer, "'first' makes 'a', whose producer says otherwise"),
    (producer_forgotten, "'first' makes 'a', whose producer says otherwise"),
    (producer_made_up, "'c' names a producer that does not make it"),
    (use_forgotten, "the uses of 'a' are not the inputs that it is"),
    (use_made_up, "the uses of 'a' are not the inputs that it is"),
    (input_swapped, "the uses of 'b' are not the inputs that it is"),
    (unknown_role, "value 'x' has unknown role 'weight'"),
    (no_dtype, "value 'x' lacks dtype or device"),
    (no_device, "value 'x' lacks dtype or device"),
    (negative_shape, "value 'x' has the impossible shape (3, -2)"),
    (fractional_shape, "value 'x' has the impossible shape (0.5,)"),
    (no_shape, "value 'x' has the impossible shape None"),
    (made_parameter, "'a' is made by 'first' and yet a parameter"),
    (constant_input, "the graph's input 'x' has the role constant"),
    (initializer_of_wrong_role, "the initializer 'w' has the role constant"),
]


@pytest.mark.parametrize(("plant", "problem"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_lint_names_what_is_planted(plant: Callable[[Graph], None], problem: str) -> None:
    graph = sound()
    plant(graph)
    with pytest.raises(GraphError) as caught:
        graph.lint()
    assert problem in caught.value.problems
    assert problem in str(caught.value)
    assert isinstance(caught.value, RecorderError)


def test_uses_may_be_told_in_any_order() -> None:
    graph = sound()
    graph.nodes[1].outputs[0].uses.reverse()
    assert [position for _, position in graph.nodes[1].outputs[0].uses] == [1, 0]
    graph.lint()


def test_lint_names_all_that_is_wrong_at_once() -> None:
    graph = sound()
    for plant in (rename, no_dtype, use_forgotten):
        plant(graph)
    with pytest.raises(GraphError) as caught:
        graph.lint()
    assert len(caught.value.problems) == 3


def test_a_long_list_of_problems_is_cut() -> None:
    error = GraphError([f"problem {number}" for number in range(25)])
    assert len(error.problems) == 25
    assert "problem 19\n" in str(error)
    assert str(error).endswith("… and 5 more")


def test_a_value_belongs_to_one_graph() -> None:
    """A second graph of the same values writes their uses once more: lint sees it."""
    graph = sound()
    Graph(graph.nodes, inputs=graph.inputs, outputs=graph.outputs)
    with pytest.raises(GraphError, match="the uses of"):
        graph.lint()


@settings(deadline=None, max_examples=50)
@given(strategies.graphs())
def test_any_graph_lints_and_comes_back_equal(graph: Graph) -> None:
    graph.lint()
    data = dumps(graph, timing=True)
    again = loads(data)
    assert again == graph
    assert dumps(again, timing=True) == data


@pytest.mark.parametrize("name", sample_graphs())
def test_edges_values_and_neighbours_tell_the_same(name: str) -> None:
    graph = sample_graphs()[name]
    graph.lint()
    pairs = {(id(edge.source), id(edge.target)) for edge in graph.edges()}
    assert pairs == {(id(n), id(s)) for n in graph.nodes for s in n.successors()}
    assert pairs == {(id(p), id(n)) for n in graph.nodes for p in n.predecessors()}
    assert sum(len(v.uses) for v in graph.values()) == sum(len(n.inputs) for n in graph.nodes)


def test_graphs_of_different_streams_differ() -> None:
    graphs = {name: assemble(stream) for name, stream in sample_streams().items()}
    for name, graph in graphs.items():
        assert [other for other, it in graphs.items() if it == graph] == [name]


@pytest.mark.slow
def test_lint_of_a_large_graph_takes_no_time() -> None:
    for graph in (chain(20_000), chain(20_000, blocks=1_000)):
        start = time.process_time()
        graph.lint()
        assert time.process_time() - start < 4  # it takes 0.2; anything quadratic takes minutes


@pytest.mark.slow
def test_lint_of_one_value_that_everyone_uses_takes_no_time() -> None:
    x = value("x", "input")
    nodes = [
        Node(f"n{i}", "function", "add", "torch.add", inputs=(x, x), outputs=(value(f"v{i}"),)) for i in range(20_000)
    ]
    graph = Graph(nodes, inputs=[x])
    start = time.process_time()
    graph.lint()
    assert time.process_time() - start < 4
