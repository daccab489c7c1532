import logging
import re
import threading
from pathlib import Path
from queue import Queue, SimpleQueue

import pytest
import recorder_live
import torch
from recorder_live import follow
from torch import nn

from recorder import Recorder
from recorder.events import Enter, Leave, Op
from recorder.plugins.manager import Plugins
from recorder.testing import HOSTILE_NAMES, sample_streams

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """This plugin, and no other that may be installed."""
    plugins = Plugins(entries=())
    plugins.register(recorder_live, "live")
    monkeypatch.setattr("recorder.recorder.installed", lambda: plugins)


@pytest.fixture
def net():
    return nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.ReLU()))


@pytest.fixture
def x():
    return torch.ones(1, 2)


def taken(queue):
    return [queue.get() for _ in range(queue.qsize())]


def test_nobody_follows_until_somebody_asks():
    assert recorder_live.recorder_open_sink() is None


def test_a_queue_gets_every_event_in_order_while_the_block_goes_on(net, x):
    queue = SimpleQueue()
    with follow(queue.put), Recorder(net) as r:
        net(x)
        first = taken(queue)
        assert any(isinstance(event, Leave) for event in first)
        net(x).sum().backward()
        assert not queue.empty()
    assert first + taken(queue) == list(r.events)


def test_those_outside_of_the_block_are_not_followed(net, x):
    queue = SimpleQueue()
    with follow(queue.put):
        pass
    with Recorder(net):
        net(x)

    def elsewhere():
        with Recorder(net):
            net(x)

    with follow(queue.put):
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert queue.empty()


def test_two_follow_and_each_gets_everything(net, x):
    outer, inner = SimpleQueue(), SimpleQueue()
    with follow(outer.put):
        with follow(inner.put), Recorder(net) as first:
            net(x)
        with Recorder(net) as second:
            net(x)
    assert taken(inner) == list(first.events)
    assert taken(outer) == [*first.events, *second.events]


def test_a_full_queue_is_warned_about_once_and_the_recording_goes_on(net, x):
    queue, r = Queue(maxsize=2), Recorder(net)

    def run():
        with follow(queue.put_nowait), r:
            net(x)
            net(x)

    with pytest.warns(RuntimeWarning, match="the sink of the plugin 'live' raised.*Full") as warned:
        run()
    assert len(warned) == 1
    assert taken(queue) == list(r.events)[:2]
    assert len(r.graph.nodes) == 4


def lines(caplog):
    return [(r.levelname, re.sub(r"\d+\.\d\d ms", "N ms", r.getMessage())) for r in caplog.records]


def test_the_log_tells_of_forward_and_backward(net, x, caplog):
    with caplog.at_level(logging.DEBUG, "recorder_live"), Recorder(net, gradients="on") as r:
        net(x).sum().backward()
    assert lines(caplog) == [
        ("DEBUG", "Sequential …"),
        ("DEBUG", "0 (Linear) took N ms, made float32[1, 2]"),
        ("DEBUG", "1 (Sequential) …"),
        ("DEBUG", "1.0 (ReLU) took N ms, made float32[1, 2]"),
        ("DEBUG", "1 (Sequential) took N ms"),
        ("INFO", "Sequential took N ms"),
        ("DEBUG", "sum took N ms, made float32[]"),
        ("DEBUG", "backward reached sum"),
        ("DEBUG", "backward left sum"),
        ("DEBUG", "backward reached 1.0 (ReLU)"),
        ("DEBUG", "backward reached 1 (Sequential)"),
        ("DEBUG", "backward reached Sequential"),
        ("DEBUG", "backward left 1.0 (ReLU)"),
        ("DEBUG", "backward reached 0 (Linear)"),
        ("DEBUG", "backward left 0 (Linear)"),
        ("DEBUG", "0.bias received a gradient"),
        ("DEBUG", "0.weight received a gradient"),
    ]
    told = [record.event for record in caplog.records]
    assert told == [event for event in r.events if event in told]


def test_at_the_level_of_info_a_step_is_a_line(net, x, caplog):
    with caplog.at_level(logging.INFO, "recorder_live"), Recorder(net):
        for _ in range(3):
            net(x).sum().backward()
    assert lines(caplog) == [("INFO", "Sequential took N ms")] * 3


def test_what_fails_is_a_warning(net, caplog):
    with caplog.at_level(logging.INFO, "recorder_live"), pytest.raises(RuntimeError), Recorder(net):
        net(torch.ones(1, 3))
    levels, texts = zip(*lines(caplog))
    assert set(levels) == {"WARNING"}
    assert [text.partition(", and failed: RuntimeError: ")[0] for text in texts] == [
        "0 (Linear) took N ms",
        "Sequential took N ms",
    ]


@pytest.mark.parametrize("name", sample_streams())
def test_every_call_of_every_sample_is_one_line_that_a_terminal_only_shows(name, caplog):
    stream = sample_streams()[name]
    with caplog.at_level(logging.DEBUG, "recorder_live"):
        sink = recorder_live.recorder_open_sink()
        for event in stream:
            sink(event)
    assert [r.event for r in caplog.records] == [e for e in stream if isinstance(e, Enter | Leave | Op)]
    assert all(record.getMessage().isprintable() for record in caplog.records)
    if name == "hostile":
        assert sum(f"leaf {HOSTILE_NAMES[0]}" in record.getMessage() for record in caplog.records) == 1


def test_a_long_run_is_followed_with_the_memory_of_a_short_one(net, x, monkeypatch, caplog):
    monkeypatch.setattr(recorder_live, "REMEMBERED", 10)
    with caplog.at_level(logging.DEBUG, "recorder_live"):
        log = recorder_live._Log()
        with follow(log), Recorder(net):
            for _ in range(20):
                net(x)
            assert len(log._calls) == 10
            caplog.clear()
            net(x).sum().backward()
    assert (
        sum(message == "backward left 0 (Linear)" for message in caplog.messages) == 2
    )  # there is a log of its own too


def test_the_examples_of_the_readme(capsys, monkeypatch, net, x):
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.getLogger("recorder_live"), "level", logging.NOTSET)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    names = {"net": nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "x": torch.ones(2, 3), "batches": [torch.ones(2, 3)]}
    for block in blocks:
        exec(block, names)
    out, err = capsys.readouterr()
    (shown,) = re.findall(r"^    (DEBUG .*?)^    …", README.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    told = [re.sub(r"\d+\.\d\d", "N", line.strip()) for line in shown.splitlines()]
    assert [re.sub(r"\d+\.\d\d", "N", line) for line in err.splitlines()][: len(told)] == told
    assert re.match(r"\d+ events, the first of them Module\(", out)
