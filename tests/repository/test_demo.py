"""The demo does what the README says, on the photograph that comes with it."""

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import onnx
import pytest

from recorder import EventStream, assemble, loads

pytestmark = pytest.mark.slow

TUTORIAL = Path(__file__).parents[2] / "examples" / "tutorial.py"


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    done = subprocess.run([sys.executable, TUTORIAL, folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    (folder / "printed.txt").write_text(done.stdout)
    return folder


def test_prints_the_shapes_of_the_tutorial(out: Path) -> None:
    printed = (out / "printed.txt").read_text()
    for line in (
        "conv1 → (1, 16, 718, 478)",
        "pool  → (1, 16, 358, 238)",
        "fc1   → (1, 16, 358, 120)",
        "fc2   → (1, 16, 358, 1)",
    ):
        assert line in printed


@pytest.mark.parametrize("name", ["tutorial", "resnet50"])
def test_writes_every_format(out: Path, name: str) -> None:
    assert (out / f"{name}.dot").read_text().startswith("digraph")
    assert "<svg" in (out / f"{name}.svg").read_text()
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "flowchart" in (out / f"{name}.mmd").read_text()
    onnx.checker.check_model(onnx.load(out / f"{name}.onnx.json", format="json"), full_check=True)
    assert assemble(EventStream.load(out / f"{name}.jsonl")) == loads((out / f"{name}.json").read_bytes())


def test_the_graph_is_the_tutorials(out: Path) -> None:
    graph = loads((out / "tutorial.json").read_bytes())
    chain = ["conv1", "relu", "pool", "view", "fc1", "relu_1", "fc2", "relu_2", "fc3", "relu_3", "sub", "sum"]
    assert [node.name for node in graph.nodes] == chain
    assert [(e.source.name, e.target.name) for e in graph.edges()] == list(pairwise(chain))
    assert json.loads((out / "tutorial.json").read_bytes())["name"] == "Net"


def test_grows_step_by_step(out: Path) -> None:
    for number, name in enumerate(("conv1", "pool", "fc1", "fc2"), 1):
        picture = (out / f"step{number}_{name}.svg").read_text()
        assert picture.count("Conv2d") >= 1
        assert ("fc2" in picture.split("</title>", 1)[1]) == (name == "fc2")
