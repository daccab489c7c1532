"""Parameters that others take the place of while gradients are recorded: the graph is that of a run without."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Net, in_words, linear, x
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from recorder import EventStream, Recorder, assemble
from recorder.capture.backward_hooks import Gradients

KEPT: list[Any] = []
"""What was replaced: its memory must not be used again, or which tensors share some is a matter of luck."""


def doubled(net: Any, x: Tensor) -> Tensor:
    KEPT.append(net.fc.weight)
    net.fc.weight = nn.Parameter(net.fc.weight.detach() * 2)
    return net.fc(x)


def afterwards(net: Any, x: Tensor) -> Tensor:
    y = net.fc(x @ net.fc.weight)
    KEPT.append(net.fc.weight)
    net.fc.weight = nn.Parameter(torch.ones(4, 4))
    return y


def made(net: Any, x: Tensor) -> Tensor:
    KEPT.append(getattr(net, "w", None))
    net.w = nn.Parameter(torch.ones(4, 4))
    return net.fc(x @ net.w)


def another(net: Any, x: Tensor) -> Tensor:
    before = x @ net.fc.weight
    KEPT.append(net.fc)
    net.fc = nn.Linear(4, 4)
    return net.fc(before)


def by_hand(net: Any, x: Tensor) -> Tensor:
    net.made.weight = net.v * net.g
    return net.made(net.fc(x))


def with_weights_by_hand() -> nn.Module:
    made = nn.Linear(4, 4)
    del made.weight
    return Net(by_hand, fc=linear(), made=made, v=nn.Parameter(torch.ones(4, 4)), g=nn.Parameter(torch.ones(4, 1)))


NETS: dict[str, Callable[[], nn.Module]] = {
    "doubled": lambda: Net(doubled, fc=nn.Linear(4, 4)),
    "afterwards": lambda: Net(afterwards, fc=nn.Linear(4, 4)),
    "made": lambda: Net(made, fc=nn.Linear(4, 4)),
    "another layer": lambda: Net(another, fc=nn.Linear(4, 4)),
    "by hand": with_weights_by_hand,
    "normed": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(4, 4))),
}


def between(net: Any) -> None:
    """What the code around the model does."""
    net(x()).sum().backward()
    if isinstance(net, Net):
        KEPT.append(net.fc.weight)
        net.fc.weight = nn.Parameter(torch.ones(4, 4))


def by_call(net: nn.Module) -> None:
    stand_ins = {name: nn.Parameter(p.detach() * 2) for name, p in net.named_parameters()}
    torch.func.functional_call(net, stand_ins, (x(),)).sum().backward()


STEPS: dict[str, Callable[[nn.Module], Any]] = {
    "step": lambda net: net(x()).sum().backward(),
    "between": between,
    "functional call": by_call,
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", NETS)
def test_a_recording_of_gradients_is_whole(name: str, step: str, tmp_path: Path) -> None:
    def run(gradients: Gradients, **options: Any) -> Recorder:
        torch.manual_seed(0)
        net = NETS[name]()
        KEPT.append(net)
        with Recorder(net, gradients=gradients, **options) as r:
            STEPS[step](net)
            STEPS[step](net)
        return r

    for options in ({}, {"stream": tmp_path / "run.jsonl"}, {"values": "stats"}):
        plain = run("calls", **options)  # type: ignore[arg-type]
        words, remarks = in_words(plain.graph), plain.summary().remarks
        for gradients in ("on", "stats"):
            r = run(gradients, **options)  # type: ignore[arg-type]
            r.graph.lint()
            assert in_words(r.graph) == words
            assert r.summary().remarks == remarks
            assert assemble(EventStream.load(r.events.save(tmp_path / "saved.jsonl"))) == r.graph
            for part in r.graphs:
                part.lint()
            str(r.graph.gradient_report())
    KEPT.clear()
