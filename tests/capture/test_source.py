"""Where functions are called, if that is asked for."""

from pathlib import Path
from typing import Any

import pytest
from support.models import Net, linear, x
from torch import Tensor, nn

from recorder import EventStream, Recorder, assemble, dumps, export, loads


def here(text: str) -> str:
    """The file and line in which a text stands here."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (line,) = [number for number, found in enumerate(lines, 1) if found.strip().partition("  #")[0] == text]
    return f"{__file__}:{line}"


def forward(net: Any, x: Tensor) -> Tensor:
    x = x.exp()
    x = nn.functional.relu(net.fc(x))
    x = nn.functional.interpolate(x[None], scale_factor=2.0)[0]
    return net.fc(x[:, :4]) + 1


EXPECTED = {
    "exp": "x = x.exp()",
    "relu": "x = nn.functional.relu(net.fc(x))",
    "interpolate": "x = nn.functional.interpolate(x[None], scale_factor=2.0)[0]",
    "add": "return net.fc(x[:, :4]) + 1",
}


@pytest.mark.parametrize("autograd", [True, False])
def test_functions_say_where_they_were_called(autograd: bool, tmp_path: Path) -> None:
    net = Net(forward, fc=linear())
    with Recorder(net, source=True, autograd=autograd) as r:
        net(x())
    nodes = {node.op_type: node for node in r.graph.nodes}
    assert {name: nodes[name].meta["source"] for name in EXPECTED} == {name: here(t) for name, t in EXPECTED.items()}
    assert "source" not in nodes["Linear"].meta
    assert f"called in {here(EXPECTED['exp'])}" in export(r.graph, "dot", depth=None)
    assert loads(dumps(r.graph)).nodes[0].meta["source"] == here(EXPECTED["exp"])
    path = r.events.save(tmp_path / "run.jsonl")
    assert assemble(EventStream.load(path)).nodes[0].meta["source"] == here(EXPECTED["exp"])


def test_one_that_failed_says_it_too() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        return x @ x  # 2 x 4

    net = Net(forward)
    with pytest.raises(RuntimeError, match="cannot be multiplied"), Recorder(net, source=True) as r:
        net(x())
    (node,) = r.graph.nodes
    assert node.error is not None
    assert node.meta["source"] == here("return x @ x")


def test_nothing_is_said_that_nobody_asked_for() -> None:
    net = Net(forward, fc=linear())
    with Recorder(net) as r:
        net(x())
    assert not any("source" in node.meta for node in r.graph.nodes)
