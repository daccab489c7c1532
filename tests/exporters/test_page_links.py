"""Links to a place of the model, and what the page says of itself."""

from pathlib import Path
from typing import Any

from support.browser import Show, boxes, item, names, opened, still

import recorder
from recorder.testing import chain


def centre(page: Any, name: str) -> tuple[float, float]:
    place = item(page, name).bounding_box()
    return place["x"] + place["width"] / 2, place["y"] + place["height"] / 2


def test_a_link_to_a_node_opens_selects_and_centres_it(browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "net.html"
    recorder.save(chain(400, blocks=20), path)
    with opened(browser, path, hash="#node=blocks.17.3") as page:
        still(page)
        assert names(page, ".box.picked") == ["blocks.17.3"]
        assert page.locator("#panel .name").first.inner_text() == "blocks.17.3"
        x, y = centre(page, "blocks.17.3")
        assert abs(x - (1280 - 370) / 2) < 60
        assert 300 < y < 500
        steps = page.evaluate("history.length")
        item(page, "blocks.17.4").click()
        assert page.evaluate("location.hash") == "#node=blocks.17.4"
        page.keyboard.press("Escape")
        assert page.evaluate("location.hash") == ""
        assert page.evaluate("history.length") == steps
        page.evaluate("location.hash = '#node=blocks.2.0'")
        page.wait_for_function("() => viewer.picked?.name === 'blocks.2.0'")
        assert "blocks.2.0" in boxes(page)
        page.evaluate("location.hash = '#node=nobody'")
        page.locator("#notice", has_text="nobody").wait_for()
        assert page.evaluate("viewer.picked.name") == "blocks.2.0"


def test_opening_thousands_says_so_and_can_be_left(show: Show) -> None:
    with show(chain(3000, blocks=30), fold=False) as page:
        before = boxes(page)
        said = page.evaluate("""async () => {
            const opening = viewer.openAll();
            const said = notice.textContent;
            notice.querySelector("button").click();
            await opening;
            return said;
        }""")
        assert said == "Opening 3,000 nodes…Leave"
        assert boxes(page) == before
        assert page.locator("#notice").is_hidden()
        page.evaluate(
            "() => { window.opening = viewer.openAll(); viewer.toggle(viewer.model.scopes[3]); return opening; }"
        )
        assert len(boxes(page)) == 29 + 100
        page.evaluate("() => viewer.openAll()")
        assert len(boxes(page)) == 3000
        assert page.locator("#notice").is_hidden()


def test_a_png_that_nobody_could_read_is_refused_in_words(show: Show) -> None:
    with show(chain(8)) as page:
        page.evaluate("viewer.picture = () => `<svg xmlns='http://www.w3.org/2000/svg' width='20000' height='20000'/>`")
        page.select_option("#save", "png")
        page.locator("#notice", has_text="save as SVG").wait_for()
