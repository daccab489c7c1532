"""Who may import what of us: exporters and plugins use public names only, as a third party would."""

import ast
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = ("recorder", "recorder.events", "recorder.figures", "recorder.testing")
PUBLIC = {name: {*import_module(name).__all__} for name in MODULES}
PUBLIC["recorder"] |= {"__version__", "figures", "events", "testing"}
FILES = sorted(
    file
    for folder in (ROOT / "exporters", *(ROOT / "plugins").iterdir())
    for file in folder.rglob("*.py")
    if "tests" not in file.relative_to(folder).parts
)


def private(source: str) -> Iterator[str]:
    """What a file imports of us that is not public, wherever in it the import stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "recorder":
            public = PUBLIC.get(node.module or "", ())
            yield from (f"{node.module}.{alias.name}" for alias in node.names if alias.name not in public)
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            yield from (name for name in names if name.partition(".")[0] == "recorder" and name not in PUBLIC)


def test_files_are_found() -> None:
    assert {"dot.py", "html.py", "recorder_networkx.py"} <= {file.name for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_exporters_and_plugins_import_public_names_only(file: Path) -> None:
    assert list(private(file.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("from recorder.graph.core import Graph", ["recorder.graph.core.Graph"]),
        ("def f():\n    from recorder.figures import LARGEST, FIGURES", ["recorder.figures.LARGEST"]),
        ("import recorder.views.fold as fold", ["recorder.views.fold"]),
        ("from recorder import views, Graph", ["recorder.views"]),
        ("from recorder import *", ["recorder.*"]),
        ("import recorder, recorder.events\nfrom recorder_exporters.html import SCRIPTS\nfrom . import recorder", []),
    ],
)
def test_what_is_not_public_is_seen(source: str, found: list[str]) -> None:
    assert list(private(source)) == found
