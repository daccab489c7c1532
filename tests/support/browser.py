"""A real browser for tests of the page: headless Chromium, driven by Playwright.

Every page that is opened is watched: what it asks for, what it complains about, and whether it opens a dialog.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import recorder
from recorder import Graph

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["Show", "boxes", "browser", "item", "names", "show", "still"]

Show = Callable[..., AbstractContextManager["Page"]]


@contextmanager
def launched() -> Iterator["Browser"]:
    """Chromium as Debian packages it, or skip."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed, in which the page is tested")
    sync = pytest.importorskip("playwright.sync_api", reason="playwright is not installed, which drives the browser")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@contextmanager
def opened(browser: "Browser", path: Path, hash: str = "", **context: Any) -> Iterator["Page"]:
    """A page of ours, ready. At the end: it has asked for nothing but itself, and nothing went wrong in it."""
    requests: list[str] = []
    complaints: list[str] = []
    world = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    world.set_default_timeout(20_000)
    page = world.new_page()

    def answer(route: Any) -> None:
        if route.request.url.partition("#")[0] == path.as_uri():
            route.continue_()
        else:
            requests.append(route.request.url)
            route.abort()

    def dismiss(dialog: Any) -> None:
        complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    page.route("**/*", answer)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", dismiss)
    page.on("popup", lambda popup: complaints.append(f"a window: {popup.url}"))
    page.goto(path.as_uri() + hash)
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    still(page)
    world.close()
    assert requests == []
    assert complaints == []


def still(page: "Page") -> None:
    """Wait until nothing moves any more."""
    page.wait_for_function("() => !viewer.drawing.stop")


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    """One for all tests of a file."""
    with launched() as chromium:
        yield chromium


@pytest.fixture
def show(browser: "Browser", tmp_path: Path) -> Show:
    """Opens the page of a graph: ``with show(graph, **options) as page``. ``context`` is for the browser."""

    def open_page(
        graph: Graph, context: dict[str, Any] | None = None, **options: Any
    ) -> AbstractContextManager["Page"]:
        path = tmp_path / "net.html"
        recorder.save(graph, path, **options)
        return opened(browser, path, **(context or {}))

    return open_page


def names(page: "Page", selector: str) -> list[str]:
    """The names of what is drawn, as they stand in the document."""
    return page.eval_on_selector_all(selector, "all => all.map(one => one.dataset.name)")


def item(page: "Page", name: str) -> Any:
    """The box or, of an open scope, the frame with a name; the innermost one."""
    number = page.evaluate(
        "name => viewer.model.items.findLast(one => one.name === name && one.source.op_type).id", name
    )
    return page.locator(f".box[data-id='{number}'], .frame[data-id='{number}']").last


def boxes(page: "Page") -> list[str]:
    still(page)
    return names(page, ".box:is(.node, .scope)")
