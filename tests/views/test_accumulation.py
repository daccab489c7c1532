"""`without_accumulation`: the parameter stands for the node that adds up its gradient."""

import torch
from torch import nn

from recorder import Graph, Node, Recorder, Scope, Value, collapse, dumps, expand, without_accumulation
from recorder.testing import sample_graphs


def autograd() -> Graph:
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 1))
    with Recorder(net) as recording:
        loss = net(torch.ones(2, 4, requires_grad=True)).sum()
    graph = recording.autograd
    assert loss.requires_grad
    return graph


def edges(graph: Graph) -> list[tuple[str, str]]:
    return [(edge.source.name, edge.target.name) for edge in graph.edges()]


def test_what_used_it_uses_the_parameter() -> None:
    graph = autograd()
    before = dumps(graph, timing=True)
    gone = [n for n in graph.nodes if n.op_type == "AccumulateGrad" and n.inputs[0].role == "parameter"]
    assert len(gone) == 4
    view = without_accumulation(graph)
    view.lint()
    assert [n.name for n in view.nodes] == [n.name for n in graph.nodes if n not in gone]
    assert edges(view) == [edge for edge in edges(graph) if edge[0] not in {n.name for n in gone}]
    expected = {(user.name, n.inputs[0].name) for n in gone for user in n.successors()}
    assert {(n.name, v.name) for n in view.nodes for v in n.inputs if v.role == "parameter"} == expected
    assert dumps(graph, timing=True) == before
    assert not {id(v) for v in view.values()} & {id(v) for v in graph.values()}


def test_a_graph_without_such_nodes_is_returned_as_it_is() -> None:
    for graph in sample_graphs().values():
        assert without_accumulation(graph) is graph


def test_a_view_of_it_is_opened_again_without_them() -> None:
    view = without_accumulation(autograd())
    closed = collapse(view, 0)
    assert len(closed.nodes) < len(view.nodes)
    assert [node.name for node in expand(closed, depth=9).nodes] == [node.name for node in view.nodes]


def test_a_scope_goes_with_all_that_it_held_and_not_before() -> None:
    empty, holder = Scope("a", 0, "A", name="a"), Scope("b", 0, "B", name="b")
    weight = Value("w", (1,), "float32", "cpu", True, None, "parameter")
    total = Value("total", (1,), "float32", "cpu")
    made = Value("made", (1,), "float32", "cpu")
    nodes = [
        Node("AccumulateGrad", "autograd", "AccumulateGrad", "", scope=holder, inputs=(weight,), outputs=(total,)),
        Node("Mul", "autograd", "MulBackward0", "", inputs=(total,), outputs=(made,)),
    ]
    graph = Graph(nodes, initializers=[weight], outputs=[made], scopes=[empty, holder])
    view = without_accumulation(graph)
    assert [scope.name for scope in view.scopes] == ["a"]
    assert [[v.name for v in node.inputs] for node in view.nodes] == [["w"]]
