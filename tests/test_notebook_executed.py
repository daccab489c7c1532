"""Graphs in a notebook that was run and written as a page, as readers get one: by a real kernel, in a real browser."""

from pathlib import Path
from typing import Any

import pytest

from recorder.notebook import LARGEST_PICTURE

CELL = """
from recorder.testing import chain
chain({nodes}, blocks={blocks})
"""

SEEN = """() => {
    const canvas = document.getElementById("canvas").getBoundingClientRect();
    const map = document.getElementById("minimap");
    const { data } = map.getContext("2d").getImageData(0, 0, map.width, map.height);
    const places = [...document.querySelectorAll(".box, .frame")].map((one) => one.getBoundingClientRect());
    return { boxes: document.querySelectorAll(".box").length, k: viewer.camera.k, painted: data.some((part) => part),
        outside: places.filter((place) => place.left < canvas.left || place.right > canvas.right
            || place.top < canvas.top || place.bottom > canvas.bottom).length };
}"""


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two cells, each with a graph, run by a kernel and written as HTML."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed, which makes the notebook")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed, which runs the notebook")
    nbconvert = pytest.importorskip("nbconvert", reason="nbconvert is not installed, which shows the notebook")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed, by which the notebook is run")
    assert LARGEST_PICTURE < 60
    cells = [nbformat.v4.new_code_cell(CELL.format(nodes=nodes, blocks=nodes // 10)) for nodes in (60, 100)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    folder = tmp_path_factory.mktemp("notebook")
    nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    text, _ = nbconvert.HTMLExporter().from_notebook_node(notebook)
    return str(text)


HIDDEN = {
    # What a notebook and those who put several on a page do: an output that is folded away, and a tab of another.
    "a closed output": ("<details id='part'><summary>Output</summary>{frame}</details>", "part.open = true"),
    "a hidden tab": ("<div id='part' hidden>{frame}</div>", "part.hidden = false"),
}


@pytest.mark.parametrize("hiding", HIDDEN)
def test_two_graphs_of_a_notebook_stand_right_though_one_is_shown_later(
    browser: Any, executed: str, hiding: str, tmp_path: Path
) -> None:
    around, shown = HIDDEN[hiding]
    frames = [executed[at : executed.index("</iframe>", at) + 9] for at in starts(executed, "<iframe")]
    assert len(frames) == 2
    page = tmp_path / "notebook.html"
    page.write_text(executed.replace(frames[1], around.format(frame=frames[1])), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1200, "height": 1800})
    tab = context.new_page()
    tab.route("http*://**", lambda route: route.abort())  # nbconvert's own page asks for MathJax and the like
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri(), wait_until="domcontentloaded")
    first, later = (one.content_frame() for one in tab.locator("iframe").element_handles())
    for frame in (first, later):
        frame.wait_for_selector("html[data-ready]", state="attached")
    check(first.evaluate(SEEN), boxes=8)
    assert not later.evaluate("() => viewer.opening.done")
    tab.evaluate(shown)
    later.wait_for_function("() => viewer.opening.done")
    check(later.evaluate(SEEN), boxes=12)
    check(first.evaluate(SEEN), boxes=8)
    assert [error for error in errors if "require" not in error and "MathJax" not in error] == []
    context.close()


def check(seen: dict[str, Any], boxes: int) -> None:
    """All of it is in view, large enough to see, and on the map: the blocks, what comes in, and what goes out."""
    assert (seen["boxes"], seen["outside"], seen["painted"]) == (boxes, 0, True)
    assert 0.3 <= seen["k"] <= 1.15


def starts(text: str, part: str) -> list[int]:
    return [at for at in range(len(text)) if text.startswith(part, at)]
