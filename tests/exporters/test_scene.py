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
from recorder_exporters.drawing.words import short_name
from torch import nn

import recorder
from recorder import Graph, Node, Recorder, Scope, Value, fold
from recorder.figures import stats_in_words
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
    assert [box.subject for box in drawn.boxes if box.kind == "output"] == list(dict.fromkeys(graph.outputs))
    assert [frame.scope for frame in drawn.frames] == list(graph.scopes)
    uses = Counter((v.producer or v, n) for n in graph.nodes for v in n.inputs)
    uses += Counter((v.producer or v, v) for v in dict.fromkeys(graph.outputs))
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


class Named(nn.Module):
    """Returns what has names, in two places, and one tensor under two of them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, ids: torch.Tensor, *, use_cache: bool = True) -> dict[str, Any]:
        logits = self.fc(ids)
        return {"logits": logits, "past": ((logits + 1, ids),), "again": logits}


def named() -> Graph:
    net = Named()
    with Recorder(net) as recording:
        net(torch.ones(2, 4), use_cache=False)
    return recording.graph


def test_an_output_bears_its_name_in_the_call_and_has_one_box() -> None:
    drawn = scene(named())
    outputs = [said(box.lines[0]) for box in drawn.boxes if box.kind == "output"]
    assert outputs == ["logits, again", "past.0.0", "past.0.1"]
    assert [said(arrow.tail.lines[0]) for arrow in drawn.arrows if arrow.head.kind == "output"] == [
        "Linear", "add", "ids",
    ]  # fmt: skip


def test_an_output_without_a_name_is_told_by_its_number() -> None:
    graph = sample_graphs()["outputs"]
    graph.output_names = ["", "hidden", ""]
    drawn = scene(graph)
    assert [said(box.lines[0]) for box in drawn.boxes if box.kind == "output"] == ["output 0", "hidden", "output 2"]


def test_details_have_the_arguments_of_the_call() -> None:
    graph = named()
    (frame,) = scene(graph).frames
    assert "given use_cache: False" in frame.details
    graph.scopes[0].meta["arguments"] = "a file can say anything"
    (frame,) = scene(graph).frames
    assert not [line for line in frame.details if line.startswith("given")]


def test_details_have_the_names_of_what_a_call_returned() -> None:
    value = Value("v", (2,), "float32", "cpu")
    cell = Node("cell", "module", "Cell", "", "cell", 0, outputs=(value,), output_names=("state.0",))
    (box,) = (box for box in scene(Graph([cell])).boxes)
    assert "→ state.0: 2 float32 on cpu" in box.details


@pytest.mark.parametrize("format", ["dot", "mermaid"])
def test_formats_write_the_names_of_outputs(format: str) -> None:
    text = recorder.export(named(), format)
    assert isinstance(text, str)
    assert all(name in text for name in ("logits, again", "past.0.0", "past.0.1"))


def test_a_gradient_goes_back_along_an_arrow_only_if_asked_for() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    with Recorder(net) as recording:
        net(torch.ones(2, 4)).sum().backward()
    for on, expected in ((False, []), (True, ["0>1", "1>sum"])):
        back = [arrow for arrow in scene(recording.graph, backward=on).arrows if arrow.gradient]
        assert [f"{arrow.tail.subject.name}>{arrow.head.subject.name}" for arrow in back] == expected


def test_what_was_measured_of_a_value_is_in_its_tooltips() -> None:
    with Recorder(net := nn.Linear(2, 2), values="stats") as r:
        net(torch.tensor([[float("nan"), 1.0]]))
    drawn = str(r.export("dot"))
    told = stats_in_words(r.graph.nodes[0].outputs[0])
    assert told == "norm 0, largest 0, mean 0, 2 NaN"
    assert drawn.count(told) >= 2  # of the call, and of the arrow or box of what it returned
    assert stats_in_words(r.graph.initializers[0]) == ""


def test_scopes_that_hold_nothing_but_each_other_are_one_frame() -> None:
    root = Scope("", 0, "Net", name="Net")
    outer = Scope("a", 0, "Wrapper", root, "a")
    middle = Scope("a.b", 0, "Wrapper", outer, "a.b")
    inner = Scope("a.b.c", 0, "Block", middle, "a.b.c")
    nodes = [Node(f"add_{number}", "function", "add", "torch.add", scope=inner) for number in range(2)]
    drawn = scene(Graph(nodes, scopes=[root, outer, middle, inner]))
    assert [said(frame.lines[0]) for frame in drawn.frames] == ["Net", "a.b.c Block"]
    assert all(box.frame is drawn.frames[1] for box in drawn.boxes)
    middle.error = "ValueError: no"
    assert len(scene(Graph(nodes, scopes=[root, outer, middle, inner])).frames) == 4, "an error is told where it was"


@pytest.mark.parametrize(
    ("names", "repeats", "said"),
    [(["h.0", "h.1", "h.2"], 3, "h.0–2"), (["a", "b", "c"], 3, "a … c"), (["a", "b", "c", "d", "e", "f"], 3, "a … e")],
)
def test_what_repeats_is_called_by_its_first_and_its_last(names: list[str], repeats: int, said: str) -> None:
    """Of blocks that take turns, by what the last of the repetitions begins with."""
    assert short_name(Node("a", "module", "A", "A", meta={"repeated": names, "repeats": repeats})) == said
