"""`recorder plugin new`: what it writes is installed, tested and used as its author would, outside of this folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch
import torchvision
from support.command import runner

from recorder import Recorder
from recorder.cli import main
from recorder.cli.plugin import Names, render

ROOT = Path(__file__).parents[2]
PIP_INSTALL = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")


def python(*arguments: str | Path, path: Path | None = None, cwd: Path) -> str:
    """What Python prints, with ``path`` before whatever this interpreter has."""
    places = os.pathsep.join(str(place) for place in (path, os.environ.get("PYTHONPATH")) if place)
    environment = {**os.environ, "PYTHONPATH": places, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, *arguments], env=environment, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def new(name: str) -> tuple[int, str]:
    """Exit status and standard error of the command."""
    result = runner().invoke(main, ["plugin", "new", name], catch_exceptions=False)
    return result.exit_code, result.stderr


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty one, and the current one."""
    empty = tmp_path / "work"
    empty.mkdir()
    monkeypatch.chdir(empty)
    return empty


@pytest.mark.slow
def test_what_it_writes_installs_passes_its_tests_and_exports_a_resnet18(folder: Path, tmp_path: Path) -> None:
    status, told = new("my-exporter")
    assert status == 0, told
    written = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert (
        written
        == sorted(re.findall(r"^wrote (.*)$", told, re.MULTILINE))
        == [
            "my-exporter/README.md",
            "my-exporter/my_exporter.py",
            "my-exporter/pyproject.toml",
            "my-exporter/tests/test_my_exporter.py",
        ]
    )

    site = tmp_path / "site"
    python(*PIP_INSTALL, "--target", site, folder / "my-exporter", cwd=tmp_path)
    shutil.move(folder / "my-exporter" / "tests", tmp_path / "tests")  # so that they meet what was installed
    out = python("-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "tests", path=site, cwd=tmp_path)
    assert re.search(r"\b[1-9]\d* passed", out), out

    formats = python("-m", "recorder.cli", "formats", "--verbose", path=site, cwd=tmp_path)
    (row,) = (line for line in formats.splitlines() if line.startswith("my-exporter"))
    assert ".my-exporter" in row
    assert "shapes: bool = False" in row

    net = torchvision.models.resnet18().eval()
    with Recorder(net) as r, torch.no_grad():
        net(torch.ones(1, 3, 32, 32))
    r.events.save(tmp_path / "run.jsonl")
    arguments = ["-m", "recorder.cli", "export", "run.jsonl", "-o", "net.my-exporter", "--option", "shapes=yes"]
    python(*arguments, path=site, cwd=tmp_path)
    calls = [json.loads(line) for line in (tmp_path / "net.my-exporter").read_text("utf-8").splitlines()]
    assert [call["name"] for call in calls] == [node.name for node in r.graph.nodes]
    assert (calls[0]["name"], calls[0]["shapes"]) == ("conv1", [[1, 64, 16, 16]])
    assert {call["name"]: call["after"] for call in calls}["layer1.0.add_"] == ["layer1.0.bn2", "maxpool"]


@pytest.mark.slow
def test_what_it_writes_is_as_tidy_as_what_is_here(folder: Path) -> None:
    assert new("my-exporter")[0] == 0
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent)) or "ruff"
    for arguments in (
        ["check", "--isolated", "--no-cache", "--select", "E,F,W,I,UP,B,SIM,RET,PT,RUF"],
        ["format", "--isolated", "--no-cache", "--check"],
    ):
        done = subprocess.run([ruff, *arguments, "."], cwd=folder / "my-exporter", capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    source = (folder / "my-exporter" / "my_exporter.py").read_text("utf-8")
    body = source.partition("class ")[2].partition("@hookimpl")[0]
    assert len(body.strip().splitlines()) <= 15
    for path in (folder / "my-exporter").rglob("*"):
        assert path.is_dir() or not re.search(r"{{|{%", path.read_text("utf-8")), path


@pytest.mark.parametrize(
    ("name", "module", "format_", "exporter"),
    [
        ("my-exporter", "my_exporter", "my-exporter", "MyExporter"),
        ("recorder-edge-list", "recorder_edge_list", "edge-list", "EdgeListExporter"),
        ("My.Own__Thing", "my_own_thing", "my-own-thing", "MyOwnThingExporter"),
        ("recorder-3d", "recorder_3d", "3d", "Recorder3dExporter"),
        ("graph", "graph", "graph", "GraphExporter"),  # and not the name of what it imports
        ("exporter", "exporter", "exporter", "Exporter"),
        ("x.jsonl", "x_jsonl", "x-jsonl", "XJsonlExporter"),
    ],
)
def test_all_names_follow_from_one(name: str, module: str, format_: str, exporter: str, tmp_path: Path) -> None:
    names = Names(name)
    assert (names.module, names.format, names.suffix, names.exporter) == (module, format_, f".{format_}", exporter)
    texts = render(names)
    project = tomllib.loads(texts["pyproject.toml"])["project"]
    assert project["name"] == name
    assert project["entry-points"]["recorder"] == {format_: module}
    for path in (f"{module}.py", f"tests/test_{module}.py"):
        compile(texts[path], path, "exec")
    assert f"class {exporter}:" in texts[f"{module}.py"]


NOT_A_NAME = "is no name of a distribution: it is to consist of ASCII letters, digits, '-', '_' and '.', and to begin"


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("", f"'' {NOT_A_NAME}"),
        ("../up", f"'../up' {NOT_A_NAME}"),
        ("ends-", f"'ends-' {NOT_A_NAME}"),
        ("é", f"'é' {NOT_A_NAME}"),
        ("ſ", f"'ſ' {NOT_A_NAME}"),  # a letter s to a pattern that ignores case
        ("two\nlines", f"'two\\nlines' {NOT_A_NAME}"),
        ("3d", "'3d' would be imported as '3d', which is no name of a module"),
        ("lambda", "'lambda' would be imported as 'lambda', which is no name of a module"),
        ("Torch", "the name 'Torch' is taken: a distribution of that name is installed"),
        ("json", "the name 'json' is taken: there is a module 'json' already"),
        ("recorder", "the name 'recorder' is taken: there is a module 'recorder' already"),
        ("builtin", "the name 'builtin' is taken: there is a plugin 'builtin' already"),
        (
            "recorder-dot",
            "the name 'recorder-dot' is taken: the plugin 'builtin' has a format 'dot' for .dot .gv already",
        ),
        ("gv", "the name 'gv' is taken: the plugin 'builtin' has a format 'dot' for .dot .gv already"),
        ("jsonl", "the name 'jsonl' is taken: .jsonl files are recordings"),
    ],
)
def test_a_name_that_would_clash_is_refused_in_one_line_and_nothing_is_written(
    folder: Path, name: str, told: str
) -> None:
    status, error = new(name)
    assert status == 2
    assert error.startswith(f"Error: {told}")
    assert error.count("\n") == 1
    assert list(folder.parent.rglob("*")) == [folder]


def test_what_is_there_already_is_left_as_it_is(folder: Path) -> None:
    (folder / "mine").mkdir()
    (folder / "yours").write_text("yours", "utf-8")
    (folder / "theirs").symlink_to("nowhere")
    for name in ("mine", "yours", "theirs"):
        assert new(name) == (2, f"Error: there is a file or folder {name} already\n")
    assert list((folder / "mine").iterdir()) == []
    assert (folder / "yours").read_text("utf-8") == "yours"


def test_a_folder_that_cannot_be_made_is_told_in_one_line(folder: Path) -> None:
    status, error = new("x" * 300)
    assert status == 1
    assert error.startswith("Error: xxx")
    assert "cannot be written: " in error
    assert error.count("\n") == 1


def test_without_a_command_help_is_printed() -> None:
    result = runner().invoke(main, ["plugin"], catch_exceptions=False)
    assert result.exit_code == 0
    assert "new  Write a distribution" in result.stdout


@pytest.mark.slow
def test_the_wheel_holds_the_templates_and_can_use_them(tmp_path: Path) -> None:
    python("-m", "hatchling", "build", "--target", "wheel", "--directory", tmp_path, cwd=ROOT)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if name.startswith("recorder/templates/")}
    templates = {str(path.relative_to(ROOT)) for path in (ROOT / "recorder" / "templates").rglob("*") if path.is_file()}
    assert held == templates
    where = "import recorder; print(recorder.__file__)"
    assert python("-c", where, path=wheel, cwd=tmp_path).startswith(str(wheel))
    python("-m", "recorder.cli", "plugin", "new", "my-exporter", path=wheel, cwd=tmp_path)
    assert (tmp_path / "my-exporter" / "my_exporter.py").read_text("utf-8") == render(Names("my-exporter"))[
        "my_exporter.py"
    ]
