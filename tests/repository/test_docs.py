"""Every code block of the documentation runs as it stands, one after another, in one namespace a page."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from recorder.figures import FIGURES

ROOT = Path(__file__).parents[2]


def blocks(page: Path) -> list[tuple[int, str]]:
    """Line number and text of each Python block."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [(text.count("\n", 0, m.start(1)) + 1, m[1]) for m in found]


PAGES = {
    "README.md": {"net.html"},
    "docs/index.md": {"net.svg"},
    "docs/tutorial.md": {"net.svg", "overview.svg", "gradients.svg", "run.jsonl", "later.svg"},
    "docs/howto.md": {"overview.svg", "overview.json", "block.svg", "cost.svg", "train.jsonl", "autograd.svg"},
    "docs/explanation.md": set(),
    "docs/changes.md": {"net.arch", "changed.svg", "changed.html", "changed.md", "parted.svg"},
    "docs/hooks.md": set(),
}
"""Each page with code, and the files that its code writes."""


def test_no_page_with_code_is_missing() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert {str(page.relative_to(ROOT)) for page in pages if blocks(page)} == set(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_code_blocks_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = blocks(ROOT / page)
    assert found
    namespace = {
        "net": nn.Sequential(nn.Linear(3, 4), nn.ReLU()),
        "criterion": nn.MSELoss(),
        "x": torch.ones(2, 3),
        "y": torch.ones(2, 4),
    }
    for line, source in found:
        exec(compile("\n" * (line - 1) + source, str(ROOT / page), "exec"), namespace)
    assert PAGES[page] <= {path.name for path in tmp_path.iterdir()}


def test_the_table_of_figures_is_that_of_the_code() -> None:
    rows = ["| name | what it is | over a column | value | in words | drawings |", "|---|---|---|---|---|---|"]
    for figure in FIGURES.values():
        words = figure.label(0.25 if figure.words in ("share", "norm") else 12_345_678)
        told = (f"`{figure.name}`", figure.called, figure.heading, figure.unit or "number", words, figure.scale or "–")
        rows.append(f"| {' | '.join(told)} |")
    text = (ROOT / "docs" / "reference.md").read_text("utf-8")
    assert re.findall(r"(?m)^\|.*$", text.partition("<!-- figures:")[2]) == rows


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "plugins/recorder-edgelist/README.md"])
def test_links_and_pictures_exist(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", text):
        path = target[0] or target[1]
        assert path.startswith("https://") or ((ROOT / page).parent / path).exists(), path
