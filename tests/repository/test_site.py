"""The documentation as a site: built with warnings as errors, whole, and readable without a network."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import recorder
import recorder.events
import recorder.figures
import recorder.testing

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.parametrize(
    ("page", "module"),
    [
        ("reference.html", recorder),
        ("reference.html", recorder.testing),
        ("reference.html", recorder.figures),
        ("events.html", recorder.events),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_every_public_name_is_in_the_reference(site: Path, page: str, module: object) -> None:
    text = (site / page).read_text("utf-8")
    assert "<blockquote" not in text, "an example in a docstring that is not under Examples:"
    there = set(re.findall(r'<h\d id="([\w.]+)"', text))
    prefix = module.__name__
    missing = [n for n in module.__all__ if not {f"{prefix}.{n}", f"{prefix}.{n}.{n}"} & there]
    assert missing == []


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) >= len(list((ROOT / "docs").glob("*.md")))
    for page in pages:
        text = page.read_text("utf-8")
        assert not re.search(r"<(script|img|iframe)[^>]*src=\"?(https?:)?//", text), page
        assert not re.search(r"<link[^>]*rel=\"?(stylesheet|preconnect|icon)[^>]*href=\"?(https?:)?//", text), page


def test_the_search_works_in_a_site_that_is_opened_from_its_folder(site: Path, browser: Any) -> None:
    """A word, a result, and the page that it leads to, without a server and without a network."""
    context = browser.new_context()
    tab = context.new_page()
    asked: list[str] = []
    wrong: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto((site / "index.html").as_uri())
    tab.locator(".md-search__input").click()
    tab.locator(".md-search__input").press_sequentially("add_metrics")
    result = tab.locator(".md-search-result__link", has_text="add_metrics").first
    result.click()
    tab.wait_for_url("**/reference.html*")
    tab.locator('[id="recorder.add_metrics"]').wait_for()
    assert [url for url in asked if not url.startswith(("file:", "about:", "blob:", "data:"))] == []
    assert wrong == []
    context.close()
