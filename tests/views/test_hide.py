"""hide(), with networkx as the judge of what reaches what."""

import networkx as nx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import strategies
from support.models import Net, linear, x
from support.networks import network
from torch import nn

from recorder import Graph, Node, Recorder, Value, assemble, dumps, hide
from recorder.testing import StreamBuilder

any_graph = st.one_of(strategies.graphs(), strategies.streams().map(assemble), strategies.repetitive())


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
