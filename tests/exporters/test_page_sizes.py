"""The page in the place that it has: hidden at first, narrow, or of another size later."""

from pathlib import Path
from typing import Any

import pytest
from support.browser import Show, boxes, item, still

import recorder
from recorder.notebook import mimebundle
from recorder.testing import StreamBuilder, chain, sample_graphs

SEEN = """() => {
    const canvas = document.getElementById("canvas").getBoundingClientRect();
    const map = document.getElementById("minimap");
    const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
    const places = [...document.querySelectorAll(".box, .frame")].map((one) => one.getBoundingClientRect());
    return { k: viewer.camera.k, painted: data.some((part) => part), outside: places.filter((place) =>
        place.left < canvas.left || place.right > canvas.right
        || place.top < canvas.top || place.bottom > canvas.bottom).length };
}"""


def check_seen(seen: dict[str, Any]) -> None:
    """The whole is in view, large enough to read, and on the map."""
    assert seen["outside"] == 0
    assert seen["painted"]
    assert seen["k"] >= 0.3


HIDINGS = {
    "a closed part": ("<div id='part' style='display: none'>", "part.style.display = 'block'"),
    "no height": ("<div id='part' style='height: 0; overflow: hidden; display: flex'>", "part.style.height = '700px'"),
}


@pytest.mark.parametrize("hiding", HIDINGS)
def test_two_in_a_notebook_of_which_one_is_shown_later(browser: Any, tmp_path: Path, hiding: str) -> None:
    """Both stand as if they had been there from the start."""
    hidden, shown = HIDINGS[hiding]
    widgets = [mimebundle(graph, "")["text/html"] for graph in (chain(100, blocks=10), chain(60, blocks=6))]
    notebook = tmp_path / "notebook.html"
    second = (
        widgets[1].replace('height="640"', 'style="height: 100%" height="640"') if "height" in hiding else widgets[1]
    )
    notebook.write_text(f"<!DOCTYPE html><body>{widgets[0]}{hidden}{second}</div></body>", encoding="utf-8")
    context = browser.new_context(viewport={"width": 1000, "height": 1500})
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text))
    tab.goto(notebook.as_uri())
    first, later = tab.frames[1:]
    for frame in (first, later):
        frame.wait_for_selector("html[data-ready]", state="attached")
    check_seen(first.evaluate(SEEN))
    if hiding == "a closed part":
        assert not later.evaluate("() => viewer.opening.done")
    tab.evaluate(shown)
    later.wait_for_function("() => viewer.opening.done && viewer.camera.size.h > 400")
    later.wait_for_function("() => viewer.camera.k >= 0.3")
    check_seen(later.evaluate(SEEN))
    assert errors == []
    context.close()


def test_it_opens_with_the_whole_in_view_as_open_as_can_be_read(show: Show) -> None:
    for graph, shown in ((sample_graphs()["residual"], 6), (chain(60, blocks=6), 6), (chain(8, blocks=2), 8)):
        with show(graph) as page:
            check_seen(page.evaluate(SEEN))
            assert len(boxes(page)) == shown


def test_the_whole_stays_in_view_until_the_reader_looks_elsewhere(show: Show) -> None:
    with show(chain(60, blocks=6)) as page:
        page.set_viewport_size({"width": 700, "height": 600})
        page.wait_for_function("() => viewer.camera.size.w === 700")
        check_seen(page.evaluate(SEEN))
        page.keyboard.press("+")
        view = page.evaluate("() => viewer.camera.view")
        page.set_viewport_size({"width": 900, "height": 800})
        page.wait_for_function("() => viewer.camera.size.w === 900")
        assert page.evaluate("() => viewer.camera.view") == view


def test_a_narrow_window_has_room_for_the_drawing(show: Show) -> None:
    with show(chain(60, blocks=6), context={"viewport": {"width": 380, "height": 680}}) as page:
        check_seen(page.evaluate(SEEN))
        assert page.evaluate("() => document.documentElement.scrollWidth") == 380
        for tool in page.locator("#bar button, #bar select, #bar input").all():
            place = tool.bounding_box()
            assert not place or (place["x"] >= 0 and place["x"] + place["width"] <= 380)
        canvas = page.locator("#canvas").bounding_box()
        assert canvas["height"] > 400
        item(page, "blocks.2").click()
        still(page)
        panel = page.locator("#panel").bounding_box()
        assert panel["width"] == 380
        assert panel["y"] > canvas["y"] + 100


def test_on_a_phone_what_is_tapped_stays_in_sight(show: Show) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
    with show(chain(60, blocks=6), context=phone) as page:
        check_seen(page.evaluate(SEEN))
        assert page.evaluate("() => document.documentElement.scrollWidth") == 390
        assert page.locator("#canvas").bounding_box()["height"] > 500
        item(page, "blocks.5").tap()
        still(page)
        place, panel = item(page, "blocks.5").bounding_box(), page.locator("#panel").bounding_box()
        assert place["y"] + place["height"] / 2 < panel["y"]
        page.get_by_role("button", name="Open", exact=True).tap()
        assert "blocks.5.0" in boxes(page)
        page.locator("#search").tap()
        page.keyboard.type("blocks.2")
        found = page.locator("#found").bounding_box()
        assert found["x"] >= 0
        assert found["x"] + found["width"] <= 390


def test_a_wrapper_is_open_though_what_is_in_it_does_not_fit(show: Show) -> None:
    build = StreamBuilder("Net")
    x = build.tensor((1, 8))
    with build.call("", "Net", [x]) as net, build.call("model", "Wrapper", [x]) as wrapper:
        for i in range(40):
            x = build.op(f"model.{i}", "Linear", [x], (1, 8))
        wrapper.outputs = net.outputs = [x]
    with show(recorder.assemble(build.stream)) as page:
        assert len(boxes(page)) == 40
        assert page.evaluate("viewer.camera.k") >= 0.5
