"""Faults that were planted are found where they are, and sound runs are silent. Plain hooks say how far tensors are."""

import copy
import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
import transformers
from support.models import Net, linear
from torch import Tensor, nn

from recorder import Divergence, Graph, Recorder, RecorderError, diverge, loads, save

SMALL = {"vocab_size": 50, "n_embd": 32, "n_layer": 3, "n_head": 2, "bos_token_id": 0, "eos_token_id": 0}


def recorded(net: nn.Module, *inputs: Any, **named: Any) -> Graph:
    with torch.no_grad(), Recorder(net, values="digest") as r:
        net(*inputs, **named)
    return r.graph


@cache
def images() -> Tensor:
    return torch.randn(4, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@cache
def resnet(name: str = "resnet18") -> nn.Module:
    """Its statistics fit what it is given: in eval they would make numbers explode otherwise."""
    torch.manual_seed(0)
    net = torchvision.models.get_model(name, weights=None).train()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
    with torch.no_grad():
        net(images())
    return net.eval()


@cache
def sound(name: str = "resnet18", training: bool = False) -> Graph:
    return recorded(copy.deepcopy(resnet(name)).train(training), images())


def off(name: str, layer: str, factor: float) -> nn.Module:
    net = copy.deepcopy(resnet(name))
    weight = net.get_submodule(layer).weight
    assert isinstance(weight, Tensor)
    weight.data *= factor
    return net


class Wrapped(nn.Module):
    """A ResNet under other names, its parts in other blocks."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
        self.stages = nn.ModuleList([net.layer1, net.layer2, net.layer3, net.layer4])
        self.pool, self.head = net.avgpool, net.fc

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.head(torch.flatten(self.pool(x), 1))  # type: ignore[no-any-return]


def name_of(net: nn.Module, layer: nn.Module) -> str:
    return next(name for name, module in net.named_modules() if module is layer)


def check_named(found: Divergence, layer: str) -> None:
    assert found
    assert found.first is not None
    assert found.first.fqn == layer, found.why
    assert [row.b for row in found.rows if row.first] == [found.first]
    assert layer in found.why


def faults(name: str, layer: str) -> Iterator[tuple[Divergence, str]]:
    """Weights of a layer that are one percent off: as it is, in training, and under other names."""
    net = off(name, layer, 1.01)
    yield diverge(sound(name), recorded(net, images())), layer
    renamed = Wrapped(net)
    yield diverge(sound(name), recorded(renamed, images())), name_of(renamed, net.get_submodule(layer))
    yield diverge(sound(name, training=True), recorded(net.train(), images())), layer


@pytest.mark.parametrize("layer", ["conv1", "layer2.0.downsample.0", "layer4.1.conv2"])
def test_a_weight_that_is_one_percent_off_is_named(layer: str) -> None:
    for found, name in faults("resnet18", layer):
        check_named(found, name)
        row = next(row for row in found.rows if row.first)
        assert row.given == 0
        assert row.made == pytest.approx(0.01, rel=0.35)


@pytest.mark.slow
def test_each_convolution_in_turn_is_named() -> None:
    layers = [name for name, module in resnet().named_modules() if isinstance(module, nn.Conv2d)]
    assert len(layers) == 20
    for layer in layers:
        for found, name in faults("resnet18", layer):
            check_named(found, name)
        net = off("resnet18", layer, 1.15).bfloat16()
        check_named(diverge(sound(), recorded(net, images().bfloat16())), layer)


@pytest.mark.parametrize("layer", ["conv1", "layer3.0.conv2"])
def test_in_bfloat16_a_sound_copy_is_silent_and_fifteen_percent_are_named(layer: str) -> None:
    copied = copy.deepcopy(resnet()).bfloat16()
    clean = diverge(sound(), recorded(copied, images().bfloat16()))
    assert not clean, clean.why
    assert not clean.given  # they were rounded, which is no other input
    assert "which is carried" in clean.why
    check_named(diverge(sound(), recorded(off("resnet18", layer, 1.15).bfloat16(), images().bfloat16())), layer)


def test_one_channel_alone_is_seen_where_it_is() -> None:
    net = copy.deepcopy(resnet())
    net.get_submodule("layer2.1.conv1").weight.data[5] *= 1.1  # type: ignore[index, operator]
    check_named(diverge(sound(), recorded(net, images())), "layer2.1.conv1")


def test_another_run_layout_and_double_precision_are_silent() -> None:
    again = diverge(sound(), recorded(resnet(), images()), tolerance=0.0)
    assert not again
    assert again.why == "all bits of all results that were compared are the same"
    shuffled = recorded(copy.deepcopy(resnet()).to(memory_format=torch.channels_last), images())  # type: ignore[call-overload]
    assert not diverge(sound(), shuffled)
    assert not diverge(sound(), recorded(copy.deepcopy(resnet()).double(), images().double()))


def test_distances_are_those_of_the_tensors_that_plain_hooks_keep() -> None:
    nets = resnet(), off("resnet18", "layer1.0.conv1", 1.05)
    kept: list[dict[str, list[Tensor]]] = [{}, {}]
    graphs = []
    for net, tensors in zip(nets, kept):

        def keep(name: str, tensors: dict[str, list[Tensor]] = tensors) -> Any:
            return lambda module, args, output: tensors.setdefault(name, []).append(output.clone())

        handles = [module.register_forward_hook(keep(name)) for name, module in net.named_modules()]
        graphs.append(recorded(net, images()))
        for handle in handles:
            handle.remove()
    found = diverge(*graphs)
    compared = 0
    for row in found.rows:
        if row.b.fqn is not None and row.made and not row.b.fqn.endswith("relu"):  # that is written in place
            one, other = (tensors[row.b.fqn][row.b.call or 0] for tensors in kept)
            true = ((one - other).norm() / max(one.norm(), other.norm())).item()
            assert row.made == pytest.approx(true, rel=0.5), row.b
            compared += 1
    assert compared > 30


@cache
def gpt2() -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    one, other = (
        transformers.GPT2LMHeadModel(transformers.GPT2Config(**SMALL, attn_implementation=kernel)).eval()
        for kernel in ("sdpa", "eager")
    )
    other.load_state_dict(one.state_dict())
    return one, other


def test_another_kernel_of_attention_is_silent_and_a_wrong_one_is_named() -> None:
    ids = {"input_ids": torch.arange(16).reshape(2, 8)}
    one, other = gpt2()
    right = recorded(one, **ids)
    found = diverge(right, recorded(other, **ids))
    assert not found, found.why
    assert {side for side, _ in found.unaligned} == {"a", "b"}
    assert "only in a: " in str(found)
    wrong = copy.deepcopy(other)
    wrong.transformer.h[1].attn.scaling *= 1.3
    check_named(diverge(right, recorded(wrong, **ids)), "transformer.h.1.attn")


def test_dropout_with_another_seed_is_named() -> None:
    net = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.3), nn.Linear(32, 4)).train()
    batch = torch.randn(6, 8)

    def run(seed: int) -> Graph:
        torch.manual_seed(seed)
        return recorded(net, batch)

    assert not diverge(run(1), run(1), 0)
    for tolerance in ("dtype", 0.0):
        found = diverge(run(1), run(2), tolerance)  # type: ignore[arg-type]
        check_named(found, "1")
        assert "random numbers" in found.why


class Shaky(nn.Module):
    """Its second call is the next number off, if it is to be."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.shakes = linear(), linear(), False

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).exp()
        return self.b(y.mul(1 + 1.2e-7 * self.shakes))  # type: ignore[no-any-return]


def test_the_first_bit_that_differs_is_found_if_nothing_is_tolerated() -> None:
    net, batch = Shaky(), torch.randn(2, 4)
    before = recorded(net, batch)
    net.shakes = True
    after = recorded(net, batch)
    assert not diverge(before, after)
    found = diverge(before, after, tolerance=0)
    assert found.first is not None
    assert found.first.op_type == "mul"
    assert "the same to the bit" in found.why


def test_a_tolerance_is_what_a_call_may_add() -> None:
    net = nn.Sequential(linear(), nn.Tanh(), linear())
    other = copy.deepcopy(net)
    other[0].weight.data *= 1.02
    graphs = [recorded(each, torch.ones(2, 4)) for each in (net, other)]
    assert diverge(*graphs, tolerance=0.01)
    assert not diverge(*graphs, tolerance=0.05)
    for wrong in (-1.0, math.nan, "none"):
        with pytest.raises(ValueError, match="it is 'dtype', or a number from 0 on"):
            diverge(*graphs, tolerance=wrong)  # type: ignore[arg-type]


def test_other_inputs_are_told_and_nobody_is_blamed() -> None:
    net, batch = nn.Sequential(linear(), nn.ReLU(), linear()), torch.rand(2, 4)
    found = diverge(recorded(net, batch), recorded(net, batch * 1.3))
    assert not found
    assert [given.name for given in found.given] == ["input"]
    assert "different inputs: input" in found.why
    embedding = nn.Sequential(nn.Embedding(9, 4), linear())
    found = diverge(*(recorded(embedding, torch.tensor([[1, last]])) for last in (2, 3)))
    assert not found, found.why
    assert found.given


def test_a_nan_is_an_infinite_difference() -> None:
    net = Net(lambda net, x: net.a(x).sub(net.shift).sqrt().relu(), a=linear())
    net.shift = -100.0
    before = recorded(net, torch.ones(2, 4))
    net.shift = 100.0
    found = diverge(before, recorded(net, torch.ones(2, 4)))
    assert found.first is not None
    assert found.first.op_type == "sub"
    assert math.isinf(next(row for row in found.rows if row.b.op_type == "sqrt").made)


class Doubled(torch.autograd.Function):
    """Its gradient is right, or a tenth off."""

    factor = 2.0

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        return gradient * Doubled.factor


def trained(net: nn.Module, steps: int = 1) -> Graph:
    torch.manual_seed(1)
    net = copy.deepcopy(net)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with Recorder(net, values="digest", gradients="digest") as r:
        for _ in range(steps):
            optimizer.zero_grad()
            net(torch.randn(6, 4)).pow(2).sum().backward()
            optimizer.step()
    return r.graph


def test_a_wrong_gradient_is_found_in_backward(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    net = Net(lambda net, x: net.b(Doubled.apply(net.a(x)).tanh()), a=linear(), b=linear())  # type: ignore[no-untyped-call]
    before = trained(net)
    assert not diverge(before, trained(net), 0)
    monkeypatch.setattr(Doubled, "factor", 2.2)
    found = diverge(before, trained(net))
    assert found.first is not None
    assert found.first.op_type == "mul"
    assert next(row for row in found.rows if row.first).phase == "backward"


def test_several_steps_are_compared_step_by_step() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(linear(), nn.Tanh(), linear())
    before = trained(net, 3)
    again = diverge(before, trained(net, 3), 0)
    assert not again
    assert sum(row.phase == "forward" for row in again.rows) == 9
    assert sum(row.phase == "backward" for row in again.rows) == 9
    other = copy.deepcopy(net)
    other[2].weight.data *= 1.01
    found = diverge(before, trained(other, 3))
    check_named(found, "2")
    assert found.first is not None
    assert found.first.call == 0


def test_a_recording_without_digests_is_refused(tmp_path: Path) -> None:
    net, batch = linear(), torch.ones(2, 4)
    with Recorder(net, values="stats") as r:
        net(batch)
    with pytest.raises(RecorderError, match=r"recording b .* values='digest'"):
        diverge(recorded(net, batch), r)
    assert not diverge(recorded(net, batch), save(recorded(net, batch), tmp_path / "net.json"))


def test_a_file_that_says_anything_is_compared_as_far_as_it_goes() -> None:
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    graphs = [recorded(net, torch.ones(2, 4)) for _ in range(2)]
    last, middle = graphs[1].nodes[-1].outputs[0], graphs[1].nodes[1].outputs[0]
    last.meta["digest"]["sketch"] = [1.0]
    middle.meta["digest"] = {"sample": [], "sketch": [], "bits": 0}
    found = diverge(*graphs)
    assert not found
    assert found.unmeasured == 2
    assert "not compared: 2 calls" in str(found)


def test_pictures_and_words(tmp_path: Path) -> None:
    net, batch = nn.Sequential(linear(), nn.Sequential(linear(), nn.ReLU())), torch.ones(2, 4)
    before = recorded(net, batch)
    net[1][0].weight.data *= 1.1
    found = diverge(before, recorded(net, batch))
    graph = found.graph()
    graph.lint()
    assert loads(save(found, tmp_path / "parted.json").read_bytes()) == graph
    told = {place.name: place.meta["divergence"] for place in (*graph.nodes, *graph.scopes)}
    assert told["1.0"]["first"]
    assert told["1.0"]["added"] == told["1"]["added"] > 0.01
    assert told["0"]["added"] == 0
    assert "error added" in save(found, tmp_path / "parted.mmd").read_text()
    assert "error added" not in save(found, tmp_path / "kinds.mmd", color_by="kind").read_text()
    assert save(found, tmp_path / "parted.md").read_text().startswith("**Sequential: the numbers part first at 1.0**")
    lines = str(found).splitlines()
    assert lines[1] == found.why
    assert [line.split()[1] for line in lines if line.startswith(">")] == ["1.0"]
    assert repr(found) == "<Divergence of Sequential and Sequential: first at 1.0>"
    assert not any("divergence" in node.meta for node in found.b.nodes)
