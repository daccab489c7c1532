"""An error of our own is never the run's: whatever part of the recorder fails, the run goes on as it would have.

Each place of the hot path is made to fail, always or now and then, while real networks train.
"""

import contextlib
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Net, linear, same, x
from support.planted import failing
from torch import Tensor, nn
from torchvision.models import resnet18

import recorder.capture.function_mode
import recorder.capture.module_hooks
import recorder.capture.modules
from recorder import EventStream, Recorder
from recorder.autograd.reading import LatestReading
from recorder.capture.awaited_nodes import AwaitedNodes
from recorder.capture.backward_hooks import Backward
from recorder.capture.function_mode import Recording
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.module_hooks import Capture
from recorder.capture.modules import Modules
from recorder.capture.outside_calls import OutsideCalls
from recorder.capture.session import Session

PLACES: list[tuple[Any, str]] = [
    (KnownTensors, "encode"),
    (KnownTensors, "encode_keywords"),
    (KnownTensors, "made"),
    (KnownTensors, "refer"),
    (KnownTensors, "meet"),
    (KnownTensors, "_derive"),
    (Backward, "watch"),
    (Backward, "watch_parameters"),
    (Backward, "opens"),
    (Backward, "_meet"),
    (AwaitedNodes, "reached"),
    (KnownTensors, "_meet"),
    (Modules, "add"),
    (Modules, "is_own"),
    (KnownTensors, "of"),
    (KnownTensors, "now"),
    (OutsideCalls, "is_held"),
    (Modules, "meet"),
    (Capture, "_begin"),
    (Capture, "_open"),
    (Capture, "_write"),
    (recorder.capture.modules, "Kind"),
    (Capture, "_made_by_leaf"),
    (recorder.capture.module_hooks, "facts"),
    (recorder.capture.function_mode, "facts"),
    (Capture, "_handed_back"),
    (Recording, "_made"),
]
OF_THE_MODE = (Recording, recorder.capture.function_mode)
"""There is none where functions are not recorded."""

CASES = [
    (home, name, how)
    for home, name in PLACES
    for how in (True, False)
    if (not how or name != "_derive") and (how or home not in OF_THE_MODE)  # where functions are seen, all edges are
]


def mixed() -> nn.Module:
    """Parts, functions, keyword arguments, several results, a fused layer, a module made on the way."""

    def forward(self: Net, x: Tensor) -> Tensor:
        x = self.body(input=self.pool(x[:, None])[0][:, 0]) + torch.cat(x.reshape(2, 4).split(2, dim=1), dim=1)
        x = nn.functional.dropout(x, p=0.5, training=self.training)
        x = self.attention(x[:, None])[:, 0]
        return nn.Sequential(nn.ReLU(), nn.Identity())(x)

    attention = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
    return Net(forward, body=linear(), pool=nn.AdaptiveMaxPool1d(4, return_indices=True), attention=attention)


def step(net: nn.Module, data: Tensor, r: Recorder | None) -> tuple[Any, ...]:
    """Three passes, so that what is called once in each fails every third time, too; their loss is a module."""
    torch.manual_seed(0)
    net.zero_grad()
    out = []
    with contextlib.nullcontext() if r is None else r:
        for _ in range(3):
            out.append(net(data))
            nn.MSELoss()(out[-1], torch.ones(2, 4)).backward()
    return out, [p.grad for p in net.parameters()], dict(net.named_buffers()), torch.random.get_rng_state()


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(("home", "name", "functions"), CASES, ids=[f"{h.__name__}.{n}-{f}" for h, n, f in CASES])
def test_whatever_fails_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch, home: Any, name: str, functions: bool, every: int
) -> None:
    torch.manual_seed(0)
    net, data = mixed(), x()
    expected = step(net, data, None)
    failed: list[int] = []
    monkeypatch.setattr(home, name, failing(getattr(home, name), every, failed))
    # Where gradients of functions are recorded, another mode writes of each, without this short way.
    short = home.__name__.endswith("function_mode") and name == "facts"
    r = Recorder(net, functions=functions, gradients="calls" if short else "on")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert same(step(net, data, r), expected)
    monkeypatch.undo()
    assert failed, "the planted fault never fired"
    assert len(told) == 1
    assert "ZeroDivisionError: planted" in str(told[0].message)
    r.graph.lint()


def test_the_places_are_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    reached = set()
    for home, name in PLACES:
        original = getattr(home, name)

        def spy(*args: Any, _name: str = name, _original: Any = original, **kwargs: Any) -> Any:
            reached.add(_name)
            return _original(*args, **kwargs)

        monkeypatch.setattr(home, name, spy)
    net = mixed()
    for functions in (True, False):
        step(net, x(), Recorder(net, functions=functions, gradients="on"))
    assert reached == {name for _, name in PLACES}


def test_what_failed_is_said_in_the_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    net = resnet18(num_classes=5)
    calls = 0
    original = recorder.capture.module_hooks.facts

    def fails(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ZeroDivisionError("planted")
        return original(*args)

    monkeypatch.setattr(recorder.capture.module_hooks, "facts", fails)
    with pytest.warns(RuntimeWarning, match="failed at 1 places"), Recorder(net) as r:
        net(x(2, 3, 32, 32))
    graph = r.graph
    graph.lint()
    (node,) = [node for node in graph.nodes if node.error]
    assert (node.op_type, node.fqn) == ("ReLU", "relu")
    assert node.error == "not recorded: ZeroDivisionError: planted"
    assert len(graph.nodes) == 69


class Hostile:
    """An argument that raises whatever is asked of it."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("do not touch")


class HostileMapping(dict[str, Any]):
    def items(self) -> Any:
        raise RuntimeError("do not look")

    values = items


def test_arguments_that_raise_when_looked_at_are_the_users_own_business() -> None:
    net = Net(lambda self, x, y, z: self.fc(x), fc=linear())
    data = x()
    expected = net(data, Hostile(), z=HostileMapping(a=1))
    with warnings.catch_warnings(record=True), Recorder(net) as r:
        warnings.simplefilter("always")
        assert same(net(data, Hostile(), z=HostileMapping(a=1)), expected)
    r.graph.lint()
    assert "Linear" in [node.op_type for node in r.graph.nodes]


@pytest.mark.parametrize(
    ("home", "place"),
    [(Session, "_take"), (Session, "_decode"), (LatestReading, "read")],
    ids=["take", "decode", "read"],
)
def test_what_fails_between_calls_and_at_the_end_is_told_once(
    home: Any, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, data = mixed().eval(), x()
    expected = net(data)
    failed: list[int] = []
    monkeypatch.setattr(home, place, failing(getattr(home, place), 1, failed))
    r = Recorder(net, stream=tmp_path / "run", autograd=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with r:
            assert same(net(data), expected)
            net(data).sum().backward()
    assert ["planted" in str(warning.message) for warning in told] == [True]
    assert len(failed) >= 2
    assert EventStream.load(tmp_path / "run").truncated


def test_the_error_of_the_run_comes_out_although_ours_fails_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Session, "_take", failing(Session._take, 1, []))
    with pytest.warns(RuntimeWarning, match="planted"), pytest.raises(KeyError, match="mine"), Recorder(mixed()):
        raise KeyError("mine")
