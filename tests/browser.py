"""A real browser for tests of the page: headless Chromium, driven by Playwright.

Every page that is opened is watched: what it asks for, what it complains about, and whether it opens a dialog.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

__all__ = ["launched", "opened", "still"]


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
def opened(browser: "Browser", path: Path, **context: Any) -> Iterator["Page"]:
    """A page of ours, ready. At the end: it has asked for nothing but itself, and nothing went wrong in it."""
    requests: list[str] = []
    complaints: list[str] = []
    world = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **context})
    world.set_default_timeout(20_000)
    page = world.new_page()

    def answer(route: Any) -> None:
        if route.request.url == path.as_uri():
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
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    still(page)
    world.close()
    assert requests == []
    assert complaints == []


def still(page: "Page") -> None:
    """Wait until nothing moves any more."""
    page.wait_for_function("() => !viewer.drawing.stop")
