"""What a report of gradients says where two readings are near: which detach, which use, whose module, one or all."""

from typing import Any

import pytest
import torch
from support.models import Net, linear, x
from torch import Tensor, nn

from recorder import Recorder
from recorder.analysis.gradient_report import GradientReport


def reasons(report: GradientReport) -> dict[str, str]:
    return {found.parameter: found.reason for found in report.missing}


@pytest.mark.parametrize("first", ["near", "far"])
def test_the_nearest_detach_is_named(first: str) -> None:
    def near(w: Tensor) -> Tensor:
        return (w + 1).detach()

    def far(w: Tensor) -> Tensor:
        return (w * 2 * 2 * 2).detach()

    def forward(net: Any, x: Tensor) -> Tensor:
        one, other = (near, far) if first == "near" else (far, near)
        return net.fc(x) + one(net.w) + other(net.w)  # type: ignore[no-any-return]

    net = Net(forward, fc=linear(), w=nn.Parameter(torch.ones(4)))
    with Recorder(net, gradients="on") as r:
        net(x()).sum().backward()
    by = "detach" if first == "near" else "detach_1"
    assert reasons(r.graph.gradient_report()) == {"w": f"detached by {by}"}


def test_the_use_that_backward_comes_by_first_is_named() -> None:
    """Nothing is seen at functions here: only what the parameter got."""

    def forward(net: Any, x: Tensor) -> Tensor:
        return net.two(net.one(x) * net.w.sum() + net.w.sqrt())  # type: ignore[no-any-return]

    net = Net(forward, one=linear(), two=linear(), w=nn.Parameter(torch.tensor([0.0, 1.0, 1.0, 1.0])))
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    graph = r.graph
    for node in graph.nodes:  # as of a recording of an older version, which tells of modules and parameters alone
        if node.kind == "function":
            node.meta.pop("backward", None)
    found = graph.gradient_report().not_finite
    assert found is not None
    assert (found.parameter, found.call) == ("w", "sqrt")


def test_a_module_that_was_not_called_is_named_by_its_whole_name() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.extra = linear(), nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(x)  # type: ignore[no-any-return]

    net = Net(lambda net, x: net.ab(x), a=linear(), ab=Wide())
    with Recorder(net, gradients="on") as r:
        net(x()).sum().backward()
    assert reasons(r.graph.gradient_report()) == {
        "a.weight": "its module `a` was never called", "ab.extra": "not used in any recorded call"
    }  # fmt: skip


def test_a_whole_model_that_was_not_called_is_named() -> None:
    net, other = Net(lambda net, x: net.fc(x), fc=linear()), nn.Sequential(linear())
    with Recorder(net, other, gradients="on") as r:
        other(x()).sum().backward()
    assert reasons(r.graph.gradient_report()) == {"fc.weight": "its module `Net` was never called"}


def test_the_norm_of_a_call_is_that_of_all_that_arrived() -> None:
    """Of two results one got 3, the other 4: together 5, as of a right triangle."""
    part = Net(lambda net, x: (x * 1e4, x * 1e4 + net.b), b=nn.Parameter(torch.ones(4)))

    def forward(net: Any, x: Tensor) -> Tensor:
        one, other = net.part(net.first(x))
        return net.head((3 * one + 4 * other) * 1e4)  # type: ignore[no-any-return]

    net = Net(forward, part=part, first=linear(), head=linear())
    with Recorder(net, gradients="stats", functions=True) as r:
        net(x(1, 4)).sum().backward()
    told = {found.call: found.norm for found in r.graph.gradient_report().exploding}
    (arrived,) = [scope.meta["backward"]["arrived"] for scope in r.graph.scopes if scope.fqn == "part"]
    norms = sorted(caption["norm"] for caption in arrived)
    assert norms[1] == pytest.approx(norms[0] * 4 / 3)
    assert told["part"] == pytest.approx(norms[0] * 5 / 3)


def test_of_several_passes_that_went_wrong_the_first_is_told() -> None:
    net = linear()
    with Recorder(net, gradients="stats") as r:
        out = net(x(1, 4))
        for gradient in (1.0, float("nan"), float("inf"), float("nan"), 1.0):
            out.backward(torch.full((1, 4), gradient), retain_graph=True)
    told = r.graph.nodes[0].meta["backward"]
    assert (told["passes"], told["pass"]) == (5, 1)
    assert [(caption["nan"], caption["inf"]) for caption in told["arrived"]] == [(4, 0)]
