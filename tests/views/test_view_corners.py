"""Views where something is near to what they leave out: constants that are returned, repetitions that are counted."""

import torch
from support.models import Net, linear, x
from torch import Tensor, nn

from recorder import Graph, Recorder, fold, hide
from recorder.views.ellipsis import abridged


def recorded(net: nn.Module) -> Graph:
    with Recorder(net) as r:
        net(x(2, 4))
    return r.graph


def edges(graph: Graph) -> list[tuple[str, str]]:
    return [(edge.source.name, edge.target.name) for edge in graph.edges()]


def test_a_constant_that_is_returned_stays_and_so_does_what_comes_of_it() -> None:
    def forward(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        made = torch.arange(4.0)
        return x + made * 2, made

    graph = recorded(Net(forward))
    view = hide(graph, "constants")
    view.lint()
    assert [node.name for node in view.nodes] == ["arange", "mul", "add"]
    assert edges(view) == edges(graph)


def test_what_is_returned_twice_is_returned_twice_in_a_folded_view() -> None:
    graph = recorded(Net(lambda net, x: (y := net.a(x), y), a=linear()))
    assert len(graph.outputs) == 2
    assert [value.name for value in fold(graph).outputs] == [value.name for value in graph.outputs]


def test_an_ellipsis_counts_each_repetition_of_what_it_hides() -> None:
    block = [nn.Sequential(linear(), nn.ReLU()) for _ in range(5)]
    kinds = [nn.Tanh(), nn.Sigmoid(), nn.ELU(), nn.SELU(), nn.CELU(), nn.GELU(), nn.SiLU(), nn.Mish()]
    graph = recorded(nn.Sequential(*kinds[:4], nn.Sequential(*block), *kinds[4:]))
    assert len(graph.nodes) == 8 + 5 * 2
    view = abridged(fold(graph), 5)
    view.lint()
    (row,) = [node for node in view.nodes if "collapsed" in node.meta]
    assert row.meta["collapsed"] == len(graph.nodes) - (len(view.nodes) - 1)


def test_inputs_that_stay_keep_their_names() -> None:
    net = Net(lambda net, x: net.two(torch.ones(2, 4) * 2, x), two=nn.Bilinear(4, 4, 3))
    (node,) = hide(recorded(net), "constants").nodes
    assert [value.name for value in node.inputs] == ["input", "two.weight", "two.bias"]
    assert node.input_names == ("input2", "weight", "bias")
