"""TensorBoard itself serves what was written, and draws it in a browser."""

import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
import torch
from recorder_tensorboard import escape, graph_def, run_metadata, scalars, write
from torch import nn
from torchvision.models import VisionTransformer, resnet18

from recorder import Graph, Recorder
from recorder.testing import HOSTILE_NAMES, bearing

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")

NAMES = (*HOSTILE_NAMES, "valueOf", "hasOwnProperty")
"""What every object in a browser has is in the way of a page that keeps nodes in objects, by name."""


def steps(net: nn.Module) -> list[Graph]:
    with Recorder(net, gradients="stats") as r:
        for _ in range(2):
            net(torch.zeros(2, 3, 32, 32)).sum().backward()
    return list(r.graphs)


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Graph]]:
    vit = VisionTransformer(image_size=32, patch_size=8, num_layers=2, num_heads=2, hidden_dim=16, mlp_dim=32)
    hostile = bearing(*NAMES)
    hostile.nodes[1].outputs[0].shape = ()
    for i, node in enumerate(hostile.nodes):
        node.duration_ns = 1000 * (len(NAMES) - i)
    return {"hostile": [hostile], "resnet": steps(resnet18()), "vit": steps(vit)}


@pytest.fixture(scope="module")
def address(runs: dict[str, list[Graph]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    pytest.importorskip("tensorboard")
    logdir = tmp_path_factory.mktemp("runs")
    for name, graphs in runs.items():
        write(graphs, logdir / name)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", logdir, "--host", "127.0.0.1", "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            found = f"http://127.0.0.1:{port}"
            eventually(lambda: server.poll() is not None or loaded(found, runs))
            assert server.poll() is None
            yield found
        finally:
            server.terminate()


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(240):
        try:
            if holds():
                return
        except OSError:
            pass  # it does not listen yet
        time.sleep(0.25)
    raise AssertionError("it did not become so")


def loaded(address: str, runs: dict[str, list[Graph]]) -> bool:
    """Whether the last event of each run is there."""
    last = {run: list(scalars(graphs[-1]))[-1:] for run, graphs in runs.items()}
    return json.loads(get(address, "graphs/info")).keys() == runs.keys() and all(
        len(json.loads(get(address, "scalars/scalars", run=run, tag=tag))) == len(runs[run])
        for run, tags in last.items()
        for tag in tags
    )


def get(address: str, what: str, **query: str) -> str:
    with urlopen(f"{address}/data/plugin/{what}?{urlencode(query)}") as answer:
        text: str = answer.read().decode()
    return text


@pytest.mark.parametrize("run", ["hostile", "resnet", "vit"])
def test_it_serves_the_graph_that_was_written(address: str, runs: dict[str, list[Graph]], run: str) -> None:
    from google.protobuf import text_format
    from tensorboard.compat.proto.config_pb2 import RunMetadata
    from tensorboard.compat.proto.graph_pb2 import GraphDef

    graphs = runs[run]
    assert text_format.Parse(get(address, "graphs/graph", run=run), GraphDef()) == graph_def(graphs[-1])
    info: Any = json.loads(get(address, "graphs/info"))[run]
    assert info["run_graph"]
    assert all(tag["profile"] for tag in info["tags"].values())
    assert info["tags"].keys() == ({"forward"} if run == "hostile" else {"forward", "backward"})
    for tag in info["tags"]:
        served = text_format.Parse(get(address, "graphs/run_metadata", run=run, tag=tag), RunMetadata())
        assert served == run_metadata(graphs[-1], backward=tag == "backward")


@pytest.mark.parametrize("run", ["resnet", "vit"])
def test_it_serves_the_gradients_of_every_step(address: str, runs: dict[str, list[Graph]], run: str) -> None:
    told = [scalars(graph) for graph in runs[run]]
    assert json.loads(get(address, "scalars/tags"))[run].keys() == told[0].keys() == told[1].keys()
    modules = {node.name for graph in runs[run] for node in graph.nodes if "backward" in node.meta}
    assert {f"gradient norm/{escape(name)}" for name in modules} < told[0].keys()
    for tag in list(told[0])[::20]:
        served = json.loads(get(address, "scalars/scalars", run=run, tag=tag))
        assert [step for _, step, _ in served] == [0, 1]
        assert [value for *_, value in served] == pytest.approx([of[tag] for of in told])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_it_draws_scopes_of_any_name_and_what_they_took(address: str) -> None:
    sync = pytest.importorskip("playwright.sync_api")
    errors: list[str] = []
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())
        page.goto(f"{address}/#graphs")  # which shows the first run
        page.locator("g.node").first.wait_for(state="attached")
        drawn = page.locator("g.node").evaluate_all("nodes => nodes.map(node => node.dataset.name)")
        controls = page.locator("tf-graph-controls")
        controls.locator("paper-dropdown-menu").nth(1).click()
        controls.locator("paper-item", has_text="forward").last.click()
        controls.locator("paper-radio-button", has_text="Profile").click()
        controls.locator("paper-radio-button", has_text="Compute time").click()
        controls.get_by_text(f"{len(NAMES)} µs", exact=True).wait_for()  # in the legend, what took longest
        browser.close()
    assert set(drawn) == {escape(name) for name in ("what comes in", *NAMES, "output")}
    assert not errors
