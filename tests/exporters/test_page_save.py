"""What the page saves of a drawing that is long: in columns or rows, or the part that is in view."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image
from support.browser import Show, item, still

from recorder.testing import chain

SVG = "{http://www.w3.org/2000/svg}"

TRANSLATION = r"(?:translate\(|matrix\(1, 0, 0, 1, )([\d.-]+),? ([\d.-]+)\)"

WHERE = """all => all.map(one => { const place = one.getBoundingClientRect();
    return [place.x, place.y, place.width, place.height]; })"""


def saved(page: Any, kind: str, folder: Path) -> Path:
    with page.expect_download() as download:
        page.select_option("#save", kind)
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def size_of(svg: Path) -> tuple[float, float]:
    root = ElementTree.parse(svg).getroot()
    return float(root.attrib["width"]), float(root.attrib["height"])


@pytest.mark.parametrize(("direction", "words"), [("TB", "columns"), ("LR", "rows")])
def test_a_long_drawing_is_saved_in_parts_that_hold_all_of_it(
    show: Show, tmp_path: Path, direction: str, words: str
) -> None:
    with show(chain(120), depth=2, fold=False, direction=direction) as page:
        drawn = page.evaluate("() => [viewer.scene.w, viewer.scene.h]")
        assert max(drawn) > 5_000
        svg, png = (saved(page, kind, tmp_path) for kind in ("svg", "png"))
        said = page.locator("#notice").inner_text()
        assert re.fullmatch(rf"saved in \d+ {words}, as it is long", said)
    width, height = size_of(svg)
    assert 0.4 < width / height < 4
    assert width * height < 3 * drawn[0] * drawn[1]
    with Image.open(png) as picture:
        assert picture.size == pytest.approx((2 * width, 2 * height), abs=2)
    root = ElementTree.parse(svg).getroot()
    assert any(words in "".join(text.itertext()) for text in root.iter(f"{SVG}text"))
    windows = [list(map(float, one.attrib["viewBox"].split())) for one in root.iter(f"{SVG}svg")][1:]
    assert len(windows) > 2
    # Each part begins where the last one ends, the whole is there, and no box is cut.
    at = 0 if words == "rows" else 1
    ends = [window[at] + window[at + 2] for window in windows]
    assert [window[at] for window in windows] == pytest.approx([0, *ends[:-1]])
    assert ends[-1] == pytest.approx(max(drawn))
    boxes = page_boxes(root)
    assert len(boxes) == 122
    for box in boxes:
        start, end = box[at], box[at] + box[at + 2]
        assert not any(start < cut < end for cut in ends[:-1])


def page_boxes(root: ElementTree.Element) -> list[list[float]]:
    """Where the boxes stand in the drawing of which each part shows some."""
    drawing = next(one for one in root.iter(f"{SVG}g") if one.attrib.get("id") == "drawing")
    found = []
    for group in drawing.iter(f"{SVG}g"):
        place = re.fullmatch(TRANSLATION, group.attrib.get("transform", ""))
        body, *others = [part for part in group if part.tag == f"{SVG}rect"] or [None]
        if place and body is not None and others == [] and any(part.tag == f"{SVG}text" for part in group):
            found.append([float(place[1]), float(place[2]), float(body.attrib["width"]), float(body.attrib["height"])])
    return found


def test_what_is_in_view_is_saved_as_it_is_seen(show: Show, tmp_path: Path) -> None:
    with show(chain(120), depth=2, fold=False) as page:
        page.evaluate("() => viewer.reveal(viewer.model.nodes[60])")
        still(page)
        page.keyboard.press("Escape")
        seen = page.evaluate("() => viewer.camera.window")
        svg, png = (saved(page, kind, tmp_path) for kind in ("svg view", "png view"))
    width, height = size_of(svg)
    assert height == pytest.approx(seen["h"] + 76, abs=2)
    assert width < 600
    with Image.open(png) as picture:
        assert picture.size[1] < 3000
        assert len(picture.convert("RGB").getcolors(10**6)) > 10


def test_words_are_saved_though_they_are_too_far_to_be_seen(show: Show, tmp_path: Path) -> None:
    with show(chain(120), depth=2, fold=False) as page:
        page.keyboard.press("f")
        assert page.locator(".distant").count() == 1
        root = ElementTree.parse(saved(page, "svg", tmp_path)).getroot()
        assert page.locator(".distant").count() == 1
    texts = ["".join(text.itertext()) for text in root.iter(f"{SVG}text")]
    assert sum("blocks" in text or "1×8" in text for text in texts) > 100


def test_left_to_right_on_request_and_by_option(show: Show) -> None:
    graph = chain(8, blocks=2)

    def middles(page: Any) -> tuple[list[float], list[float]]:
        still(page)
        places = [item(page, node.name).bounding_box() for node in graph.nodes]
        return [p["x"] + p["width"] / 2 for p in places], [p["y"] + p["height"] / 2 for p in places]

    def flows(along: list[float], aside: list[float]) -> None:
        assert along == sorted(along)
        assert len(set(along)) == len(along)
        assert max(aside) - min(aside) < 2

    with show(graph, direction="LR") as page:
        flows(*middles(page))
        assert page.locator("#across").is_checked()
        page.keyboard.press("l")
        flows(*reversed(middles(page)))
        page.locator("#across").check()
        flows(*middles(page))
        assert page.locator(".distant").count() == 0
        heads = page.locator(".edge .head").evaluate_all(WHERE)
        assert all(w == pytest.approx(h, abs=0.5) for _, _, w, h in heads)
