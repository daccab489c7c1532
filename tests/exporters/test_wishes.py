"""Figures for papers: words, colours, width and type of a reader's own."""

import re
import shutil
from typing import Any

import pytest
from recorder_exporters.drawing.fields import fields
from recorder_exporters.drawing.scene import Scene, scene_of
from recorder_exporters.drawing.themes import THEMES
from recorder_exporters.drawing.wishes import fulfil

import recorder
from recorder import Graph, OptionError
from recorder.testing import sample_graphs

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")

TINY = sample_graphs()["tiny"]
NESTED = sample_graphs()["residual"]


def scene(graph: Graph, labels: Any = None, colours: Any = None) -> Scene:
    made = scene_of(graph, shown=fields(None, True), theme=THEMES["light"])
    fulfil(made, labels, colours)
    return made


def test_a_box_says_what_was_asked_for_and_no_other_does() -> None:
    node = TINY.nodes[0]
    before, after = scene(TINY), scene(TINY, {node.name: "the <first> & best"})
    for old, new in zip(before.boxes, after.boxes, strict=True):
        if new.subject is node:
            assert new.lines[0][0].text == "the <first> & best"
        else:
            assert new.lines == old.lines
    assert "the &lt;first&gt; &amp; best" in recorder.export(TINY, "dot", labels={node.name: "the <first> & best"})


def test_an_output_is_no_part_of_what_made_it() -> None:
    maker = TINY.outputs[0].producer
    assert maker is not None
    filled = [box.kind for box in scene(TINY, colours={f"{maker.name}*": "gold"}).boxes if box.fill]
    assert filled == ["operation"]


def test_the_last_pattern_that_fits_counts() -> None:
    made = scene(TINY, colours={"*": "#123", TINY.nodes[-1].name: "Gold"})
    assert {box.fill for box in made.boxes if box.subject is not TINY.nodes[-1]} == {"#112233"}
    assert [box.fill for box in made.boxes if box.subject is TINY.nodes[-1]] == ["#ffd700"]


def test_letters_can_be_read_on_any_fill() -> None:
    for fill, letters in (("#000000", "#ffffff"), ("#ffffff", "#000000")):
        text = recorder.export(TINY, "dot", colours={TINY.nodes[0].name: fill})
        assert re.search(rf'n0 \[[^\]]*fillcolor="{fill}"[^\]]*fontcolor="{letters}"', text)


def test_a_frame_has_its_own_words_and_colour() -> None:
    scope = next(scope for scope in NESTED.scopes if scope.fqn)
    made = scene(NESTED, {scope.name: "Stage"}, {scope.name: "navy"})
    (frame,) = [frame for frame in made.frames if frame.scope is scope]
    assert (frame.lines[0][0].text, frame.fill) == ("Stage", "#000080")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"labels": {"nowhere*": "a"}}, "nowhere"),
        ({"labels": {"*": 3}}, "texts to texts"),
        ({"labels": "a"}, "takes labels"),
        ({"colours": {"*": "#12345"}}, "no colour"),
        ({"colours": {"*": 'red", shape="star'}}, "no colour"),
        ({"width": 0.0}, "inches"),
        ({"width": float("nan")}, "inches"),
        ({"width": 1e6}, "inches"),
        ({"font": 'a"b'}, "family"),
        ({"font": ""}, "family"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        recorder.export(TINY, "dot", **options)


@needs_dot
@pytest.mark.parametrize("width", [1.5, 20])
def test_a_drawing_is_as_wide_as_asked_for(width: float) -> None:
    svg, pdf, eps = (recorder.export(TINY, format, width=width) for format in ("svg", "pdf", "eps"))
    assert isinstance(svg, str)
    assert isinstance(pdf, bytes)
    assert isinstance(eps, bytes)
    found = re.search(r'<svg width="([\d.]+)pt"', svg), re.search(rb"MediaBox \[ 0 0 (\d+)", pdf)
    found += (re.search(rb"%%BoundingBox: 0 0 (\d+)", eps),)
    assert [float(match[1]) for match in found if match] == pytest.approx([72 * width] * 3, abs=1.5)


@needs_dot
def test_the_type_is_of_the_family_alone() -> None:
    svg = recorder.export(NESTED, "svg", font="Courier New")
    assert isinstance(svg, str)
    assert set(re.findall(r'font-family="([^"]+)"', svg)) == {"Courier New"}


@needs_dot
def test_pictures_of_the_new_formats_are_such() -> None:
    jpg, eps = recorder.export(TINY, "jpg", dpi=50), recorder.export(TINY, "eps")
    assert isinstance(jpg, bytes)
    assert isinstance(eps, bytes)
    assert jpg.startswith(b"\xff\xd8\xff")
    assert eps.startswith(b"%!PS-Adobe")
    assert b"CreationDate" not in eps
