"""docs/supported.md and the tests of its rows: neither is without the other."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def rows() -> list[list[str]]:
    """The cells of each row of the page's tables, without their heads."""
    page = (ROOT / "docs" / "supported.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\| (.*) \|$", page, re.MULTILINE)
    return [cells for line in lines if (cells := line.split(" | "))[0] != "thing"]


def marked() -> set[str]:
    """What tests say that they are about."""
    marks = re.compile(r'^@(?:pytest\.mark\.)?supported\("([^"]+)"\)$', re.MULTILINE)
    return {name for file in (ROOT / "tests").rglob("test_*.py") for name in marks.findall(file.read_text("utf-8"))}


def test_each_row_is_tested_and_each_of_these_tests_has_a_row() -> None:
    names = [name for name, _ in rows()]
    assert len(names) > 30
    assert len(set(names)) == len(names)
    assert set(names) == marked()


def test_each_row_says_what_happens_in_a_sentence() -> None:
    for name, words in rows():
        assert words.endswith("."), name
        assert words[:1].isupper() or words.startswith("torch"), name
