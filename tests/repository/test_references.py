"""What comments, docstrings and pages refer to is there: names with dots, and paths of files."""

import importlib
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = ("recorder", "exporters", "plugins", "tests", "docs", "benchmarks", "examples")
NAME = re.compile(r"`(recorder(?:_exporters)?(?:\.\w+)+)(?:\(.*?\))?`")
PATH = re.compile(rf"(?<![\w/.:-])((?:{'|'.join(FOLDERS)})/[\w/.-]*\w)(?![\w{{])")
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *ROOT.glob("*/**/README.md"), ROOT / "Makefile"]
SOURCES = [
    *PAGES,
    ROOT / "benchmarks" / "NOTES.md",
    *(path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py")),
]


def said(path: Path) -> str:
    """A page as it is; of code the comments, and the strings that begin a line, as docstrings do."""
    if path.suffix != ".py":
        return path.read_text("utf-8")
    with path.open("rb") as file:
        tokens = list(tokenize.tokenize(file.readline))
    docstrings = [
        token.string for token in tokens if token.type == tokenize.STRING and not token.line[: token.start[1]].strip()
    ]
    return "\n".join(docstrings + [token.string for token in tokens if token.type == tokenize.COMMENT])


def is_there(name: str) -> bool:
    """Whether the longest module that a name begins with has the rest of it."""
    parts = name.split(".")
    for size in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:size]))
        except ModuleNotFoundError:
            continue
        return all((found := getattr(found, part, None)) is not None for part in parts[size:])
    return False


def lost(text: str, folder: Path = ROOT) -> Iterator[str]:
    """What leads nowhere. A path begins at the top, in tests (the Makefile's) or in the folder of the page."""
    yield from (name for name in NAME.findall(text) if not is_there(name))
    places = ROOT, ROOT / "tests", folder
    yield from (path for path in PATH.findall(text) if not any((place / path).exists() for place in places))


def test_references_lead_somewhere() -> None:
    files = [path for path in SOURCES if "node_modules" not in path.parts]
    assert len(files) > 200
    assert {str(path.relative_to(ROOT)): gone for path in files if (gone := [*lost(said(path), path.parent)])} == {}


@pytest.mark.parametrize(
    "text", ["`recorder.hooks`", "`recorder.views.folded(x)`", "see recorder/hooks.py", "(tests/x.md)"]
)
def test_a_lost_reference_is_seen(text: str) -> None:
    assert len([*lost(text)]) == 1
