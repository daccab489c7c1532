"""What hooks around a module's forward call is told from what forward calls."""

from typing import Any

import pytest
import torch
from support.models import Net, linear, x
from torch import Tensor, nn
from torch.nn.utils import prune

from recorder import EventStream, Recorder, assemble, dumps, loads


def forward(net: Any, x: Tensor) -> Tensor:
    return torch.tanh(net.inner(x.exp()))


def inside(net: Any, x: Tensor) -> Tensor:
    return net.fc(x).sin()


def nested() -> Any:
    return Net(forward, inner=Net(inside, fc=linear()))


def in_hooks(net: nn.Module, **options: Any) -> list[str]:
    with Recorder(net, **options) as r:
        net(x())
    assert assemble(r.events) == r.graph
    assert loads(dumps(r.graph)) == r.graph
    return [node.op_type for node in r.graph.nodes if node.meta.get("hook")]


OPTIONS: list[dict[str, Any]] = [{}, {"source": True}, {"values": "stats"}, {"gradients": "stats", "source": True}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_functions_in_hooks_are_marked_and_no_others(options: dict[str, Any]) -> None:
    net = nested()
    net.inner.register_forward_pre_hook(lambda module, args: (args[0].mul(2).cos(),))
    net.register_forward_hook(lambda module, args, output: output.abs())
    with Recorder(net, **options) as r:
        net(x())
    marked = {node.op_type: bool(node.meta.get("hook")) for node in r.graph.nodes if node.kind == "function"}
    assert marked == {"exp": False, "mul": True, "cos": True, "sin": False, "tanh": False, "abs": True}
    assert all(
        ("source" in node.meta) == bool(options.get("source")) for node in r.graph.nodes if node.meta.get("hook")
    )


def test_a_hook_that_failed_is_marked(tmp_path: Any) -> None:
    net = nested()
    net.inner.register_forward_pre_hook(lambda module, args: (args[0] @ args[0],))
    with pytest.raises(RuntimeError), Recorder(net) as r:
        net(x())
    assert [(node.op_type, bool(node.error)) for node in r.graph.nodes if node.meta.get("hook")] == [("matmul", True)]
    path = r.events.save(tmp_path / "run.jsonl")
    assert assemble(EventStream.load(path)) == r.graph


def test_what_a_hook_calls_in_a_module_is_that_modules() -> None:
    net = nested()
    other = Net(lambda net, x: x.neg())
    net.inner.add_module("other", other)
    net.inner.register_forward_pre_hook(lambda module, args: (module.other(args[0]).mul(3),))
    assert in_hooks(net) == ["mul"]


def test_pruned_and_normalized_parameters_are_made_in_hooks() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.rand(4))

        def forward(self, x: Tensor) -> Tensor:
            return x * self.weight

    net = Net(lambda net, x: net.scale(x), scale=Scale())
    prune.l1_unstructured(net.scale, "weight", 2)
    assert in_hooks(net) == ["to", "mul"], "by its mask"


def test_without_hooks_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(append: Any) -> Any:
        raise AssertionError("asked for the frames of calls")

    monkeypatch.setattr("recorder.capture.function_mode.marking", refuse)
    assert in_hooks(nested()) == []


def test_the_run_is_untouched() -> None:
    torch.manual_seed(0)
    net = nested()
    net.inner.register_forward_pre_hook(lambda module, args: (args[0].mul(2),))
    given = x()
    alone = net(given)
    hooks = dict(net.inner._forward_pre_hooks)
    with Recorder(net):
        recorded = net(given)
    assert torch.equal(alone, recorded)
    assert dict(net.inner._forward_pre_hooks) == hooks
