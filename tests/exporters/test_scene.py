"""What is drawn, before any format: read as plain data, and written in a format of a few lines."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import torch
from recorder_exporters.drawing.fields import fields
from recorder_exporters.drawing.scene import Frame, Line, Part, Role, Scene, scene_of
from recorder_exporters.drawing.styles import STYLES
from recorder_exporters.drawing.themes import THEMES
from torch import nn

from recorder import Graph, Node, Recorder, Scope, Value, fold
from recorder.testing import HOSTILE_NAMES, bearing, sample_graphs

SAMPLES = sample_graphs()


def scene(graph: Graph, **options: Any) -> Scene:
    return scene_of(graph, **{"shown": fields(None, shapes=True), "theme": THEMES["light"], **options})


def said(line: Line) -> str:
    return " ".join(part.text for part in line if part.text)


def outline(scene: Scene) -> Iterator[str]:
    """A third format: an outline in plain text."""
    frame: Frame | None = None
    for box in scene.boxes:
        indent = "  " * (0 if box.frame is None else box.frame.depth + 1)
        if box.frame is not None and box.frame is not frame:
            yield f"{indent[2:]}{said(box.frame.lines[0])}:"
        frame = box.frame
        yield f"{indent}{box.kind} {' | '.join(map(said, box.lines))}"
    for arrow in scene.arrows:
        yield f"{said(arrow.tail.lines[0])} -> {said(arrow.head.lines[0])} {said(arrow.words)}".rstrip()


def test_a_third_format_is_a_few_lines() -> None:
    assert list(outline(scene(SAMPLES["residual"]))) == [
        "tensor input | 1×8×32×32 float32",
        "  layer1 Block:",
        "    operation Conv2d | conv",
        "    operation BatchNorm2d | bn",
        "    operation add",
        "  layer2 Block:",
        "    operation Conv2d | conv",
        "    operation BatchNorm2d | bn",
        "    operation add",
        "output output | 1×8×32×32 float32",
        "input -> Conv2d",
        "Conv2d -> BatchNorm2d 1×8×32×32 float32",
        "BatchNorm2d -> add 1×8×32×32 float32",
        "input -> add",
        "add -> Conv2d 1×8×32×32 float32",
        "Conv2d -> BatchNorm2d 1×8×32×32 float32",
        "BatchNorm2d -> add 1×8×32×32 float32",
        "add -> add 1×8×32×32 float32",
        "add -> output",
    ]


@pytest.mark.parametrize("name", SAMPLES)
def test_every_node_and_every_use_is_drawn_once(name: str) -> None:
    graph = SAMPLES[name]
    drawn = scene(graph, initializers=True)
    assert [box.subject for box in drawn.boxes if box.kind == "operation"] == list(graph.nodes)
    assert [box.subject for box in drawn.boxes if box.kind == "output"] == list(graph.outputs)
    assert [frame.scope for frame in drawn.frames] == list(graph.scopes)
    uses = Counter((v.producer or v, n) for n in graph.nodes for v in n.inputs)
    uses += Counter((v.producer or v, v) for v in graph.outputs)
    assert Counter((arrow.tail.subject, arrow.head.subject) for arrow in drawn.arrows) == uses
    place = {box: number for number, box in enumerate(drawn.boxes)}
    assert all(place[arrow.tail] < place[arrow.head] for arrow in drawn.arrows)


@pytest.mark.parametrize("name", SAMPLES)
def test_what_is_said_is_plain_data_in_known_roles(name: str) -> None:
    drawn = scene(SAMPLES[name], initializers=True, lists=True)
    lines = [line for thing in (*drawn.boxes, *drawn.frames) for line in thing.lines]
    lines += [arrow.words for arrow in drawn.arrows]
    assert {part.role for line in lines for part in line} <= set(get_args(Role))
    assert {box.look for box in drawn.boxes} <= set(STYLES)
    assert all(box.lines[0] and box.details for box in drawn.boxes)


@pytest.mark.parametrize("name", [*HOSTILE_NAMES, "<b>&amp;\\n]"])
def test_names_come_through_without_markup(name: str) -> None:
    names = [line[0].text for box in scene(bearing(name)).boxes for line in box.lines]
    assert name in names


def test_a_parameter_of_one_module_is_a_line_where_a_format_has_lists() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with Recorder(net) as recording:
        net(torch.ones(2, 4))
    members = [(Part("member", "weight"), Part("shape", "4×4")), (Part("member", "bias"), Part("shape", "4"))]
    listed, boxed = (scene(recording.graph, initializers=True, lists=lists) for lists in (True, False))
    assert [line for box in listed.boxes for line in box.lines if line[0].role == "member"] == members
    assert not [line for box in boxed.boxes for line in box.lines if line[0].role == "member"]
    assert [box.look for box in boxed.boxes].count("parameter") == 2
    assert [box.look for box in listed.boxes].count("parameter") == 0


def test_an_error_is_told_by_the_innermost_alone_whatever_is_between() -> None:
    outer = Scope("", 0, "Net", name="Net", error="ValueError: no")
    between = Scope("block", 0, "Block", outer, "block")
    node = Node("block.fc", "module", "Linear", "", "block.fc", 0, between, error="ValueError: no")
    drawn = scene(Graph([node], scopes=[outer, between]))
    assert [line for frame in drawn.frames for line in frame.lines if line[0].role == "error"] == []
    assert [box.lines[-1] for box in drawn.boxes] == [(Part("error", "ValueError: no"),)]


def test_a_parameter_that_is_given_was_there_before() -> None:
    weight = Value("w", (1,), "float32", "cpu", True, None, "parameter")
    given = Value("x", (1,), "float32", "cpu", role="input")
    graph = Graph([Node("mul", "function", "mul", "torch.mul", inputs=(weight, given))], inputs=[given, weight])
    assert [(arrow.value.name, arrow.stored) for arrow in scene(graph).arrows] == [("w", True), ("x", False)]


def test_legend_scale_and_note_say_what_occurs() -> None:
    graph = fold(SAMPLES["branching"])
    plain, coloured = scene(graph), scene(graph, colour_by="time")
    assert {style.meaning for style in plain.legend} == {STYLES[box.look].meaning for box in plain.boxes}
    assert plain.scale is None
    assert coloured.scale is not None
    assert {box.look for box in coloured.boxes if box.kind == "operation"} <= set(coloured.styles) - set(STYLES)


def test_a_gradient_goes_back_along_an_arrow_only_if_asked_for() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with Recorder(net) as recording:
        net(torch.ones(2, 4)).sum().backward()
    for on, expected in ((False, []), (True, ["0>1", "1>sum"])):
        back = [arrow for arrow in scene(recording.graph, backward=on).arrows if arrow.gradient]
        assert [f"{arrow.tail.subject.name}>{arrow.head.subject.name}" for arrow in back] == expected
