"""Recordings that do not grow: into a file while they run, every so-many-th step, the last steps alone."""

import errno
import gc
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from support import killed
from support.killed import returned_calls
from support.models import Net, linear, same, x
from torch import nn
from torch.nn.modules.module import _global_forward_hooks

from recorder import EventStream, Graph, Recorder, StreamError, assemble
from recorder.graph.document import dumps


def mlp() -> nn.Sequential:
    return nn.Sequential(linear(), nn.ReLU(), linear(4, 1))


def train(net: nn.Module, steps: int = 3) -> None:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x()) ** 2).mean().backward()
        optimizer.step()


def without_header(graph: Graph) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(dumps(graph))
    del data["meta"]
    return data


# Into a file


def test_a_file_holds_what_memory_would(tmp_path: Path) -> None:
    net = mlp()
    with Recorder(net, gradients="stats") as whole, Recorder(net, gradients="stats", stream=tmp_path / "run") as r:
        train(net)
    assert without_header(r.graph) == without_header(whole.graph)
    loaded = EventStream.load(tmp_path / "run")
    assert loaded == r.events
    assert not loaded.truncated
    assert "truncated" not in assemble(loaded).meta
    assert [type(e) for e in loaded] == [type(e) for e in whole.events]


def test_a_file_is_cut_into_the_steps_that_the_recorder_tells_of(tmp_path: Path) -> None:
    net, path = mlp(), tmp_path / "run.jsonl"
    assert EventStream().split() == []
    with Recorder(net, gradients="stats", stream=path) as r:
        train(net)
    parts = EventStream.load(path).split()
    assert [assemble(part) for part in parts] == list(r.graphs)
    assert len({dumps(graph, timing=False) for graph in r.graphs}) == 3, "gradients differ, or all steps are the first"


def test_the_file_can_be_read_while_it_grows(tmp_path: Path) -> None:
    net, path = mlp(), tmp_path / "run.jsonl"
    with Recorder(net, stream=path) as r:
        assert len(EventStream.load(path)) == 0
        for calls in (1, 2):
            net(x())
            growing = EventStream.load(path)
            assert (returned_calls(growing), growing.truncated) == (calls, True)
        loss = net(x()).sum()
        assert [node.op_type for node in r.graph.nodes][-1] == "sum"  # which no call has followed yet
        assert not r.events.truncated
        del loss
    assert not EventStream.load(path).truncated


def test_a_second_block_goes_on_in_the_same_file(tmp_path: Path) -> None:
    net = mlp()
    r = Recorder(net, stream=tmp_path / "run.jsonl")
    assert len(r.events) == 0
    for calls in (1, 2):
        with r:
            net(x())
        assert returned_calls(EventStream.load(tmp_path / "run.jsonl")) == calls
        assert not r.events.truncated
    assert len(r.graphs) == 2


def test_a_new_recording_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text("old")
    with pytest.warns(RuntimeWarning, match="nothing was recorded"), Recorder(mlp(), stream=path):
        pass
    assert [type(event).__name__ for event in EventStream.load(path)] == ["Holdings"]


def test_the_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = mlp()
    monkeypatch.chdir(tmp_path)
    r = Recorder(net, stream="run.jsonl")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    with r:
        net(x())
    assert (tmp_path / "run.jsonl").exists()
    assert len(r.graph.nodes) == 3


def test_an_error_in_the_run_is_in_the_file(tmp_path: Path) -> None:
    def fail(self: Net, x: torch.Tensor) -> torch.Tensor:
        raise KeyboardInterrupt

    net = Net(fail)
    with pytest.raises(KeyboardInterrupt), Recorder(net, stream=tmp_path / "run.jsonl") as r:
        net(x())
    stream = EventStream.load(tmp_path / "run.jsonl")
    assert not stream.truncated
    assert assemble(stream).nodes[0].error == r.graph.nodes[0].error == "KeyboardInterrupt"


@pytest.mark.slow
def test_a_killed_run_leaves_what_it_had_finished(tmp_path: Path) -> None:
    script = Path(killed.__file__)
    command = [sys.executable, str(script), str(tmp_path), "50", "0"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    trials = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(trials) == 50
    for t in trials:
        assert t["killed"]
        assert t["truncated"]
        assert t["returned"] >= t["told"] >= 1
        assert t["nodes"] >= 3 * t["returned"]
    assert len({t["told"] for t in trials}) > 10  # they were killed at different moments


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_a_file_cut_anywhere_loads(tmp_path: Path, cut: int) -> None:
    net, path = mlp(), tmp_path / "run.jsonl"
    with Recorder(net, stream=path):
        net(x())
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 1 - cut])
    stream = EventStream.load(path)
    assert stream.truncated
    assemble(stream).lint()
    assert EventStream.load(stream.save(tmp_path / "again.jsonl")).truncated


def test_a_streamed_file_is_strict_but_for_its_end(tmp_path: Path) -> None:
    net, path = mlp(), tmp_path / "run.jsonl"
    with Recorder(net, stream=path):
        net(x())
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b'{"type":\n', *lines[3:]]))
    with pytest.raises(StreamError, match="line 4"):
        EventStream.load(path)


# What goes wrong with a file


class Disk:
    """A file on a disk that fills up after so many bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self.file, self.room = file, room

    def write(self, data: bytes) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(data[: self.room])
        self.room -= written
        return int(written)

    def fileno(self) -> int:
        return int(self.file.fileno())

    def close(self) -> None:
        self.file.close()


@pytest.mark.parametrize("room", [0, 100, 3000])
def test_a_full_disk_ends_the_stream_and_not_the_run(tmp_path: Path, room: int) -> None:
    torch.manual_seed(0)
    net = mlp()
    state = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    train(net, 5)
    expected = net.state_dict()
    torch.manual_seed(0)
    again = mlp()
    again.load_state_dict(state)
    torch.manual_seed(0)
    mlp()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Recorder(again, stream=tmp_path / "run.jsonl") as r:
            r._session._store._file = Disk(r._session._store._file, room)  # type: ignore[attr-defined]
            train(again, 5)
    assert same(again.state_dict(), expected)
    assert len(told) == 1
    assert "No space left" in str(told[0].message)
    assert "the run goes on" in str(told[0].message)
    stream = EventStream.load(tmp_path / "run.jsonl")
    assert stream.truncated
    assert stream == r.events
    r.graph.lint()
    assert r.graph.meta["truncated"]


REFUSED = {
    "no folder": "there is no folder '.*folder'; make it first",
    "is a folder": "it is a folder; name a file in it",
    "read-only": "the file is read-only; name another file, or make it writable",
}


@pytest.mark.parametrize("error", REFUSED)
def test_a_stream_that_cannot_be_written_is_refused_before_the_run(
    tmp_path: Path, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, folder = mlp(), tmp_path / "folder"
    path = folder / "run.jsonl"
    if error != "no folder":
        folder.mkdir()
    if error == "is a folder":
        path.mkdir()
    if error == "read-only":
        path.write_text("precious")
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everything
    r = Recorder(net, stream=path)
    hooks, ran = dict(_global_forward_hooks), []
    with pytest.raises(StreamError, match=f"cannot be written: {REFUSED[error]}") as told, r:
        ran.append(True)
    assert isinstance(told.value, OSError)
    assert ran == []
    assert dict(_global_forward_hooks) == hooks
    if error == "read-only":
        assert path.read_text() == "precious"
    if error == "no folder":  # what was wrong may be mended
        folder.mkdir()
        with r:
            net(x())
        assert len(r.graph.nodes) > 0


def test_a_file_that_is_removed_ends_the_stream(tmp_path: Path) -> None:
    net, folder = mlp(), tmp_path / "folder"
    path = folder / "run.jsonl"
    folder.mkdir()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with Recorder(net, stream=path) as r:
            net(x())
            path.unlink()
            folder.rmdir()
            net(x())
            train(net)
        assert len(told) == 1, [str(w.message) for w in told]
        assert "ends here" in str(told[0].message)
        assert r.events.truncated
        r.graph.lint()
    assert net(x()).shape == (2, 1)


# Every so-many-th step, the last steps


def calls(graph: Graph) -> list[str]:
    return [node.op_type for node in graph.nodes]


def test_every_third_step_is_recorded_with_what_follows_it() -> None:
    net = mlp()
    with Recorder(net, every=3) as r:
        train(net, 7)
    assert len(r.graphs) == 3
    with Recorder(net) as one:
        train(net, 1)
    for graph in r.graphs:
        graph.lint()
        assert calls(graph) == calls(one.graph)
        assert [n.meta.get("backward") is None for n in graph.nodes] == [
            n.meta.get("backward") is None for n in one.graph.nodes
        ]
    assert r.graph.meta["every"] == 3


@pytest.mark.parametrize("gradients", ["on", "stats"])
def test_gradients_of_steps_that_are_left_out_are_not_recorded(gradients: Any) -> None:
    net = mlp()
    with Recorder(net, every=2, gradients=gradients) as r:
        train(net, 4)
    passes = {event.backward for event in r.events if type(event).__name__ in ("Grad", "ParameterGrad")}
    assert len(passes) == 2
    assert not net[0].weight._post_accumulate_grad_hooks


def test_a_step_may_call_parts_and_other_models() -> None:
    generator, critic = mlp(), nn.Sequential(linear(1, 1))
    with Recorder(generator, critic, every=2, keep=2) as r:
        for _ in range(6):
            critic(generator(x())).sum()
    assert calls(r.graph) == ["Linear", "ReLU", "Linear", "Linear", "sum"] * 2
    assert len(r.graphs) == 4  # each outermost call


def test_a_model_that_calls_itself_is_left_out_as_one() -> None:
    def forward(self: Net, x: torch.Tensor, times: int) -> torch.Tensor:
        return self(self.fc(x), times - 1) if times else x

    net = Net(forward, fc=linear())
    with Recorder(net, every=2) as r:
        for _ in range(4):
            net(x(), 2)
    assert calls(r.graph) == ["Linear", "Linear", "Net"] * 2  # the innermost has nothing inside


def test_a_step_that_is_left_out_and_interrupted_ends() -> None:
    def forward(self: Net, x: torch.Tensor, interrupt: bool) -> torch.Tensor:
        if interrupt:
            raise KeyboardInterrupt
        return self.fc(x)

    net = Net(forward, fc=linear())
    with Recorder(net, every=2) as r:
        net(x(), False)
        with pytest.raises(KeyboardInterrupt):
            net(x(), True)
        net(x(), False)
        net(x(), False)
    assert calls(r.graph) == ["Linear"] * 2


def test_a_fused_path_stays_fused_in_a_step_that_is_left_out() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    seen = []

    class Looks(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(torch._C._len_torch_function_stack())
            return layer(x)

    net = Looks()
    with torch.no_grad(), Recorder(net, every=2):
        net(x(1, 3, 8))
        net(x(1, 3, 8))
    assert seen == [1, 0]


def test_a_mode_of_the_users_above_ours_does_not_show_a_step_that_is_left_out() -> None:
    class Nothing(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return func(*args, **(kwargs or {}))

    net = Net(lambda self, x: x + 1)
    with Recorder(net, every=2) as r, Nothing():
        net(x())
        net(x())
    assert calls(r.graph) == ["add"]


def test_the_last_steps_are_kept() -> None:
    net = mlp()
    with Recorder(net, keep=2, gradients="on") as r:
        train(net, 5)
    with Recorder(net, gradients="on") as whole:
        train(net, 5)
    assert len(r.graphs) == 2
    assert [without_header(g)["nodes"] for g in r.graphs] == [without_header(g)["nodes"] for g in whole.graphs[-2:]]
    r.graph.lint()
    assert len(r.graph.nodes) == 2 * len(r.graphs[0].nodes)
    assert r.graph.meta["keep"] == 2


def test_what_an_earlier_step_left_is_a_constant() -> None:
    net = Net(lambda self, x, h: self.fc(x) + h, fc=linear())
    h = torch.zeros(2, 4)
    with Recorder(net, keep=1) as r:
        for _ in range(4):
            h = net(x(), h)
    (graph,) = r.graphs
    assert [v.role for v in graph.nodes[-1].inputs] == ["activation", "input"]
    graph.lint()


def test_a_backward_of_a_step_that_is_gone_is_left_out() -> None:
    net = mlp()
    with Recorder(net, keep=1, gradients="on") as r:
        losses = [net(x()).sum() for _ in range(3)]
        losses[0].backward()
        losses[2].backward()
    graph = r.graph
    graph.lint()
    assert graph.nodes[0].meta["backward"]
    assert len({e.backward for e in r.events if type(e).__name__ == "Grad"}) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"keep": -1}, "keep=-1"),
        ({"every": True}, "every=True"),
        ({"keep": 1, "stream": "x"}, "exclude"),
    ],
)
def test_wrong_numbers_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recorder(mlp(), **options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["every and keep", "keep", "stream"])
def test_a_long_run_takes_no_more_memory(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for crowd in ("recorder.capture.session._CROWD", "recorder.capture.backward_hooks._CROWD"):
        monkeypatch.setattr(crowd, 300)  # so that tensors are forgotten many times over
    steps, options = {
        "every and keep": (20_000, {"every": 100, "keep": 10}),
        "keep": (1_500, {"keep": 10}),
        "stream": (1_500, {"stream": tmp_path / "run.jsonl"}),
    }[kind]
    net = mlp()
    blocks = []
    with Recorder(net, **options) as r:  # type: ignore[arg-type]
        for _ in range(30):
            train(net, steps // 30)
            gc.collect()
            blocks.append(sys.getallocatedblocks())
    early, late = max(blocks[5:15]), max(blocks[20:])
    assert late < early + 500, blocks
    r.graph.lint()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_records_nothing_and_leaves_the_file_alone(tmp_path: Path, streamed: bool) -> None:
    """As the workers of a data loader are, inside the block."""
    net = mlp()
    with Recorder(net, stream=tmp_path / "run.jsonl" if streamed else None) as r:
        hidden = net(x())
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with torch.no_grad():
                    net(x())
                    hidden.exp()
                free = torch._C._len_torch_function_stack() == 0
                r.__exit__(None, None, None)
                status = 0 if free and (streamed or len(r.graphs) == 1) else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        net(x()).sum()
    assert [n.op_type for n in r.graph.nodes].count("sum") == 1
    assert len(r.graphs) == 2
    if streamed:
        assert not EventStream.load(tmp_path / "run.jsonl").truncated
