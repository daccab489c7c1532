"""Google's Model Explorer itself serves a graph of ours, and shows it in a browser."""

import json
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote
from urllib.request import urlopen

import pytest
import torch
from recorder_model_explorer import ModelExplorerExporter, NodeDataExporter
from torchvision.models import resnet18

from recorder import Graph, Recorder

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

SERVE = """
import sys
from model_explorer import server

server._check_new_version = lambda *_: {"version": ""}  # which asks the network
server.start(port=int(sys.argv[1]), no_open_in_browser=True, skip_health_check=True)
"""


@pytest.fixture(scope="module")
def graph() -> Graph:
    net = resnet18()
    with Recorder(net) as r:
        net(torch.zeros(2, 3, 32, 32)).sum().backward()
    return r.graph


@pytest.fixture
def files(graph: Graph, tmp_path: Path) -> tuple[Path, Path]:
    (tmp_path / "net.me.json").write_text(ModelExplorerExporter().export(graph))
    (tmp_path / "times.node-data.json").write_text(NodeDataExporter().export(graph, metric="backward"))
    return tmp_path / "net.me.json", tmp_path / "times.node-data.json"


@pytest.fixture
def address() -> Iterator[str]:
    pytest.importorskip("model_explorer")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", SERVE, str(port)], stdout=subprocess.DEVNULL) as server:
        try:
            for _ in range(240):
                assert server.poll() is None
                with socket.socket() as knock:
                    if knock.connect_ex(("localhost", port)) == 0:
                        break
                time.sleep(0.25)
            yield f"http://localhost:{port}"
        finally:
            server.terminate()


def test_it_serves_the_graph_that_was_written(address: str, files: tuple[Path, Path]) -> None:
    with urlopen(f"{address}/api/v1/read_text_file?path={quote(str(files[0]))}") as answer:
        assert json.loads(json.load(answer)["content"]) == json.loads(files[0].read_text())


def shown(address: str, *paths: Path) -> str:
    """The text of the page that opens a model and node data."""
    sync = pytest.importorskip("playwright.sync_api")
    data = {"models": [{"url": str(paths[0])}], "nodeData": list(map(str, paths[1:])), "nodeDataTargets": [""]}
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.route(lambda url: not url.startswith(address), lambda route: route.abort())
        page.goto(f"{address}/?data={quote(json.dumps(data))}")
        page.get_by_text("backward (ms)").first.wait_for(timeout=60_000)
        text: str = page.inner_text("body")
        browser.close()
    return text


@needs_chromium
def test_it_shows_every_node_every_layer_and_the_node_data(
    address: str, files: tuple[Path, Path], graph: Graph
) -> None:
    text = shown(address, *files)
    counts: Any = re.search(r"op node count\s+(\d+)\s+layer count\s+(\d+)", text)
    drawn = len(graph.inputs) + len(graph.nodes) + len(graph.outputs)
    assert (int(counts[1]), int(counts[2])) == (drawn, len(graph.scopes))
    took = max(node.backward_ns for node in graph.nodes if node.backward_ns is not None) / 1e6
    assert re.search(rf"Max\s+{re.escape(str(took))}", text)
