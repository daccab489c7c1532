"""Every distribution under plugins/, as a user meets it: built and installed from a copy of its folder alone, found by
its entry point, tested by its own tests outside of this repository; and as an author reads it: public names only.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import recorder_exporters.graphviz
import recorder_exporters.scenes

import recorder
import recorder.events
import recorder.testing
from recorder.hookspecs import Hooks

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in (ROOT / "plugins").glob("*/pyproject.toml"))
NAMES = [folder.name for folder in FOLDERS]

PUBLIC = {
    "recorder": {*recorder.__all__},
    "recorder.events": {*recorder.events.__all__},  # what a sink gets
    "recorder.testing": {*recorder.testing.__all__},
    "recorder_exporters.graphviz": {*recorder_exporters.graphviz.__all__},
    "recorder_exporters.scenes": {*recorder_exporters.scenes.__all__},
}


def project(folder: Path) -> dict[str, Any]:
    table: dict[str, Any] = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    return table


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages into which pip has installed all of them."""
    root = tmp_path_factory.mktemp("plugins")
    sources = [shutil.copytree(f, root / f.name, ignore=shutil.ignore_patterns("__pycache__")) for f in FOLDERS]
    site = root / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", site, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return site


def run(site: Path, *command: str | Path) -> str:
    """Python outside of this repository, with the installed plugins and whatever this interpreter has."""
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, *command], env=environment, cwd=site.parent, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


ASK = """
import json, sys
from importlib.metadata import entry_points
from recorder.cli import main
from recorder.plugins.manager import installed

installed().formats()
main.make_context("recorder", [], resilient_parsing=True)
print(json.dumps([[entry.name for entry in entry_points(group="recorder")], "torch" in sys.modules]))
"""


def test_all_are_found_together_and_none_loads_torch(site: Path) -> None:
    found, torch_loaded = json.loads(run(site, "-c", ASK))  # one that is left out is warned about: an error here
    groups = [project(folder)["entry-points"] for folder in FOLDERS]
    assert [[*group] for group in groups if "recorder" not in group] == [["pytest11"]]  # one is a plugin of pytest
    entries = [entry for group in groups for entry in group.get("recorder", ())]
    assert len(set(entries)) == len(FOLDERS) - 1
    assert set(entries) <= set(found)
    assert not torch_loaded


def test_the_command_line_writes_what_they_add(site: Path) -> None:
    outputs = ["run.jsonl", "net.json", "net.edges", "net.graphml", "net.cyjs", "net.node-link.json", "net.me.json"]
    recorder_ = ["-W", "error", "-m", "recorder.cli"]
    to = [argument for name in [*outputs, "net.node-data.json"] for argument in ("-o", name)]
    run(site, *recorder_, "record", "torchvision.models:resnet18", "--input", "2,3,32,32", "--backward", *to)
    run(site, *recorder_, "trace", "run.jsonl", "-o", "trace.json")
    run(site, *recorder_, "tensorboard", "run.jsonl", "--logdir", "runs")
    (events,) = (site.parent / "runs").iterdir()
    assert b"ResNet/layer4/1/conv2" in events.read_bytes()
    written = {name: (site.parent / name).read_text("utf-8") for name in [*outputs, "trace.json"]}
    for name, text in written.items():
        assert "layer4.1.conv2" in text, name
    flops = [node["meta"].get("flops") for node in json.loads(written["net.json"])["nodes"] if node["kind"] == "module"]
    assert sum(map(bool, flops)) == 21  # the convolutions and the linear layer
    listed = run(site, *recorder_, "formats").split()
    assert {"edgelist", "graphml", "cytoscape", "node-link", "model-explorer", "model-explorer-data", "tikz"} <= set(
        listed
    )


@pytest.mark.parametrize("name", NAMES)
def test_its_own_tests_pass_outside_of_this_repository(site: Path, name: str) -> None:
    out = run(site, "-m", "pytest", "-q", "-p", "no:cacheprovider", site.parent / name)
    assert re.search(r"\b[1-9]\d* passed", out), out
    assert "skipped" not in out


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_it_uses_public_names_only(folder: Path) -> None:
    used: set[tuple[str, str]] = set()
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom):
                used |= {(node.module or ".", alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                used |= {(alias.name, "*") for alias in node.names}
    ours = {(module, name) for module, name in used if module.partition(".")[0] in ("recorder", "recorder_exporters")}
    assert ours
    assert not {f"{module}.{name}" for module, name in ours if name not in PUBLIC.get(module, ())}


def test_every_hook_has_a_user_here() -> None:
    hooks = {name for name in vars(Hooks) if name.startswith("recorder_")}
    trees = [ast.parse(file.read_text("utf-8")) for folder in FOLDERS for file in folder.glob("*.py")]
    functions = [node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert hooks == {f.name for f in functions if "hookimpl" in map(ast.unparse, f.decorator_list)}


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_its_metadata_and_readme_are_whole(folder: Path) -> None:
    told = project(folder)
    readme = (folder / told["readme"]).read_text("utf-8")
    assert told["name"] == folder.name
    assert "graph-recorder" in told["dependencies"]
    assert readme.startswith(f"# {folder.name}\n")
    for target in re.findall(r"\]\(([^)#]+)\)|src=\"([^\"]+)\"", readme):
        path = target[0] or target[1]
        assert path.startswith("https://") or (folder / path).exists(), path
    assert f'"plugins/{folder.name}"' in (ROOT / "pyproject.toml").read_text("utf-8"), "pytest's pythonpath lacks it"
