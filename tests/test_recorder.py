"""The contract of `Recorder`: what it takes, what it hands out and when, and that it is the same from run to run."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import ONE_CALL, Block, Net, in_words, linear, net_with_relu, written, x
from torch import Tensor, nn

from recorder import EventStream, Graph, Recorder, RecorderError, assemble

# What it takes


@pytest.mark.parametrize("wrong", [None, torch.relu, torch.ones(1), nn.Linear, "net"])
def test_what_is_no_module_is_refused(wrong: Any) -> None:
    with pytest.raises(TypeError, match=f"torch.nn.Module objects, and was given {type(wrong).__name__}"):
        Recorder(wrong)
    with pytest.raises(TypeError):
        Recorder(linear(), wrong)


def test_entering_a_recorder_that_is_recording_is_refused() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        with pytest.raises(RecorderError, match="recording already"), r:
            pass
        net(x())
    assert in_words(r.graph) == written(ONE_CALL)


def test_a_recorder_that_was_never_entered_is_empty() -> None:
    r = Recorder(net_with_relu())
    assert len(r.events) == 0
    assert len(r.graph.nodes) == 0
    assert list(r.graphs) == []


def test_repr_says_what_is_recorded() -> None:
    net = linear()
    r = Recorder(net)
    assert repr(r) == "<Recorder of torch.nn.modules.linear.Linear, recorded>"
    with r:
        assert repr(r).endswith("recording>")
        net(x())


def test_a_net_that_is_gone_before_the_block_ends() -> None:
    with pytest.warns(RuntimeWarning, match="it is gone: keep the model"), Recorder(net_with_relu()) as r:
        pass
    assert len(r.graph.nodes) == 0


# What it hands out, and when


def test_the_graph_inside_the_block_is_what_is_there_so_far() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        assert len(r.graph.nodes) == 0
        y = net(x())
        assert in_words(r.graph) == written(ONE_CALL)
        y.sum()
        assert [node.name for node in r.graph.nodes] == ["fc", "relu", "sum"]
    assert [node.name for node in r.graph.nodes] == ["fc", "relu", "sum"]
    assert r.graph is r.graph
    r.graph.lint()


def test_the_graph_inside_forward() -> None:
    seen: list[Graph] = []

    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        seen.append(r.graph)
        return y.relu()

    net = Net(forward, fc=linear())
    with Recorder(net) as r:
        net(x())
    seen[0].lint()
    assert in_words(seen[0]) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        outputs:
    """)
    assert in_words(r.graph) == written(ONE_CALL)


def test_events_are_a_stream_that_assembles_to_the_same_graph(tmp_path: Path) -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        net(x()).sum().backward()
    assert isinstance(r.events, EventStream)
    r.events.save(tmp_path / "run.jsonl")
    loaded = EventStream.load(tmp_path / "run.jsonl")
    assert list(loaded) == list(r.events)
    assert assemble(loaded) == r.graph
    assert loaded.header.model == "support.models.Net"
    assert loaded.header.torch == torch.__version__
    assert loaded.header.created.endswith("+00:00")


def test_one_graph_for_each_outermost_call() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        first = net(x())
        net.fc(x())
        net(first).sum()
    assert [in_words(graph) for graph in r.graphs] == [
        written(ONE_CALL),
        written("""
            inputs: input
            fc = Linear(input, fc.weight)
            outputs: fc:0
        """),
        written("""
            inputs: input
            Net: fc = Linear(input, fc.weight)
            Net: relu = relu(fc:0)
            sum = sum(relu:0)
            outputs: relu:0
        """),
    ]
    for graph in r.graphs:
        graph.lint()


def test_the_same_recorder_entered_again_goes_on() -> None:
    net = net_with_relu()
    r = Recorder(net)
    with r:
        y = net(x())
    net(x())
    with r:
        net(y)
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        Net#1: fc#1 = Linear(relu:0, fc.weight)
        Net#1: Net#1.relu = relu(fc#1:0)
        outputs: relu:0 Net#1.relu:0
    """)


def test_what_follows_an_exception_is_recorded_too() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        with pytest.raises(RuntimeError):
            net(x(2, 5))
        net(x())
    r.graph.lint()
    assert [(node.name, node.error is None) for node in r.graph.nodes] == [
        ("fc", False),
        ("fc#1", True),
        ("Net#1.relu", True),
    ]


# The same from run to run

PROGRAM = """
import sys, torch
from torch import nn
from recorder import Recorder

torch.manual_seed(0)
net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 2, enable_nested_tensor=False)
with Recorder(net) as r:
    net(torch.randn(5, 2, 8)).sum().backward()
sys.stdout.write(r.export("json"))
"""


@pytest.mark.slow
def test_the_same_program_gives_the_same_bytes() -> None:
    def run(seed: str) -> bytes:
        return subprocess.run(
            [sys.executable, "-c", PROGRAM], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True
        ).stdout

    first = run("1")
    assert len(first) > 10_000
    assert first == run("2")


@pytest.mark.parametrize("format", ["json", "dot", "mermaid", "onnx-json"])
def test_recording_twice_gives_the_same_bytes(format: str) -> None:
    net = Net(lambda net, x: net.block(net.block(x)).relu(), block=Block(lambda block, x: block.fc(x), fc=linear()))
    exports = []
    for _ in range(2):
        with Recorder(net) as r:
            net(x()).sum().backward()
        exports.append(r.export(format))
    assert exports[0] == exports[1]


# Size


@pytest.mark.slow
def test_a_very_deep_graph_is_freed_without_a_crash() -> None:
    program = """
import torch
from torch import nn
from recorder import Recorder

class Deep(nn.Module):
    def forward(self, x):
        for _ in range(60_000):
            x = x + 1
        return x

net = Deep()
with Recorder(net) as r:
    y = net(torch.ones(1, requires_grad=True))
del y
print(len(r.events))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60_000
