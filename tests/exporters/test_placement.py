"""Pictures without a blemish: no words that an edge runs through, that lie on a box, or on other words."""

import re
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
import torch
from recorder_exporters.dot import drawing_of
from recorder_exporters.drawing.dot_drawing import Places
from support.blemishes import blemishes
from torch import Tensor, nn
from torchvision import models

import recorder
from recorder import Graph, Recorder, collapse
from recorder.testing import chain, sample_graphs

pytestmark = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's dot on PATH")


class Unrolled(nn.Module):
    """A GRU by hand: many edges side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.h = nn.Linear(4, 24), nn.Linear(8, 24)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[1], 8)
        for step in x:
            a, b = self.i(step).chunk(3, -1), self.h(h).chunk(3, -1)
            r, z = (a[0] + b[0]).sigmoid(), (a[1] + b[1]).sigmoid()
            h = (1 - z) * (a[2] + r * b[2]).tanh() + z * h
        return h


class Nested(nn.Module):
    """Frames in frames with long titles, and an edge round all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.a_rather_long_name = nn.Sequential(nn.Sequential(nn.Sequential(nn.Linear(4, 4)), nn.ReLU()), nn.Tanh())

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.a_rather_long_name(x)
        return torch.cat([x * 2, y], -1), y


def recorded(net: nn.Module, *shape: int) -> Graph:
    with Recorder(net) as r:
        out = net(torch.zeros(shape, device=next(net.parameters()).device))
        if not out[0].is_meta:
            sum(part.sum() for part in (out if isinstance(out, tuple) else (out,))).backward()
    return r.graph


@cache
def of_torchvision(name: str) -> Graph:
    with torch.device("meta"):
        net = models.get_model(name, weights=None).eval()
    return recorded(net, 1, 3, 224, 224)


QUICK: dict[str, Callable[[], Graph]] = {
    "unrolled": lambda: recorded(Unrolled(), 3, 2, 4),
    "nested": lambda: recorded(Nested(), 2, 4),
    "resnet18": lambda: of_torchvision("resnet18"),
}

ZOO = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "maxvit_t", "mobilenet_v3_small",
    "shufflenet_v2_x1_0", "squeezenet1_0", "swin_t", "vit_b_16",
)  # fmt: skip


def checked(graph: Graph, titles: int = 0, **options: object) -> None:
    svg = recorder.export(graph, "svg", **options)  # type: ignore[arg-type]
    assert isinstance(svg, str)
    found = blemishes(svg)
    assert found.all() == []
    assert found.texts["cluster"] >= titles


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize(
    "options", [{}, {"backward": True}, {"direction": "LR"}, {"depth": None, "fast": True}], ids=str
)
def test_no_words_are_covered_or_crossed(name: str, options: dict[str, object]) -> None:
    checked(QUICK[name](), titles={"unrolled": 0, "nested": 6, "resnet18": 4}[name], **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_no_words_are_covered_or_crossed_in_real_models(name: str) -> None:
    checked(of_torchvision(name), titles=1)


@pytest.mark.parametrize("name", sample_graphs())
def test_samples_are_drawn_without_a_blemish(name: str) -> None:
    svg = recorder.export(sample_graphs()[name], "svg")
    assert isinstance(svg, str)
    found = blemishes(svg)
    assert found.crossed_titles + found.crossed_labels + found.crossed_nodes + found.through_boxes == []


def by_dot(text: str) -> str:
    return subprocess.run(["dot", "-Tsvg"], input=text.encode(), capture_output=True, check=True).stdout.decode()


def test_the_checker_sees_what_dot_alone_does() -> None:
    drawing = drawing_of(collapse(of_torchvision("resnet18"), 2))
    assert len(blemishes(by_dot(drawing.at(Places()))).crossed_titles) >= 3


def test_dot_leads_no_arrow_down_a_column_through_a_title() -> None:
    text = recorder.export(of_torchvision("resnet18"), "dot")
    assert isinstance(text, str)
    assert blemishes(by_dot(text)).crossed_titles == []


@pytest.mark.parametrize("name", QUICK)
def test_every_shape_is_told_or_counted(name: str) -> None:
    graph = QUICK[name]()
    svg = recorder.export(graph, "svg", depth=None, fold=False)
    assert isinstance(svg, str)
    told = {value for node in graph.nodes for value in node.outputs if value.uses and value not in graph.outputs}
    counted = re.search(r"no room for ([\d,]+) shape", svg)
    assert blemishes(svg).texts["edge"] / 2 + (int(counted[1]) if counted else 0) >= len(told) > 3


def test_a_chain_runs_straight() -> None:
    svg = recorder.export(chain(12), "svg", depth=None)
    assert isinstance(svg, str)
    paths = re.findall(r'class="edge".*?<path fill="none"[^>]* d="([^"]*)"', svg, re.DOTALL)
    for path in paths:
        xs = [float(x) for x in re.findall(r"(-?[\d.]+),-?[\d.]+", path)]
        assert all(abs(a - b) < 1 for a, b in pairwise(xs))
