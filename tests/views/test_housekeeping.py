"""What hooks around a module call is one box, open on request."""

from typing import Any

from support.models import Net, linear, x

from recorder import Graph, Recorder, export, readable
from recorder.views.housekeeping import housekept
from recorder.views.view_options import arranged


def wrapped(calls: int) -> Graph:
    """A module with a hook that calls so many functions."""

    def prepare(module: Any, args: Any) -> Any:
        (given,) = args
        for _ in range(calls):
            given = given.cos()
        return (given,)

    net = Net(lambda net, x: net.inner(x.exp()).tanh(), inner=Net(lambda net, x: net.fc(x).sin(), fc=linear()))
    net.inner.register_forward_pre_hook(prepare)
    with Recorder(net) as r:
        net(x())
    return r.graph


def test_the_functions_of_a_hook_are_one_node() -> None:
    graph = wrapped(10)
    view = housekept(graph)
    view.lint()
    assert [node.op_type for node in view.nodes] == ["exp", "hooks of Net", "Linear", "sin", "tanh"]
    node = view.nodes[1]
    assert (node.kind, node.meta["collapsed"]) == ("function", 10)
    assert node.scope is not None
    assert node.scope.fqn == "inner"
    assert [value.name for value in node.inputs] == ["exp:0"]
    assert node.predecessors() == [view.nodes[0]]


def test_a_few_stay_and_a_graph_without_any_is_the_same() -> None:
    for calls in (0, 3):
        graph = wrapped(calls)
        assert housekept(graph) is graph


def test_it_is_open_on_request() -> None:
    graph = wrapped(10)
    assert len(readable(graph).nodes) == 5
    assert [len(arranged(graph, 50, hooks=hooks).nodes) for hooks in ("auto", False, True)] == [5, 5, 14]  # type: ignore[arg-type]
    assert len(arranged(graph, 50, depth=None).nodes) == 14, "everything was asked for"
    assert len(arranged(graph).nodes) == 14, "what is no drawing is given all"
    assert "cos_5" not in export(graph, "dot")
    assert "cos_5" in export(graph, "dot", hooks=True)
