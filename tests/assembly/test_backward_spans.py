"""How long backward is at a call, by a clock that counts autograd nodes, and beside a witness that searches them."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.backward_witness import recorded
from support.models import Block, Net, linear, x
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torchvision.models import googlenet, resnet18

from recorder import EventStream, Recorder, Scope, assemble
from recorder.events import Enter, Grad, Op


def own() -> Block:
    """A module of one's own that ends in functions."""
    block = Block(lambda block, x: torch.sigmoid(x @ block.weight.T @ block.weight))
    block.weight = nn.Parameter(torch.randn(4, 4))
    return block


def residual() -> Block:
    return Block(lambda b, x: x + b.fc(b.own(b.norm(x))).relu_(), norm=nn.LayerNorm(4), own=own(), fc=linear())


def parallel() -> Block:
    def forward(block: Any, x: Tensor) -> Tensor:
        return block.one(x) + block.other(x) * block.third(x).tanh()

    return Block(forward, one=nn.Sequential(linear(), own()), other=own(), third=nn.Linear(4, 4))


def thrice(block: Any, x: Tensor) -> Tensor:
    for _ in range(3):
        x = block.part(x)
    return x


def in_place(block: Any, x: Tensor) -> Tensor:
    y: Tensor = block.fc(x)
    y.mul_(2)
    y[:, 0] = 1
    y.view(-1).add_(1)
    return y.relu_() + x


def checkpointed(reentrant: bool) -> Block:
    return Block(lambda block, x: checkpoint(block.part, x, use_reentrant=reentrant), part=residual())


def behind_a_layer(*parts: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), *parts, nn.Linear(4, 2))


NETS: dict[str, Callable[[], nn.Module]] = {
    "own": lambda: behind_a_layer(own(), own()),
    "residual": lambda: behind_a_layer(residual(), residual()),
    "without bias": lambda: nn.Sequential(linear(), linear(), linear()),
    "parallel": lambda: behind_a_layer(parallel(), parallel()),
    "shared": lambda: behind_a_layer(Block(thrice, part=residual())),
    "in place": lambda: behind_a_layer(Block(in_place, fc=linear()), nn.ReLU(inplace=True)),
    "reentrant": lambda: behind_a_layer(checkpointed(True), own()),
    "checkpoint": lambda: behind_a_layer(checkpointed(False), own()),
    "handed on": lambda: behind_a_layer(nn.Sequential(nn.Identity(), nn.Dropout(0.0)), own()),
}


def batch(name: str) -> Tensor:
    return torch.randn(3, 2, 4) if name in ("own", "residual", "without bias") else x()  # matrices of more dimensions


@pytest.mark.parametrize("options", [{}, {"gradients": "on"}, {"functions": False}], ids=["", "gradients", "modules"])
@pytest.mark.parametrize("name", NETS)
def test_the_time_of_every_call_is_that_of_its_own_nodes(
    name: str, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    net, data = NETS[name](), batch(name)
    graph, expected, places = recorded(net, lambda net: net(data).square().mean(), monkeypatch, **options)
    graph.lint()
    assert len(expected) >= 2
    assert {call: places[call].backward_ns for call in expected} == expected
    unreached = places.keys() - expected.keys()
    assert {places[call].backward_ns for call in unreached} <= {None, 0}


@pytest.mark.parametrize("net", [resnet18, lambda: googlenet(aux_logits=False, init_weights=False)])
def test_no_time_of_a_vision_model_is_missing(net: Callable[[], nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    data = torch.randn(2, 3, 64, 64)
    _, expected, places = recorded(net(), lambda net: net(data).square().mean(), monkeypatch)
    assert {call: places[call].backward_ns for call in expected} == expected
    assert sum(isinstance(places[call], Scope) for call in expected) > 10


@pytest.mark.parametrize("gradients", ["calls", "on"])
def test_attention_and_losses_are_timed_as_a_whole(gradients: str, monkeypatch: pytest.MonkeyPatch) -> None:
    layers = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 8, batch_first=True), 2)
    net = Net(
        lambda net, x: net.loss(net.head(net.layers(net.first(x))).flatten(0, 1), torch.tensor([0, 1, 1, 0, 1, 0])),
        first=nn.Linear(4, 4), layers=layers, head=nn.Linear(4, 2), loss=nn.CrossEntropyLoss(),
    )  # fmt: skip
    data = torch.randn(3, 2, 4)
    _, expected, places = recorded(net, lambda net: net(data), monkeypatch, gradients=gradients)
    told = {call: places[call].backward_ns for call in expected}
    unknown = {call for call, time in told.items() if time is None}
    assert {call: time for call, time in told.items() if time is not None} == {
        call: time for call, time in expected.items() if call not in unknown
    }
    assert expected["layers.layers.0.self_attn", 0] > 10
    assert expected["loss", 0] == told["loss", 0] == 2 or gradients == "calls"
    # After the loss, and before it, is a function: where these are not looked at, that of the loss is not known.
    assert unknown == ({("loss", 0)} if gradients == "calls" else set())


def test_where_nothing_was_seen_before_a_scope_its_time_is_not_known() -> None:
    net = nn.Sequential(own(), own())
    with Recorder(net) as r:
        net(x()).sum().backward()
    assert {scope.name: scope.backward_ns is None for scope in r.graph.scopes} == {
        "Sequential": True, "0": True, "1": False
    }  # fmt: skip


def test_every_pass_must_be_known() -> None:
    net = nn.Sequential(linear(), own())
    with Recorder(net) as r:
        middle = net[0](x())
        out = net[1](middle).sum()
        out.backward(retain_graph=True)
        torch.autograd.grad(out, [middle])
    (scope,) = r.graph.scopes
    assert scope.meta["backward"]["passes"] == 2
    assert scope.backward_ns is None  # the second pass ended in front of the layer before


def test_passes_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def twice(net: nn.Module) -> Tensor:
        loss = net(data).sum()
        loss.backward(retain_graph=True)
        return loss

    data, net = x(), nn.Sequential(linear(), own())
    graph, expected, _ = recorded(net, twice, monkeypatch)
    by_name = {scope.name: scope.backward_ns for scope in graph.scopes}
    # The clock stands still in the first pass.
    assert by_name == {"Sequential": expected["", 0], "1": expected["1", 0]}
    assert graph.scopes[0].meta["backward"]["passes"] == 2


def test_times_that_contradict_are_none() -> None:
    """As of several devices, each of which has a thread of its own."""
    net = nn.Sequential(linear(), own(), linear())
    with Recorder(net) as r:
        net(x()).sum().backward()
    events = list(r.events)
    first = next(event.call for event in events if isinstance(event, Op) and event.call is not None)
    late = max(event.ns for event in events if isinstance(event, Grad)) + 1_000
    changed = [
        Grad(e.call, e.phase, late, e.backward, e.gradients, e.stats, e.sequence_nr)
        if isinstance(e, Grad) and e.call not in (first, next(c.call for c in events if isinstance(c, Enter)))
        else e
        for e in events
    ]
    graph = assemble(EventStream(changed, header=r.events.header))
    assert {scope.name: scope.backward_ns for scope in graph.scopes} == {"Sequential": None, "1": None}


def test_what_left_a_scope_is_what_left_its_only_way_out() -> None:
    net = behind_a_layer(nn.Sequential(linear(), own()), residual())
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    told = {scope.name: scope.meta["backward"] for scope in r.graph.scopes}
    layer = next(node.meta["backward"] for node in r.graph.nodes if node.name == "1.0")
    assert told["1"]["left"] == layer["left"]
    assert "left" not in told["2"]  # by the residual, too
    assert "left" not in told["1.1"] or told["1.1"]["left"] != layer["left"]


def test_what_hands_its_input_on_takes_no_time_and_hands_its_gradient_on() -> None:
    net = nn.Sequential(nn.Linear(4, 3), nn.Identity(), nn.Linear(3, 2))
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    identity = next(node for node in r.graph.nodes if node.name == "1")
    assert identity.backward_ns == 0
    assert identity.meta["backward"]["left"] == identity.meta["backward"]["arrived"]
    assert [event.phase for event in r.events if isinstance(event, Grad)].count(
        "leave"
    ) == 3  # of two layers, and of the sum


def test_several_autograd_nodes_are_said_to_be_several() -> None:
    net = Net(lambda net, x: net.loss(net.fc(x), torch.tensor([0, 1])), fc=nn.Linear(4, 2), loss=nn.CrossEntropyLoss())
    with Recorder(net, gradients="on") as r:
        (net(x()) + F.cross_entropy(net.fc(x()), torch.tensor([1, 1]))).backward()
    several = [node.name for node in r.graph.nodes if node.meta.get("backward", {}).get("several")]
    assert several == ["loss", "cross_entropy"]
