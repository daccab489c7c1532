"""A long chain in columns, or rows: as wide as a page, and without a blemish."""

import re
import shutil
from collections import Counter

import pytest
import torch
from recorder_exporters.dot import drawing_of
from recorder_exporters.drawing.columns import in_columns
from recorder_exporters.drawing.dot_drawing import Drawing, Places
from recorder_exporters.drawing.layout import Layout, layout_of
from recorder_exporters.graphviz import graphviz
from support.blemishes import blemishes
from torch import nn

import recorder
from recorder import Graph, OptionError, Recorder
from recorder.testing import chain

pytestmark = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's dot on PATH")


def stages() -> Graph:
    """Frames in a frame, one after another, and something after them."""
    parts = [nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4 + 0 * i), nn.Tanh()) for i in range(6)]
    parts = [nn.Sequential(*part, *[nn.GELU()] * i) for i, part in enumerate(parts)]
    net = nn.Sequential(nn.Sequential(*parts), nn.Linear(4, 2), nn.Sigmoid())
    with Recorder(net) as r:
        net(torch.zeros(1, 4))
    return r.graph


def size(svg: str | bytes) -> tuple[float, float]:
    assert isinstance(svg, str)
    found = re.search(r'width="(\d+)pt" height="(\d+)pt"', svg)
    assert found is not None
    return float(found[1]), float(found[2])


def words(svg: str | bytes) -> Counter[str]:
    """Of all labels, however they are divided into lines."""
    assert isinstance(svg, str)
    return Counter(" ".join(re.findall(r"<text[^>]*>([^<]*)</text>", svg)).replace("&#160;", " ").split())


def laid_out(graph: Graph, columns: int, direction: str = "TB") -> tuple[Drawing, Layout, Layout]:
    drawing = drawing_of(graph, direction=direction, wrap=columns)  # type: ignore[arg-type]
    text = graphviz("json", 60).run(drawing.at(Places(), numbered=True), "-Tjson").decode()
    layout = layout_of(text)
    return drawing, layout, in_columns(drawing, layout, columns, direction == "LR")


@pytest.mark.parametrize("direction", ["TB", "LR"])
@pytest.mark.parametrize("make", [lambda: chain(60), stages], ids=["chain", "stages"])
@pytest.mark.parametrize("columns", [2, 3])
def test_a_chain_is_broken_and_has_no_blemish(make: object, columns: int, direction: str) -> None:
    graph = make()  # type: ignore[operator]
    whole = recorder.export(graph, "svg", direction=direction, depth=None)
    broken = recorder.export(graph, "svg", direction=direction, depth=None, wrap=columns)
    assert isinstance(broken, str)
    assert blemishes(broken).all() == []
    along = 1 if direction == "TB" else 0
    assert size(broken)[along] < size(whole)[along] * (1.45 if make is stages else 1.2) / columns + 120
    assert words(broken) == words(whole)


@pytest.mark.parametrize("direction", ["TB", "LR"])
def test_frames_hold_their_boxes_and_no_others_and_arrows_reach_both_ends(direction: str) -> None:
    drawing, before, after = laid_out(stages(), 3, direction)
    assert ({*after.boxes}, {*after.arrows}) == ({*before.boxes}, {*before.arrows})
    boxes = list(after.boxes.values())
    assert not any(one.meets(other) for number, one in enumerate(boxes) for other in boxes[:number])
    for id, rect in after.boxes.items():
        around, frame = set(), drawing.boxes[id].frame
        while frame is not None:
            around.add(frame)
            frame = drawing.frames[frame].parent
        for number, found in after.frames.items():
            inside = found.bounds.left <= rect.left and rect.right <= found.bounds.right
            inside = inside and found.bounds.low <= rect.low and rect.high <= found.bounds.high
            assert inside if number in around else not rect.meets(found.bounds)
    for number, (path, _) in after.arrows.items():
        for id, (x, y) in ((drawing.arrows[number].tail, path[0]), (drawing.arrows[number].head, path[-1])):
            near = after.boxes[id].wider(2)
            assert near.left <= x <= near.right
            assert near.low <= y <= near.high


def test_what_is_no_chain_says_so() -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(4, 4) for _ in range(12))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.cat([part(x).sin() for part in self.parts], 1)

    with Recorder(net := Wide()) as r:
        net(torch.zeros(1, 4))
    with pytest.raises(OptionError, match="wrap=2 breaks a long chain, and here is none"):
        recorder.export(r.graph, "svg", depth=None, fold=False, wrap=2)


@pytest.mark.parametrize("wrap", [0, -1, 21])
def test_a_number_of_columns_that_cannot_be_is_refused(wrap: int) -> None:
    with pytest.raises(OptionError, match=f"wrap is {wrap}"):
        recorder.export(chain(5), "dot", wrap=wrap)
