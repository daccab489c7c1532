"""Gradients that vanish and explode, also through modules and functions of one's own, and healthy models."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Block, Net, linear, x
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small, swin_t

from recorder import Recorder, backward_reached
from recorder.analysis.gradient_report import GradientReport


class Own(nn.Module):
    """A layer of one's own, all of it functions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 16) * 0.3)

    def forward(self, x: Tensor) -> Tensor:
        return torch.sigmoid(x @ self.weight.T)


class Flat(nn.Module):
    """The same without a module inside."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList([nn.Parameter(torch.randn(16, 16) * 0.3) for _ in range(14)])

    def forward(self, x: Tensor) -> Tensor:
        for weight in self.weights:
            x = torch.sigmoid(F.linear(x, weight))
        return x


def report(net: nn.Module, loss: Callable[[Tensor], Tensor], batch: Tensor, **options: Any) -> GradientReport:
    with Recorder(net, gradients="stats", **options) as r:
        loss(net(batch)).backward()
    return r.graph.gradient_report()


@pytest.mark.parametrize("functions", [True, False])
def test_modules_of_ones_own_vanish(functions: bool) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*[Own() for _ in range(14)])
    found = report(net, lambda out: out.square().mean(), torch.randn(8, 16), functions=functions)
    assert [layer.call for layer in found.vanishing][-5:] == ["4", "3", "2", "1", "0"]
    assert {layer.call.split(".")[0] for layer in found.vanishing} <= {str(i) for i in range(10)}
    assert found.vanishing[-1].ratio < 1e-6
    assert found.exploding == ()
    assert not found.ok


def test_functions_vanish_where_no_module_is_around_them() -> None:
    torch.manual_seed(0)
    found = report(Flat(), lambda out: out.square().mean(), torch.randn(8, 16))
    names = [layer.call for layer in found.vanishing]
    assert names[-2:] == ["sigmoid", "linear"]
    assert "sigmoid_13" not in names
    assert found.vanishing[-1].ratio < 1e-6


def test_modules_of_ones_own_explode() -> None:
    def grown() -> Block:
        return Block(lambda _, x: x * 11 + 0)

    found = report(nn.Sequential(*[grown() for _ in range(4)]), Tensor.sum, x().requires_grad_())
    assert [layer.call for layer in found.exploding] == ["0"]
    assert found.exploding[0].ratio == pytest.approx(11**3)


@pytest.mark.parametrize(
    ("factor", "vanishes", "explodes"),
    [(0.00099, True, False), (0.00101, False, False), (990.0, False, False), (1010.0, False, True)],
)
@pytest.mark.parametrize("as_module", [True, False])
def test_just_under_and_over_the_thresholds(factor: float, vanishes: bool, explodes: bool, as_module: bool) -> None:
    scale: Any = linear(4, 4) if as_module else Block(lambda _, x: x * factor + 0)
    if as_module:
        with torch.no_grad():
            scale.weight.copy_(torch.eye(4) * factor)
    net = nn.Sequential(nn.Tanh() if as_module else Block(lambda _, x: x * 1 + 0), scale)
    found = report(net, lambda out: out.sum() * 1e-5, x().mul(1e-6).requires_grad_())
    assert ([layer.call for layer in found.vanishing], [layer.call for layer in found.exploding]) == (
        ["0"] * vanishes, ["0"] * explodes
    )  # fmt: skip


def test_backward_begins_at_the_head_and_not_at_a_recorded_loss() -> None:
    class Loss(nn.Module):
        def forward(self, out: Tensor) -> Tensor:
            return out.square().mean() * 1e-9

    torch.manual_seed(0)
    net, loss = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 2)), Loss()
    both = Recorder(net, loss, gradients="stats")
    with both:
        loss(net(x())).backward()
    assert both.graph.gradient_report().ok
    cross = nn.CrossEntropyLoss()
    with Recorder(net, cross, gradients="stats") as r:
        (cross(net(x()) * 1e-6, torch.tensor([0, 1])) * 1e-6).backward()
    assert r.graph.gradient_report().ok


@pytest.mark.parametrize("weight", [1e-9, 0.0, 1e9])
@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("own", [False, True])
def test_a_task_that_counts_little_is_no_measure_for_the_others(weight: float, last: int, own: bool) -> None:
    torch.manual_seed(0)
    layer = (lambda: Block(lambda _, x: x.sin() + 0)) if own else (lambda: nn.Linear(4, 4))
    heads = {"trunk": nn.Linear(4, 4), "one": layer(), "two": layer()}
    net = Net(lambda net, x: [net.one(y := net.trunk(x).tanh()), net.two(y)], **heads)
    with Recorder(net, gradients="stats") as r:
        out = net(x())
        (out[last].mean() + weight * out[1 - last].mean()).backward()
    found = r.graph.gradient_report()
    assert not found.exploding
    assert {layer.call for layer in found.vanishing} <= {"one", "two"}


@pytest.mark.parametrize(
    "loss",
    [
        lambda out: (out * 0).mean(),
        lambda out: F.relu(out - 1000).mean(),
        lambda out: F.mse_loss(out, out.detach()),
        lambda out: out.clamp(10, 20).sum(),
    ],
)
def test_a_loss_that_does_not_depend_on_the_network_is_told(loss: Callable[[Tensor], Tensor]) -> None:
    net = nn.Sequential(linear(4, 4), nn.Tanh(), linear(4, 2))
    found = report(net, loss, x())
    assert all(not parameter.grad.any() for parameter in net.parameters() if parameter.grad is not None)
    assert [(layer.call, layer.norm, layer.ratio) for layer in found.vanishing] == [
        ("2", 0.0, 0.0), ("1", 0.0, 0.0), ("0", 0.0, 0.0)
    ]  # fmt: skip


def test_a_small_gradient_on_a_side_way_has_not_vanished() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        h = net.first(x)
        return net.last(h + net.branch(h) * 1e-6)

    parts = {"first": nn.Linear(4, 4), "branch": nn.Sequential(nn.Linear(4, 4), nn.GELU()), "last": nn.Linear(4, 4)}
    assert report(Net(forward, **parts), Tensor.sum, x()).ok
    net = Net(lambda net, x: net.last(net.branch(net.first(x)) * 1e-6), **parts)
    assert [layer.call for layer in report(net, Tensor.sum, x()).vanishing] == ["branch.1", "branch.0", "first"]


@pytest.mark.parametrize("model", [mobilenet_v3_small, swin_t])
def test_healthy_models_have_no_fault(model: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = model()
    found = report(net, lambda out: F.cross_entropy(out, torch.tensor([1, 2])), torch.randn(2, 3, 64, 64))
    assert found == GradientReport()


def test_a_scope_tells_nothing_that_a_call_inside_tells() -> None:
    torch.manual_seed(0)
    deep = nn.Sequential(nn.Sequential(nn.Sequential(linear(4, 4))), nn.Sequential(Block(lambda _, x: x * 1e-5)))
    found = report(deep, Tensor.sum, x())
    assert [layer.call for layer in found.vanishing] == ["0.0.0"]


def test_backward_is_known_to_have_come_through_functions_of_ones_own() -> None:
    net = nn.Sequential(Own(), Own())
    with Recorder(net) as r:
        net(torch.randn(2, 16)).sum().backward()
    reached = {node.name for node in backward_reached(r.graph)}
    assert reached >= {"0.matmul", "0.sigmoid", "1.matmul", "1.sigmoid", "sum"}
    with Recorder(net, gradients="on") as r:
        out = net(torch.randn(2, 16))
        out.square().mean()
        out.sum().backward()
    reached = {node.name for node in backward_reached(r.graph)}
    assert reached >= {"0.matmul", "1.sigmoid", "sum"}
    assert not reached & {"square", "mean"}


def test_of_scopes_that_return_the_same_the_inner_one_is_named() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*[nn.Sequential(nn.Sequential(Own())) for _ in range(14)])
    found = report(net, lambda out: out.square().mean(), torch.randn(8, 16))
    scopes = [layer.call for layer in found.vanishing if layer.call.replace(".", "").isdigit()]
    assert scopes[-3:] == ["2.0.0", "1.0.0", "0.0.0"]
    assert {name.count(".") for name in scopes} == {2}
