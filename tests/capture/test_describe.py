"""How calls are described: names, targets and attributes."""

from typing import Any

import pytest
import torch
from support.models import Net, linear, record, x
from torch import Tensor, nn

from recorder import Recorder
from recorder.events import Enter, Holdings, Leave, Module, Op
from recorder.events import Tensor as Tensor_


def test_names_are_unique_and_say_where() -> None:
    net = Net(lambda net, x: net.relu(torch.relu(net.relu(x))), relu=nn.ReLU())
    with Recorder(net) as r:
        net(net(x()))
    names = [node.name for node in r.graph.nodes]
    assert names == ["relu", "relu_1", "relu#1", "relu#2", "Net#1.relu", "relu#3"]
    assert r.graph.scopes[0].fqn == ""
    assert [(node.fqn, node.call) for node in r.graph.nodes if node.kind == "module"] == [("relu", i) for i in range(4)]
    assert {(node.fqn, node.call) for node in r.graph.nodes if node.kind == "function"} == {(None, None)}


def test_targets_are_what_a_user_would_import() -> None:
    net = Net(lambda net, x: nn.functional.relu(torch.add(net.fc(x), 1)).view(-1)[None], fc=linear())
    assert [(node.op_type, node.target) for node in record(net, x()).nodes] == [
        ("Linear", "torch.nn.modules.linear.Linear"),
        ("add", "torch.add"),
        ("relu", "torch.nn.functional.relu"),
        ("view", "torch.Tensor.view"),
        ("getitem", "torch.Tensor.__getitem__"),
    ]


def test_operators_are_named_as_they_are_called() -> None:
    net = Net(lambda net, x: torch.ops.aten.relu_.default(torch.ops.aten.mul(torch.ops.aten.add.Tensor(x, 1), x)))
    graph = record(net, x())
    assert [(node.op_type, node.target) for node in graph.nodes] == [
        ("add", "torch.ops.aten.add.Tensor"),
        ("mul", "torch.ops.aten.mul"),
        ("relu_", "torch.ops.aten.relu_.default"),
    ]


def test_arguments_and_hyper_parameters_are_attributes() -> None:
    net = Net(lambda net, x: torch.cumsum(net.conv(x), dim=1, dtype=torch.float64).view(2, -1), conv=nn.Conv1d(1, 2, 3))
    conv, cumsum, view = record(net, x(2, 1, 5)).nodes
    assert conv.attributes["kernel_size"] == [3]
    assert conv.attributes["in_channels"] == 1
    assert cumsum.attributes == {"dim": 1, "dtype": "float64"}
    assert view.attributes == {"arg1": 2, "arg2": -1}


class Shown(nn.Module):
    """Tells its hyper-parameters when it is printed, as modules of other libraries do."""

    def __init__(self, text: str | None) -> None:
        super().__init__()
        self.text = text

    def extra_repr(self) -> str:
        if self.text is None:
            raise RuntimeError("not now")
        return self.text

    def forward(self, x: Tensor) -> Tensor:
        return x + 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nf=48, nx=16", {"nf": 48, "nx": 16}),
        ("(16,), eps=1e-06, bias=False", {"eps": 1e-06, "bias": False}),
        ("kernel=(3, 3), mode='a, b', act=gelu, sizes=[1, 2]", {
            "kernel": [3, 3], "mode": "a, b", "act": "gelu", "sizes": [1, 2],
        }),
        ("no names", {}),
        ("x=__import__('os').getpid()", {"x": "__import__('os').getpid()"}),
        (None, {}),
    ],
)  # fmt: skip
def test_what_a_module_shows_of_itself_are_its_attributes(text: str | None, expected: dict[str, Any]) -> None:
    (scope,) = record(Shown(text), x()).scopes
    assert scope.attributes == expected


def test_attention_tells_its_heads() -> None:
    net = Net(lambda net, x: net.attention(x, x, x)[0], attention=nn.MultiheadAttention(8, 2, dropout=0.1))
    (node,) = (node for node in record(net, x(3, 2, 8)).nodes if node.op_type == "MultiheadAttention")
    told = {"embed_dim": 8, "num_heads": 2, "dropout": 0.1, "training": True, "batch_first": False}
    assert node.attributes == told


def test_a_block_that_is_entered_again_describes_what_is_new_alone() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear(), other=linear())
    r, batch = Recorder(net), x()
    with r:
        net(batch)
    first = len(r.events)
    with r:
        net(batch)
    told = [event for event in [*r.events][first:] if not isinstance(event, Enter | Leave | Op | Holdings)]
    assert told == []
    net.late = nn.Parameter(torch.ones(3))
    net.function = lambda net, x: net.other(net.fc(x))
    with r:
        net(batch)
    new = [event for event in [*r.events][first:] if isinstance(event, Tensor_ | Module)]
    assert [event.name if isinstance(event, Tensor_) else event.fqn for event in new] == ["late", "other"]
    r.graph.lint()
    assert {v.name for v in r.graph.initializers} >= {"late", "fc.weight", "other.weight"}
