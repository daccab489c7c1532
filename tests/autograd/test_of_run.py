"""`Recorder.autograd`: the autograd graph of a recorded run, in the scopes of what made it."""

import gc
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torchvision
from support.models import Block, Net, linear, x
from torch import Tensor, nn
from torch.autograd.graph import _engine_run_backward
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.checkpoint import checkpoint

from recorder import Graph, Node, Recorder, RecorderError, autograd_graph, collapse, dumps, export, formats, loads

TEXTS = sorted({f.name for f in formats()} & {"dot", "mermaid", "onnx-json", "json"})


def checked(recording: Recorder) -> Graph:
    """The autograd graph, which must agree with itself, and with the forward graph on where each node belongs."""
    graph, forward = recording.autograd, made_by(recording)
    graph.lint()
    assert loads(dumps(graph)) == graph
    assert {node.kind for node in graph.nodes} == {"autograd"}
    known = {scope.name: scope for scope in recording.graph.scopes}
    for scope in graph.scopes:
        original = known[scope.name]
        assert (scope.fqn, scope.call, scope.op_type) == (original.fqn, original.call, original.op_type)
        assert name_of(scope.parent) == name_of(original.parent)
        assert scope is not original
    for node in graph.nodes:
        if node.name in forward:
            assert name_of(node.scope) == name_of(forward[node.name].scope)
    return graph


def name_of(scope: Any) -> str | None:
    return None if scope is None else scope.name


def made_by(recording: Recorder) -> dict[str, Node]:
    """The forward nodes by the names of the autograd nodes that they made."""
    nodes = {node.name: node for node in recording.graph.nodes}
    return {n.name: nodes[n.meta["forward"]] for n in recording.autograd.nodes if "forward" in n.meta}


def ties(recording: Recorder) -> "Counter[tuple[str, str | None]]":
    forward = made_by(recording)
    return Counter(
        (n.op_type, forward[n.name].op_type if n.name in forward else None) for n in checked(recording).nodes
    )


def places(recording: Recorder) -> list[str]:
    """Each autograd node with its scope and the forward node that made it."""
    return [f"{name_of(n.scope)}: {n.op_type} < {n.meta.get('forward')}" for n in checked(recording).nodes]


def resnet() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return torchvision.models.resnet18(num_classes=5), torch.rand(2, 3, 32, 32), torch.tensor([1, 2])


def test_a_training_step_of_a_resnet() -> None:
    net, images, labels = resnet()
    with Recorder(net) as r:
        loss = functional.cross_entropy(net(images), labels)
        loss.backward()
    assert ties(r) == {
        ("AccumulateGrad", "Conv2d"): 20,
        ("ConvolutionBackward0", "Conv2d"): 20,
        ("AccumulateGrad", "BatchNorm2d"): 40,
        ("NativeBatchNormBackward0", "BatchNorm2d"): 20,
        ("ReluBackward0", "ReLU"): 17,
        ("MaxPool2DWithIndicesBackward0", "MaxPool2d"): 1,
        ("AddBackward0", "add_"): 8,
        ("MeanBackward1", "AdaptiveAvgPool2d"): 1,
        ("ViewBackward0", "flatten"): 1,
        ("AccumulateGrad", "Linear"): 2,
        ("TBackward0", "Linear"): 1,
        ("AddmmBackward0", "Linear"): 1,
        ("LogSoftmaxBackward0", "cross_entropy"): 1,
        ("NllLossBackward0", "cross_entropy"): 1,
    }
    graph, forward = r.autograd, made_by(r)
    assert [(n.op_type, n.target) for n in graph.nodes] == [(n.op_type, n.target) for n in autograd_graph(loss).nodes]
    assert [scope.name for scope in graph.scopes] == [scope.name for scope in r.graph.scopes]
    assert {v.name for v in graph.initializers} == {name for name, _ in net.named_parameters()}
    for node in graph.nodes:  # each parameter at the module that holds it
        if node.op_type == "AccumulateGrad":
            assert node.inputs[0].name.rpartition(".")[0] == forward[node.name].fqn
    assert [v.name for v in graph.outputs] == ["NllLossBackward0:0"]
    assert collapse(graph, 1).nodes


def vit() -> nn.Module:
    return torchvision.models.VisionTransformer(16, 8, num_layers=2, num_heads=2, hidden_dim=8, mlp_dim=16)


def test_a_vision_transformer() -> None:
    net = vit()
    with Recorder(net) as r:
        loss = net(torch.rand(2, 3, 16, 16)).sum()
        loss.backward()
    found = ties(r)
    assert all(forward is not None for _, forward in found)
    assert found["NativeLayerNormBackward0", "LayerNorm"] == 5
    assert found["GeluBackward0", "GELU"] == 2
    assert found["AccumulateGrad", "MultiheadAttention"] == 8
    assert found["CatBackward0", "cat"] == 1
    assert [n.op_type for n in r.autograd.nodes] == [n.op_type for n in autograd_graph(loss).nodes]


def test_an_lstm() -> None:
    net = Net(lambda self, t: self.head(self.lstm(t)[0][:, -1]), lstm=nn.LSTM(4, 3, batch_first=True), head=linear(3))
    with Recorder(net) as r:
        loss = net(x(2, 5, 4)).sum()
        loss.backward()
    forward = made_by(r)
    assert {n.name for n in checked(r).nodes} == set(forward)
    assert Counter(node.op_type for node in forward.values())["LSTM"] >= 6  # how many depends on the kernels
    assert {v.name for v in r.autograd.initializers} == {name for name, _ in net.named_parameters()}
    assert r.autograd.nodes[-1].op_type == "SumBackward0"


def branches(self: Any, t: Tensor) -> Tensor:
    return self.one(t) + self.two(t).relu()


def test_every_node_and_its_place() -> None:
    inner = Block(lambda self, t: self.fc(t).relu_() * 2, fc=linear())
    net = Net(branches, one=linear(), two=inner)
    given = x().requires_grad_()
    with Recorder(net) as r:
        loss = net(given).sum()
    assert places(r) == [
        "Net: AccumulateGrad < one",
        "Net: TBackward0 < one",
        "Net: AccumulateGrad < one",
        "Net: MmBackward0 < one",
        "two: AccumulateGrad < two.fc",
        "two: TBackward0 < two.fc",
        "two: MmBackward0 < two.fc",
        "two: ReluBackward0 < two.relu_",
        "two: MulBackward0 < two.mul",
        "Net: ReluBackward0 < relu",
        "Net: AddBackward0 < add",
        "None: SumBackward0 < sum",
    ]
    assert [v.name for v in r.autograd.inputs] == ["input"]
    assert [v.name for v in r.autograd.initializers] == ["one.weight", "two.fc.weight"]
    assert loss.grad_fn is not None


def test_without_functions_only_what_is_certain() -> None:
    inner = Block(lambda self, t: self.fc(t * 2).relu(), fc=linear())
    net = Net(lambda self, t: self.last(self.inner(t) + 1), inner=inner, last=linear())
    with Recorder(net, functions=False) as r:
        out = net(x().requires_grad_())
        out.sum().backward()
    assert places(r) == [
        "None: AccumulateGrad < None",
        "None: MulBackward0 < None",
        "None: AccumulateGrad < None",
        "None: TBackward0 < None",
        "inner: MmBackward0 < inner.fc",
        "Net: ReluBackward0 < None",
        "Net: AddBackward0 < None",
        "Net: AccumulateGrad < None",
        "Net: TBackward0 < None",
        "Net: MmBackward0 < last",
    ]


def test_calls_of_the_same_module() -> None:
    shared = Block(lambda self, t: self.fc(t).tanh(), fc=linear())
    net = Net(lambda self, t: self.part(self.part(t)), part=shared)
    with Recorder(net) as r:
        losses = [net(x()).sum() for _ in range(2)]
    assert [s.name for s in checked(r).scopes] == ["Net", "part", "part#1", "Net#1", "part#2", "part#3"]
    assert len(losses) == len(r.autograd.outputs)


def test_a_parameter_stands_with_its_first_use_in_what_is_left() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    with Recorder(net) as r:
        losses = [net(x()).sum() for _ in range(2)]
    del losses[0]
    assert [s.name for s in checked(r).scopes] == ["Net#1"]
    assert places(r)[0] == "Net#1: AccumulateGrad < fc#1"


class Double(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        return t * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def test_a_function_of_the_users_is_nobody_elses() -> None:
    inner = Block(lambda self, t: Double.apply(t.exp()).relu(), fc=linear())
    net = Net(lambda self, t: self.last(Double.apply(self.inner(t))), inner=inner, last=linear())
    with Recorder(net) as r:
        loss = net(x().requires_grad_()).sum()
    assert [place for place in places(r) if "TBackward" not in place and "Accumulate" not in place] == [
        "inner: ExpBackward0 < inner.exp",
        "inner: DoubleBackward < None",
        "inner: ReluBackward0 < inner.relu",
        "Net: DoubleBackward < None",
        "Net: MmBackward0 < last",
        "None: SumBackward0 < sum",
    ]
    assert loss.grad_fn is not None


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointing(reentrant: bool) -> None:
    inner = Block(lambda self, t: self.fc(t).tanh(), fc=linear())

    def forward(self: Any, t: Tensor) -> Tensor:
        return self.last(checkpoint(self.inner, t.exp(), use_reentrant=reentrant))

    net = Net(forward, inner=inner, last=linear())
    with Recorder(net) as r:
        for _ in range(2):
            loss = net(x().requires_grad_()).sum()
            loss.backward()
    inside = (
        ["Net#1: CheckpointFunctionBackward < None"]
        if reentrant
        else ["inner#1: MmBackward0 < inner.fc#1", "inner#1: TanhBackward0 < inner#1.tanh"]
    )
    assert [place for place in places(r) if "TBackward" not in place and "Accumulate" not in place] == [
        "Net#1: ExpBackward0 < Net#1.exp",
        *inside,
        "Net#1: MmBackward0 < last#1",
        "None: SumBackward0 < sum_1",
    ]


def test_what_was_computed_before_the_block_is_nobodys() -> None:
    net, early = Net(lambda self, t: self.fc(t), fc=linear()), x().requires_grad_().exp().sin()
    late = x().requires_grad_().cos()
    with Recorder(net) as r:
        loss = (net(early) * late).sum()
    found = places(r)
    assert {"None: ExpBackward0 < None", "None: SinBackward0 < None", "None: CosBackward0 < None"} <= set(found)
    assert "Net: MmBackward0 < fc" in found
    assert loss.grad_fn is not None


def test_what_was_computed_in_between_is_nobodys() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    with Recorder(net) as r:
        aside = x().requires_grad_().cos()
        out = net(x())
        aside = aside.sin()
        loss = (out * aside).sum()
    assert {"None: CosBackward0 < None", "None: SinBackward0 < None"} <= set(places(r))
    assert loss.grad_fn is not None


def test_views_that_are_written() -> None:
    def forward(self: Any, t: Tensor) -> Tensor:
        t = self.fc(t)
        row = t[0]
        t.mul_(2)
        row.add_(1)
        return self.last(t) + row

    net = Net(forward, fc=Block(lambda self, t: self.fc(t), fc=linear()), last=Block(lambda self, t: t.exp()))
    with Recorder(net) as r:
        loss = net(x()).sum()
    graph = checked(r)
    assert "CopySlices" in {n.op_type for n in graph.nodes}
    assert {n.name for n in graph.nodes} == set(made_by(r))
    assert loss.grad_fn is not None


def test_double_backward() -> None:
    net = Net(lambda self, t: self.fc(t).tanh(), fc=linear())
    given = x().requires_grad_()
    with Recorder(net, autograd=True) as r:
        (slope,) = torch.autograd.grad(net(given).sum(), given, create_graph=True)
        slope.norm().backward()
    found = ties(r)
    assert found["TanhBackward0", "tanh"] == 1
    assert found["TanhBackwardBackward0", "grad"] == 1
    assert found["LinalgVectorNormBackward0", "norm"] == 1


def test_what_another_thread_has_made_is_nobodys() -> None:
    net = Net(lambda self, t: self.fc(t).tanh(), fc=linear())
    with Recorder(net) as r:
        out, elsewhere = net(x()), []
        thread = threading.Thread(target=lambda: elsewhere.append(out.exp().sin().cos()))
        thread.start()
        thread.join()
        loss = (out * elsewhere[0]).sum()
    found = places(r)
    assert {f"None: {name}Backward0 < None" for name in ("Exp", "Sin", "Cos")} <= set(found)
    assert {"Net: TanhBackward0 < tanh", "None: MulBackward0 < mul", "None: SumBackward0 < sum"} <= set(found)
    assert loss.grad_fn is not None


@pytest.mark.parametrize("like", ["a call's", "one within a call"])
def test_a_number_that_another_thread_has_counted_to_as_well_ties_nothing(like: str) -> None:
    """Every thread counts its autograd nodes from 0, so numbers of one are in the range of the other's calls."""
    made: list[Tensor] = []

    def elsewhere(given: Tensor, wanted: int) -> None:
        result = given.exp()
        while result.grad_fn._sequence_nr() < wanted:  # type: ignore[union-attr]
            result = given.exp()
        made.append(result)

    def run() -> None:
        net = Net(lambda self, t: self.b(self.a(t)), a=linear(), b=linear())
        numbers: dict[str, int] = {}
        for name in "ab":
            note = lambda m, args, out, name=name: numbers.update({name: out.grad_fn._sequence_nr()})  # noqa: E731
            net.get_submodule(name).register_forward_hook(note)
        with Recorder(net) as r:
            out = net(x())
            wanted = numbers["a"] if like == "a call's" else numbers["b"] - 1
            alone(partial(elsewhere, out, wanted))
            kept = (out * made[0]).sum()
        assert made[0].grad_fn._sequence_nr() == wanted  # type: ignore[union-attr]
        assert kept.grad_fn is not None
        found.extend(places(r))

    found: list[str] = []
    alone(run)
    assert "None: ExpBackward0 < None" in found
    assert {"Net: MmBackward0 < a", "Net: MmBackward0 < b"} <= set(found)


def alone(run: Callable[[], None]) -> None:
    """Run something on a thread of its own."""
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()


# Reading while the run goes on


def one_liner(net: nn.Module, given: Tensor) -> None:
    net(given).sum().backward()


def through_the_module(net: nn.Module, given: Tensor) -> None:
    torch.autograd.backward(net(given).sum())


def by_grad(net: nn.Module, given: Tensor) -> None:
    torch.autograd.grad(net(given).sum(), list(net.parameters()))


@pytest.mark.parametrize("run", [one_liner, through_the_module, by_grad])
def test_one_liners(run: Callable[[nn.Module, Tensor], None]) -> None:
    net = Net(lambda self, t: self.fc(t).tanh(), fc=linear())
    with Recorder(net, autograd=True) as r:
        run(net, x())
        inside = dumps(r.autograd)
    assert places(r) == [
        "Net: AccumulateGrad < fc",
        "Net: TBackward0 < fc",
        "Net: MmBackward0 < fc",
        "Net: TanhBackward0 < tanh",
        "None: SumBackward0 < sum",
    ]
    assert dumps(r.autograd) == inside


def test_a_backward_whose_beginning_no_mode_sees(monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of `torch.autograd.backward` below torch 2.11."""
    monkeypatch.setattr("recorder.capture.backward_hooks._BEGINS_UNSEEN", True)
    net = Net(lambda self, t: self.fc(t).tanh(), fc=linear())
    with Recorder(net, autograd=True) as r:
        for _ in range(2):
            run = partial(_engine_run_backward, allow_unreachable=True, accumulate_grad=True)
            run((net(x()).sum(),), (torch.ones(()),), False, False, ())
    assert [n.op_type for n in checked(r).nodes][-2:] == ["TanhBackward0", "SumBackward0"]
    assert {scope.call for scope in r.autograd.scopes} == {1}


def test_one_liners_without_functions() -> None:
    net = Net(lambda self, t: self.fc(t).tanh(), fc=linear())
    with Recorder(net, functions=False, autograd=True) as r:
        one_liner(net, x())
    assert [n.op_type for n in checked(r).nodes][-1] == "TanhBackward0"


def test_what_is_left_after_backward_does_not_replace_the_whole() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    with Recorder(net, autograd=True) as r:
        out = net(x())
        (out * 2).sum().backward()
    assert [n.op_type for n in checked(r).nodes][-2:] == ["MulBackward0", "SumBackward0"]
    assert out.grad_fn is not None


def test_of_several_steps_the_last() -> None:
    net, images, labels = resnet()
    optimizer = torch.optim.SGD(net.parameters())
    with Recorder(net, autograd=True) as r:
        for _ in range(3):
            optimizer.zero_grad()
            functional.cross_entropy(net(images), labels).backward()
            optimizer.step()
    graph = checked(r)
    assert {scope.call for scope in graph.scopes} == {2}
    assert len(graph.nodes) == 134
    assert len(made_by(r)) == 134


def test_two_losses_of_one_step() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    with Recorder(net, autograd=True) as r:
        out = net(x())
        (out.sum() + 1).backward(retain_graph=True)
        other = out.exp().mean()
        other.backward()
    assert [n.op_type for n in checked(r).nodes][-2:] == ["ExpBackward0", "MeanBackward0"]


def test_a_recorder_that_is_entered_again() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    r = Recorder(net, autograd=True)
    with r:
        one_liner(net, x())
    assert [scope.name for scope in checked(r).scopes] == ["Net"]
    with r:
        one_liner(net, x())
    assert [scope.name for scope in checked(r).scopes] == ["Net#1"]


# Exporters


@pytest.mark.parametrize("format", TEXTS)
def test_every_text_format_takes_it(format: str) -> None:
    net, images, labels = resnet()
    with Recorder(net, autograd=True) as r:
        functional.cross_entropy(net(images), labels).backward()
    text = export(r.autograd, format, depth=None)
    text = text if isinstance(text, str) else text.decode()
    assert "MaxPool2DWithIndicesBackward0" in text
    if format == "dot":
        assert text.count("subgraph cluster_") == len(r.autograd.scopes) == 16


# What it leaves alone


def test_the_same_bytes_from_run_to_run() -> None:
    def run() -> Graph:
        net, images, labels = resnet()
        with Recorder(net, autograd=True) as r:
            functional.cross_entropy(net(images), labels).backward()
        return r.autograd

    first, second = run(), run()
    for name in TEXTS:
        assert export(first, name) == export(second, name)


def test_nothing_is_kept_alive() -> None:
    net = Net(lambda self, t: self.fc(t).tanh(), fc=linear())
    given = x().requires_grad_()
    with Recorder(net, autograd=True) as r:
        loss = net(given).sum()
        loss.backward()
    graph = r.autograd
    assert loss.grad_fn is not None
    marks = [nn.Identity(), nn.Identity()]  # autograd nodes take no weak references
    loss.grad_fn.metadata["mark"] = marks[0]
    loss.grad_fn.next_functions[0][0].metadata["mark"] = marks[1]
    dead = [weakref.ref(thing) for thing in (net, net.fc.weight, given, loss, *marks)]
    del net, given, loss, marks
    gc.collect()
    assert [reference() for reference in dead] == [None] * len(dead)
    assert r.autograd == graph


class Ops(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        return func(*args, **(kwargs or {}))


def test_the_run_is_the_same() -> None:
    def run(record: bool) -> tuple[list[str], list[Tensor]]:
        net, images, labels = resnet()
        ops = Ops()

        def step() -> None:
            with ops:
                functional.cross_entropy(net(images), labels).backward()

        if record:
            with Recorder(net, autograd=True):
                step()
        else:
            step()
        return ops.seen, [p.grad for p in net.parameters() if p.grad is not None]

    (plain_ops, plain), (recorded_ops, recorded) = run(False), run(True)
    assert plain_ops == recorded_ops
    assert len(plain) == len(recorded) > 0
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded))


def test_when_everything_is_gone() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    with Recorder(net) as r:
        one_liner(net, x())
    with pytest.raises(RecorderError, match=r"Keep the loss or the output .* Recorder\(net, autograd=True\)"):
        _ = r.autograd
    with Recorder(net, autograd=True) as r, torch.no_grad():
        net(x())
    with pytest.raises(RecorderError, match="gradients on") as caught:
        _ = r.autograd
    assert "autograd=True" not in str(caught.value)
    with pytest.raises(RecorderError):
        _ = Recorder(net).autograd


def test_what_was_read_stays() -> None:
    net = Net(lambda self, t: self.fc(t), fc=linear())
    with Recorder(net) as r:
        loss = net(x()).sum()
    graph = r.autograd
    del loss
    assert r.autograd == graph
