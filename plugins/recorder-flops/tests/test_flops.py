"""Counted beside torch.utils.flop_counter, which looks at the kernels that ran and knows nothing of a recording."""

import re
from pathlib import Path

import pytest
import recorder_flops
import torch
from recorder_flops import flops
from torch import nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from recorder import Node, Recorder, Value
from recorder.plugins.manager import Plugins
from recorder.testing import sample_graphs

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """This plugin, and no other that may be installed."""
    plugins = Plugins(entries=())
    plugins.register(recorder_flops, "flops")
    monkeypatch.setattr("recorder.recorder.installed", lambda: plugins)


class Net(nn.Module):
    def __init__(self, function, *members):
        super().__init__()
        self.members, self.function = nn.ModuleList(members), function

    def forward(self, *args):
        return self.function(*self.members, *args)


def x(*shape):
    return torch.ones(shape)


CASES = {
    "linear": (Net(lambda m, a: m(a), nn.Linear(5, 7)), x(2, 3, 5)),
    "F.linear": (Net(F.linear), x(2, 5), x(7, 5), x(7)),
    "conv1d": (Net(lambda m, a: m(a), nn.Conv1d(4, 6, 3, stride=2)), x(2, 4, 9)),
    "conv2d, in groups": (Net(lambda m, a: m(a), nn.Conv2d(4, 8, 3, padding=1, groups=2)), x(2, 4, 6, 5)),
    "conv3d": (Net(lambda m, a: m(a), nn.Conv3d(2, 3, 2)), x(1, 2, 4, 4, 4)),
    "F.conv2d": (Net(F.conv2d), x(1, 4, 6, 6), x(8, 4, 3, 3)),
    "transposed": (Net(lambda m, a: m(a), nn.ConvTranspose2d(4, 6, 3, stride=2)), x(2, 4, 5, 5)),
    "@": (Net(lambda a, b: a @ b), x(3, 4), x(4, 5)),
    "matmul of many": (Net(torch.matmul), x(2, 6, 3, 4), x(4, 5)),
    "bmm": (Net(torch.bmm), x(2, 3, 4), x(2, 4, 5)),
    "addmm": (Net(torch.addmm), x(5), x(3, 4), x(4, 5)),
    "baddbmm": (Net(torch.baddbmm), x(2, 3, 5), x(2, 3, 4), x(2, 4, 5)),
    "attention": (Net(F.scaled_dot_product_attention), x(2, 3, 4, 8), x(2, 3, 6, 8), x(2, 3, 6, 8)),
    "nothing to count": (Net(lambda a: a.relu() + 1), x(3)),
}


def counted(net, *args):
    """By torch, and by us; the two look at two runs, so that neither sees the other. Torch is to do attention by its
    products of matrices: which of its kernels of attention have a formula differs from version to version.
    """
    with torch.no_grad():
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            net(*args)
        with Recorder(net) as r:
            net(*args)
    return counter.get_total_flops(), sum(node.meta.get("flops", 0) for node in r.graph.nodes)


@pytest.mark.parametrize("case", CASES)
def test_it_counts_as_torch_does(case):
    theirs, ours = counted(*CASES[case])
    assert ours == theirs
    assert (ours > 0) == (case != "nothing to count")


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "densenet121"])
def test_real_models_to_the_last_digit(name):
    from torchvision import models

    theirs, ours = counted(getattr(models, name)().eval(), x(1, 3, 64, 64))
    assert ours == theirs > 0


@pytest.mark.parametrize(
    ("op_type", "shapes"),
    [
        ("Linear", [(2, -1)]),
        ("Linear", []),
        ("matmul", [(2, 2)]),
        ("Conv2d", [(1, 2, 3, 3)]),
        ("Conv2d", [(1, 2, 3, 3), (4,)]),
        ("scaled_dot_product_attention", [(2,), (2,)]),
        ("LSTM", [(2, 2)]),
    ],
)
def test_what_cannot_be_told_is_not(op_type, shapes):
    inputs = tuple(Value(str(i), shape, "float32", "cpu") for i, shape in enumerate(shapes))
    made = Value("made", (2, 2), "float32", "cpu")
    assert flops(Node("it", "function", op_type, op_type, inputs=inputs, outputs=(made,))) is None


def test_a_call_that_failed_has_no_count():
    graph = sample_graphs()["error"]
    recorder_flops.recorder_annotate_graph(graph)
    assert [node.meta for node in graph.nodes] == [{"flops": 32}, {}]


def test_every_sample_is_annotated_and_lints():
    annotated = {}
    for name, graph in sample_graphs().items():
        before = {node.name: dict(node.meta) for node in graph.nodes}
        recorder_flops.recorder_annotate_graph(graph)
        graph.lint()
        found = {node.name: node.meta["flops"] for node in graph.nodes if "flops" in node.meta}
        for node in graph.nodes:  # nothing else is written
            assert {key: told for key, told in node.meta.items() if key != "flops"} == before[node.name]
        annotated |= {name: found} if found else {}
    assert annotated == {
        "tiny": {"fc": 16},
        "residual": {"layer1.conv": 1179648, "layer2.conv": 1179648},
        "branching": {"branches.0.fc": 32, "branches.1.fc": 32, "branches.2.fc": 32},
        "recursive": {"cell.fc": 32, "cell.fc#1": 32, "cell.fc#2": 32},
        "in_place": {"fc": 32},
        "error": {"fc1": 32},
    }


def test_the_example_of_the_readme():
    (block,) = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names = {"x": x(1, 3, 224, 224)}
    exec(block, names)
    results = [line.split("  # ") for line in block.splitlines() if "  # " in line]
    assert len(results) == 2
    for source, told in results:
        assert repr(eval(source, names)) == told
