"""What is in the gradients, the report of what is wrong with them, and that nobody notices that they were looked at."""

from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Block, Net, linear, same, x
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint
from torchvision.models import resnet18

import recorder.capture.tensor_stats
from recorder import EventStream, Graph, Recorder, assemble, dumps, loads
from recorder.analysis.gradient_report import GradientReport
from recorder.events import Grad, GradStats, ParameterGrad


class DividesByZero(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 1

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].sub(gradients[0]) / 0


def resnet() -> Any:
    torch.manual_seed(0)
    return resnet18()


def trained(net: nn.Module, *inputs: Tensor, gradients: Any = "stats") -> Recorder:
    r = Recorder(net, gradients=gradients)
    with r:
        net(*inputs).sum().backward()
    return r


def report_of(r: Recorder, folder: Path) -> GradientReport:
    """The report; on the way, a saved and loaded recording must give the same one."""
    r.graph.lint()
    report = r.graph.gradient_report()
    stream = EventStream.load(r.events.save(folder / "run.jsonl"))
    assert stream == r.events
    assert assemble(stream).gradient_report() == report
    assert loads(dumps(r.graph)).gradient_report() == report
    return report


def told(graph: Graph, name: str) -> dict[str, Any]:
    calls = {call.name: call.meta for call in (*graph.nodes, *graph.scopes, *graph.initializers)}
    found: dict[str, Any] = calls[name]["backward"]
    return found


def reasons(report: GradientReport) -> dict[str, str]:
    return {missing.parameter: missing.reason for missing in report.missing}


# What is in a gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_the_numbers_of_a_gradient(dtype: torch.dtype) -> None:
    wanted = torch.tensor([[3.0, 0.0, -4.0, 0.0], [float("nan"), float("inf"), float("-inf"), 0.0]]).to(dtype)
    net, batch = Net(lambda net, x: net.flat(x), flat=nn.Flatten()), torch.ones(2, 4, dtype=dtype, requires_grad=True)
    with Recorder(net, gradients="stats") as r:
        net(batch.clone()).backward(wanted)
    (arrived,) = told(r.graph, "Net")["arrived"]
    name = str(dtype).removeprefix("torch.")
    numbers = {"norm": 5.0, "largest": 4.0, "nan": 1, "inf": 2, "zeros": 3 / 8}
    assert arrived == {"shape": [2, 4], "dtype": name, **numbers}
    stats = {stats for event in r.events if isinstance(event, Grad) for stats in event.stats}
    assert stats == {GradStats(5.0, 4.0, 1, 2, 3 / 8)}


def test_squares_overflow_in_no_precision() -> None:
    for dtype, size in ((torch.float16, 6e4), (torch.float32, 1e38), (torch.float64, 1e300)):
        net, batch = Net(lambda net, x: net.flat(x), flat=nn.Flatten()), torch.ones(1, 4, dtype=dtype).requires_grad_()
        with Recorder(net, gradients="stats") as r:
            net(batch.clone()).backward(torch.full((1, 4), size, dtype=dtype))
        (arrived,) = told(r.graph, "Net")["arrived"]
        assert arrived["inf"] == 0
        assert arrived["norm"] == pytest.approx(2 * size, rel=1e-2)
        assert arrived["largest"] == pytest.approx(size, rel=1e-2)
        assert loads(dumps(r.graph)) == r.graph


def test_what_has_no_numbers_is_recorded_without() -> None:
    net = Net(lambda net, i: net.emb(i), emb=nn.Embedding(5, 3, sparse=True))
    r = trained(net, torch.tensor([[1, 1, 2]]))
    assert told(r.graph, "emb.weight")["gradient"] == {"shape": [5, 3], "dtype": "float32"}
    assert "norm" in told(r.graph, "emb")["arrived"][0]
    net = Net(lambda net, x: net.fc(x), fc=linear())
    r = trained(net, x(0, 4))
    assert told(r.graph, "fc")["arrived"] == [{"shape": [0, 4], "dtype": "float32"}]
    assert told(r.graph, "fc.weight")["gradient"]["zeros"] == 1.0


def test_a_batched_gradient_is_not_measured() -> None:
    net, batch = Net(lambda net, x: net.fc(x), fc=linear()), x().requires_grad_()
    with Recorder(net, gradients="stats") as r:
        y = net(batch)
        torch.autograd.grad(y, batch, torch.ones(3, 2, 4), is_grads_batched=True)
    assert {stats for event in r.events if isinstance(event, Grad) for stats in event.stats} == {None}
    r.graph.lint()


def test_a_parameter_is_told_with_what_accumulated_in_it() -> None:
    net, batch = Net(lambda net, x: net.fc(x), fc=linear()), x()
    norms = []
    with Recorder(net, gradients="stats") as r:
        for _ in range(3):
            net(batch).sum().backward()
            assert net.fc.weight.grad is not None
            norms.append(net.fc.weight.grad.norm().item())
    events = [event for event in r.events if isinstance(event, ParameterGrad)]
    assert [event.backward for event in events] == [0, 1, 2]
    assert [event.stats.norm for event in events if event.stats] == pytest.approx(norms)
    weight = told(r.graph, "fc.weight")
    assert (weight["passes"], weight["pass"], weight["order"]) == (3, 2, 20)
    assert weight["gradient"]["norm"] == pytest.approx(norms[2])
    (one, *others) = [part.initializers[0].meta["backward"] for part in r.graphs]
    assert [told["gradient"]["norm"] for told in (one, *others)] == pytest.approx(norms)


def test_read_inside_the_block_too() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
        first = told(r.graph, "fc")
        net(x()).sum().backward()
    assert first["arrived"][0]["norm"] == pytest.approx(8**0.5)
    assert told(r.graph, "fc#1")["arrived"] == first["arrived"]


def test_many_gradients_are_told_apart() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear(1, 1))
    with Recorder(net, gradients="stats") as r:
        for i in range(600):
            net(torch.ones(1, 1)).backward(torch.full((1, 1), float(i)))
            net.zero_grad()
    arrived = [e.stats[0] for e in r.events if isinstance(e, Grad) and e.phase == "arrive" and e.stats]
    assert [stats.largest for stats in arrived if stats] == [float(i) for i in range(600) for _ in range(2)]
    added = [event.stats.largest for event in r.events if isinstance(event, ParameterGrad) and event.stats]
    assert added == [float(i) for i in range(600)]


# What the graph says without being asked


def test_each_call_tells_what_arrived_and_left() -> None:
    block = Block(lambda block, x: block.fc(x).relu(), fc=linear(4, 3))
    net = Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=block)
    r = trained(net, x(), gradients="calls")
    gradient = {"shape": [2, 3], "dtype": "float32"}
    inner = told(r.graph, "block.fc")
    assert inner == {
        "passes": 1, "pass": 0, "order": 2, "arrived": [gradient], "left": [
            {"shape": [2, 4], "dtype": "float32"}, {"shape": [4, 3], "dtype": "float32"}
        ]
    }  # fmt: skip
    assert told(r.graph, "block") == {**inner, "order": 0}
    assert told(r.graph, "Net")["left"] == told(r.graph, "fc")["left"]
    assert r.graph.meta == {}
    again = trained(net, x(), gradients="calls")
    assert dumps(again.graph) == dumps(r.graph)


def test_outputs_of_one_autograd_node_are_reached_once() -> None:
    net = Net(lambda net, x: net.split(x), split=Block(lambda _, x: x.unbind(0)))
    batch = x().requires_grad_()
    with Recorder(net) as r:
        one, other = net(batch * 2)
        (one + other).sum().backward()
    assert told(r.graph, "split")["arrived"] == [{"shape": [4], "dtype": "float32"}] * 2


def test_parameters_are_told_where_they_are_asked_for() -> None:
    net = Net(lambda net, x: net.b(net.a(x) * net.scale), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    net.scale = nn.Parameter(torch.ones(4))
    net.a.bias.requires_grad_(requires_grad=False)
    r = trained(net, x(), gradients="on")
    assert {name: told(r.graph, name)["parameters"] for name in ("Net", "a", "b")} == {
        "Net": ["scale"], "a": ["weight"], "b": ["weight", "bias"]
    }  # fmt: skip
    assert told(r.graph, "scale")["gradient"] == {"shape": [4], "dtype": "float32"}
    assert r.graph.meta == {"gradients": "on"}


def test_autograd_grad_accumulates_nothing() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    with Recorder(net, gradients="on") as r:
        torch.autograd.grad(net(x()).sum(), [net.fc.weight])
    assert told(r.graph, "fc")["parameters"] == []
    assert reasons(r.graph.gradient_report()) == {
        "fc.weight": "backward went through fc and accumulated nothing here, as torch.autograd.grad does"
    }


def test_what_gradients_may_be() -> None:
    with pytest.raises(ValueError, match="gradients='all': it is one of 'calls', 'on', 'stats', 'digest'"):
        Recorder(linear(), gradients="all")  # type: ignore[arg-type]


# Planted faults


@pytest.mark.parametrize("how", ["function", "hook"])
def test_a_nan_born_in_the_middle_of_a_resnet(how: str, tmp_path: Path) -> None:
    def plant(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        if how == "function":
            return DividesByZero.apply(output)  # type: ignore[no-untyped-call, no-any-return]
        output.register_hook(lambda gradient: gradient * 0 / 0)
        return output

    net = resnet()
    net.layer2[1].register_forward_hook(plant)
    report = report_of(trained(net, x(2, 3, 64, 64)), tmp_path)
    found = report.not_finite
    assert found is not None
    assert (found.call, found.born, found.nan) == ("layer2.1.relu#1", "before", 2 * 128 * 8 * 8)
    assert found.suspects == (("layer2.mul",) if how == "function" else ())
    assert (report.missing, report.vanishing, report.exploding) == ((), (), ())
    why = "born in layer2.mul" if how == "function" else "begun so, or made so by a hook or by what was not recorded"
    assert str(report) == f"first gradient that is not finite:\n  arrived at layer2.1.relu#1 with 16384 NaN: {why}"


def test_the_root_of_zero_in_a_layer_is_named(tmp_path: Path) -> None:
    net = Net(lambda net, x: net.b(net.pool(net.a(x))), a=linear(), pool=nn.LPPool1d(2.5, 2), b=linear(2, 4))
    with torch.no_grad():
        net.a.weight.zero_()
    report = report_of(trained(net, x()), tmp_path)
    assert report.not_finite is not None
    assert (report.not_finite.call, report.not_finite.born) == ("pool", "inside")
    assert (
        "first gradient that is not finite:\n  born in pool: what left it has 4 Inf, and what arrived was finite"
        in str(report)
    )


def test_a_nan_that_only_a_parameter_gets(tmp_path: Path) -> None:
    net = Net(lambda net, x: net.b(net.a(x) * net.scale.sqrt()), a=linear(), b=linear())
    net.scale = nn.Parameter(torch.tensor([0.0, 1.0, 1.0, 1.0]))
    found = report_of(trained(net, x()), tmp_path).not_finite
    assert found is not None
    assert (found.call, found.parameter, found.inf + found.nan) == ("sqrt", None, 1)
    what = "Inf" if found.inf else "NaN"
    assert str(found) == f"born in sqrt: what left it has 1 {what}, and what arrived was finite"
    with Recorder(net, gradients="stats", functions=False) as r:
        net(x()).sum().backward()
    found = r.graph.gradient_report().not_finite
    assert found is not None
    assert str(found) == f"in scale: the gradient of scale has 1 {what}"


def test_a_loss_that_is_nan_is_no_layers_fault(tmp_path: Path) -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    r = Recorder(net, gradients="stats")
    with r:
        (net(x()).sum() * 0).log().mul(0).backward()
    found = report_of(r, tmp_path).not_finite
    assert found is not None
    assert (found.call, found.born, found.nan, found.suspects) == ("mul_1", "forward", 1, ())
    already = "the loss itself, of mul_1, had 1 NaN already: forward made it; record with values='stats' to see where"
    assert str(found) == already


def test_why_a_parameter_got_no_gradient(tmp_path: Path) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        with torch.no_grad():
            quiet = net.quiet(x)
        net.side(x).sum()
        return net.head(net.frozen(x) + net.cut(x).tanh().detach() + quiet)

    names = ("head", "frozen", "cut", "quiet", "side", "unused")
    net = Net(forward, **{name: linear() for name in names})
    net.frozen.requires_grad_(requires_grad=False)
    expected = {
        "frozen.weight": "requires_grad is off",
        "cut.weight": "detached by detach",
        "quiet.weight": "used in quiet, whose result requires no gradient",
        "side.weight": "used in side, and backward did not come by: what it computed is not in the loss",
        "unused.weight": "its module `unused` was never called",
    }
    gradients: Any
    for gradients in ("on", "stats", "calls"):
        report = report_of(trained(net, x(), gradients=gradients), tmp_path)
        if gradients == "calls":  # it may be one that checkpointing runs again
            assert "whether a gradient reached quiet.weight at all: the same" in report.unknown
            del expected["quiet.weight"]
        assert reasons(report) == expected
        assert not report.ok
        assert str(report).startswith("parameters without a gradient:\n  frozen.weight: requires_grad is off\n")


def test_a_healthy_network_has_no_fault(tmp_path: Path) -> None:
    report = report_of(trained(resnet(), x(2, 3, 64, 64)), tmp_path)
    assert report.ok
    assert report == GradientReport()
    assert str(report) == "no fault found in the gradients"


def test_what_cannot_be_told_is_said(tmp_path: Path) -> None:
    net = Net(lambda net, x: net.fc(x) * net.scale, fc=linear())
    net.scale = nn.Parameter(torch.ones(4))
    report = report_of(trained(net, x(), gradients="calls"), tmp_path)
    assert str(report) == "\n".join([
        "no fault found in the gradients",
        "cannot be told:",
        "  whether a gradient reached each parameter of a call: record with gradients='on' or 'stats'",
        "  whether a gradient reached scale at all: the same",
        "  NaN, Inf, vanishing and exploding gradients: record with gradients='stats'",
    ])  # fmt: skip
    with Recorder(net) as r:
        net(x())
    assert report_of(r, tmp_path).unknown == (
        "no backward pass was recorded: call backward inside the Recorder's block",
    )


@pytest.mark.parametrize("scale", [1.0, 1e6])
def test_a_saturated_sigmoid_stack_vanishes(scale: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layers = [module for _ in range(8) for module in (nn.Linear(8, 8), nn.Sigmoid())]
    for layer in layers[::2]:
        assert isinstance(layer, nn.Linear)
        nn.init.constant_(layer.bias, 6.0)
    net = nn.Sequential(*layers, nn.Linear(8, 2))
    r = Recorder(net, gradients="stats")
    with r:
        (net(x(4, 8)).sum() * scale).backward()
    report = report_of(r, tmp_path)
    assert [layer.call for layer in report.vanishing][-3:] == ["2", "1", "0"]
    assert "16" not in [layer.call for layer in report.vanishing]
    assert [layer.norm for layer in report.vanishing] == sorted((v.norm for v in report.vanishing), reverse=True)
    assert report.exploding == ()
    assert "vanishing gradients:\n" in str(report)


def test_a_stack_of_large_weights_explodes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(*[linear(8, 8) for _ in range(8)])
    for layer in net:
        assert isinstance(layer, nn.Linear)
        nn.init.normal_(layer.weight, std=10.0)
    report = report_of(trained(net, x(4, 8)), tmp_path)
    assert [layer.call for layer in report.exploding][-3:] == ["2", "1", "0"]
    assert report.vanishing == ()
    assert all(layer.ratio >= 1000 for layer in report.exploding)


# Every way to run backward


def test_of_several_passes_the_first_that_went_wrong_is_told(tmp_path: Path) -> None:
    net = Net(lambda net, x: net.b(net.a(x)), a=linear(), b=linear())
    with Recorder(net, gradients="stats") as r:
        y = net(x())
        for gradient in (1.0, float("inf"), 2.0):
            y.backward(torch.full((2, 4), gradient), retain_graph=True)
    a = told(r.graph, "a")
    assert (a["passes"], a["pass"]) == (3, 1)
    found = report_of(r, tmp_path).not_finite
    assert found is not None
    assert (found.call, found.born, found.suspects) == ("b", "before", ())


def test_double_backward() -> None:
    def step(net: Net, batch: Tensor) -> None:
        out = net(batch)
        (gradient,) = torch.autograd.grad(out.sum(), [batch], create_graph=True)
        (out.mean() + (gradient.norm() - 1).square()).backward()

    net, batch = Net(lambda net, x: net.b(net.a(x).tanh()), a=linear(), b=linear()), x().requires_grad_()
    copy = deepcopy(net)
    step(copy, batch)
    with Recorder(net, gradients="stats") as r:
        step(net, batch)
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert (told(r.graph, "a")["passes"], told(r.graph, "a.weight")["passes"]) == (2, 1)
    assert r.graph.gradient_report().ok


def test_autocast(tmp_path: Path) -> None:
    net, batch = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), x()
    copy = deepcopy(net)
    r = Recorder(net, gradients="stats")
    with torch.autocast("cpu", torch.bfloat16):
        copy(batch).sum().backward()
        with r:
            net(batch).sum().backward()
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert told(r.graph, "2")["arrived"][0]["dtype"] == "bfloat16"
    assert told(r.graph, "2")["arrived"][0]["norm"] == pytest.approx(6**0.5)
    assert told(r.graph, "2.weight")["gradient"]["dtype"] == "float32"
    assert report_of(r, tmp_path).ok


def test_a_scaled_step_with_hooks_of_the_users_is_as_without() -> None:
    net = resnet()
    picture = torch.randn(2, 3, 32, 32)

    def step(net: nn.Module, recorder: Any) -> tuple[list[Tensor | None], list[float], float]:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        seen: list[float] = []
        with recorder, torch.autocast("cpu", dtype=torch.bfloat16):
            y = net(picture)
            y.register_hook(lambda gradient: seen.append(float(gradient.float().sum())))
            y.register_hook(lambda gradient: gradient * 2)  # a hook that changes the gradient
            scaler.scale(y.float().square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
        return [p.detach().clone() for p in net.parameters()], seen, scaler.get_scale()

    plain = step(deepcopy(net), nullcontext())
    watched = deepcopy(net)
    r = Recorder(watched, gradients="stats")
    assert same(step(watched, r), plain)
    assert len(plain[1]) == 1
    r.graph.lint()
    (arrived,) = told(r.graph, "fc")["arrived"]
    assert arrived["norm"] > 0


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant: bool, tmp_path: Path) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        run: Callable[..., Any] = net.block
        inner: Tensor = checkpoint(run, net.stem(x), use_reentrant=reentrant)
        return net.head(inner)

    def make() -> Net:
        torch.manual_seed(0)
        block = Block(lambda block, x: block.b(block.a(x).relu()), a=linear(), b=linear())
        return Net(forward, stem=linear(), block=block, head=linear())

    net, copy, batch = make(), make(), x()
    copy(batch).sum().backward()
    r = trained(net, batch)
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    report = report_of(r, tmp_path)
    assert report.ok
    assert told(r.graph, "block.a.weight")["gradient"]["nan"] == 0
    assert trained(make(), batch, gradients="calls").graph.gradient_report().missing == ()
    hidden = "what arrived at block.a, block.b: checkpoint(use_reentrant=True) hides it"
    assert report.unknown == ((hidden,) if reentrant else ())
    net = make()
    net.block.b.register_forward_hook(lambda module, args, output: DividesByZero.apply(output))
    found = report_of(trained(net, batch), tmp_path).not_finite
    assert found is not None
    if reentrant:
        assert (found.call, found.parameter) == ("block.b", "block.b.weight")
        assert "recomputed calls tell less" in str(found)
    else:
        assert (found.call, found.suspects) == ("block.b", ("block.mul",))


def test_parameters_that_come_later_are_watched() -> None:
    net = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 3))
    net[1].requires_grad_(requires_grad=False)
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
        net[1].requires_grad_(requires_grad=True)
        net.append(linear(3, 3))
        net(x()).sum().backward()
    passes = {v.name: v.meta["backward"]["passes"] for v in r.graph.initializers}
    assert passes == {"0.weight": 2, "0.bias": 2, "1.weight": 1, "1.bias": 1, "2.weight": 1}


def test_a_block_that_holds_only_backward() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    r = Recorder(net, gradients="on")
    with r:
        loss = net(x()).sum()
    with r:
        loss.backward()
    assert told(r.graph, "fc.weight")["passes"] == 1


# Nobody notices


def test_gradients_and_the_random_state_are_as_without() -> None:
    net, batch = resnet(), x(2, 3, 64, 64)
    copy = deepcopy(net)
    copy(batch).sum().backward()
    state = torch.random.get_rng_state()
    trained(net, batch)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same([p.grad for p in net.parameters()], [p.grad for p in copy.parameters()])
    assert all(not p._post_accumulate_grad_hooks for p in net.parameters())
    assert all(not p._backward_hooks for p in net.parameters())


def test_a_dispatch_mode_of_the_users_sees_what_it_would() -> None:
    class Listing(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    seen: list[str] = []
    runs = []
    for recorded in (False, True):
        net, batch = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)), torch.ones(2, 4)
        seen.clear()
        r = Recorder(net, gradients="stats")
        with Listing():
            if recorded:
                with r:
                    net(batch).sum().backward()
                    assert len(r.events) > 0
            else:
                net(batch).sum().backward()
        runs.append(list(seen))
    assert runs[0] == runs[1]
    assert told(r.graph, "0.weight")["gradient"]["nan"] == 0


def test_from_a_device_nothing_is_read_before_the_block_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading would wait for it. On the CPU, numbers that are read at once are the same."""

    def numbers(r: Recorder) -> list[GradStats | None]:
        with r:
            for _ in range(3):
                net(batch).sum().backward()
            assert reads == []
        return [stats for event in r.events if isinstance(event, Grad) for stats in event.stats]

    net, batch, reads = nn.Sequential(linear(), nn.ReLU(), linear()), x(), []
    at_once = numbers(Recorder(net, gradients="stats"))
    monkeypatch.setattr(recorder.capture.tensor_stats, "_numbers_of_finite", lambda *_: None)
    for name in ("tolist", "item", "__float__", "__bool__"):
        read = getattr(Tensor, name)
        monkeypatch.setattr(Tensor, name, lambda self, read=read: reads.append(self.shape) or read(self))
    assert numbers(Recorder(net, gradients="stats")) == at_once
    assert len(reads) == 1


def test_an_optimizer_in_backward_comes_after_us() -> None:
    def step(parameter: Tensor) -> None:
        seen.append(parameter.grad is not None)
        parameter.grad = None

    net, seen = Net(lambda net, x: net.fc(x), fc=linear()), []
    handle = net.fc.weight.register_post_accumulate_grad_hook(step)
    r = trained(net, x())
    assert (seen, net.fc.weight.grad) == ([True], None)
    assert told(r.graph, "fc.weight")["gradient"]["norm"] > 0
    assert list(net.fc.weight._post_accumulate_grad_hooks.values()) == [step]
    handle.remove()


def test_nested_recorders_do_not_record_each_others_measuring() -> None:
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    with Recorder(net) as outer, Recorder(net, gradients="stats") as inner:
        net(x()).sum().backward()
    assert (
        [node.name for node in outer.graph.nodes] == [node.name for node in inner.graph.nodes] == ["0", "1", "2", "sum"]
    )


def test_an_error_in_backward_is_the_users_own() -> None:
    def fail(gradient: Tensor) -> None:
        raise error

    error, net = ValueError("no"), Net(lambda net, x: net.b(net.a(x)), a=linear(), b=linear())
    net.a.weight.register_hook(fail)
    with pytest.raises(ValueError, match="no") as caught, Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    assert caught.value is error
    assert told(r.graph, "b")["arrived"][0]["norm"] > 0
    assert not net.a.weight._post_accumulate_grad_hooks


def test_a_part_of_a_tensor_that_was_written_in_place_is_no_checkpoint(tmp_path: Path) -> None:
    net = nn.Sequential(Block(lambda block, x: (x @ block.weight)[:, :2]), nn.ReLU(inplace=True), linear(2, 1))
    net[0].weight = nn.Parameter(torch.ones(4, 3))
    r = Recorder(net, gradients="on", functions=False)
    with r:
        net(x()).sum().backward()
    report = report_of(r, tmp_path)
    assert report.missing == ()
    assert [line for line in report.unknown if "arrived at" in line] == [
        "what arrived at 0: what it returned is a part of a tensor, and was written in place, or is hidden otherwise"
    ]
