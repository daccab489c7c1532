"""Names that mean harm on the interactive page, and the walls around it."""

from pathlib import Path
from typing import Any

import pytest
from recorder_exporters.html import HtmlExporter
from support.browser import Show, boxes, item, names

import recorder
from recorder import Graph, Node
from recorder.notebook import mimebundle
from recorder.testing import HOSTILE_NAMES, chain, sample_graphs


def test_hostile_names_are_names(show: Show) -> None:
    graph = sample_graphs()["hostile"]
    with show(graph, depth=9) as page:
        assert boxes(page) == [node.name for node in graph.nodes]
        assert names(page, ".frame") == [scope.name for scope in graph.scopes]
        assert page.evaluate("() => document.scripts.length") == 4
        assert page.evaluate("() => document.querySelectorAll('b, a, iframe, img').length") == 0
        titles = page.eval_on_selector_all(".box.node text", "all => all.map(one => one.textContent)")
        for name in ('"', "<b>bold</b>", "</script><script>alert(1)</script>", "&amp;", "é漢字😀", "__proto__", "␠"):
            assert name in titles
        shown = page.locator("#panel .name").first
        for node in graph.nodes:
            page.evaluate("id => viewer.pick(viewer.model.nodes[id])", graph.nodes.index(node))
            if node.name.isprintable() and node.name.strip():
                assert shown.text_content() == node.name
        for name in HOSTILE_NAMES:
            page.fill("#search", name)


@pytest.mark.parametrize("name", ["</script><script>document.title = 'bad'</script>", "</title><b>", "<!--<script>"])
def test_markup_anywhere_does_nothing(show: Show, name: str) -> None:
    scope = recorder.Scope(name, 0, name, None, name, name, error=name)
    x = recorder.Value(name, (2, 3), "float32", "cpu", role="input", meta={name: {name: 1}})
    y = recorder.Value(f"{name} y", (2, 3), name, name, grad_fn=name)
    node = Node(name, "module", name, name, name, 0, scope, (x,), (y,), {name: name}, {name: {name: 3}}, error=name)
    graph = Graph([node], inputs=[x], outputs=[y], scopes=[scope], name=name, meta={name: name})
    with show(graph, title=name) as page:
        assert page.title() == name
        assert page.locator("#title").text_content() == name
        item(page, name).click()
        page.select_option("#colour", index=1)
        page.evaluate("() => viewer.reveal(viewer.model.items.at(-1))")
        assert page.evaluate("() => document.scripts.length") == 4
        assert page.locator("b").count() == page.locator("#panel b, #found b").count()
        with page.expect_download() as download:
            page.select_option("#save", "json")
        assert recorder.loads(download.value.path().read_bytes()) == graph


def test_a_script_in_the_page_that_is_not_ours_does_not_run(browser: Any, tmp_path: Path) -> None:
    """The policy holds even if the escaping failed."""
    page = HtmlExporter().export(sample_graphs()["tiny"])
    path = tmp_path / "net.html"
    path.write_text(page.replace("<main>", "<main><script>window.bad = 1</script><img src='https://example.org/x'>"))
    context = browser.new_context()
    tab = context.new_page()
    failed: list[tuple[str, str | None]] = []
    tab.on("requestfailed", lambda request: failed.append((request.url, request.failure)))
    tab.goto(path.as_uri())
    tab.wait_for_selector("html[data-ready]", state="attached")
    assert tab.evaluate("() => window.bad") is None
    assert failed == [("https://example.org/x", "csp")]
    context.close()


def test_a_notebook_shows_the_page_in_a_frame(browser: Any, tmp_path: Path) -> None:
    graph = chain(100, blocks=10)
    shown = mimebundle(graph, repr(graph))
    assert set(shown) == {"text/plain", "text/html"}
    notebook = tmp_path / "notebook.html"
    notebook.write_text(f"<!DOCTYPE html><body>{shown['text/html']}</body>", encoding="utf-8")
    context = browser.new_context()
    tab = context.new_page()
    errors: list[str] = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.on("console", lambda message: errors.append(message.text))
    tab.goto(notebook.as_uri())
    frame = tab.frame_locator("iframe")
    frame.locator(".box").first.wait_for()
    assert frame.locator(".box.scope").count() == 10
    frame.locator(".box.scope").nth(3).dblclick()
    frame.locator(".box.node").nth(9).wait_for()
    assert errors == []
    context.close()
