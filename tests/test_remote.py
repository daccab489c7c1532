"""Files elsewhere: in the memory of a process, as fsspec has them, beside the same ones on the disk."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import recorder
from recorder import EventStream, RecorderError
from recorder.events import Collective, Group, Header
from recorder.testing import sample_graphs, sample_streams

fsspec = pytest.importorskip("fsspec")
GRAPH = sample_graphs()["residual"]


@pytest.fixture(autouse=True)
def memory() -> Iterator[None]:
    store = fsspec.filesystem("memory")
    store.store.clear()
    yield
    store.store.clear()


def bytes_at(address: str) -> bytes:
    with fsspec.open(address, "rb") as file:
        found: bytes = file.read()
    return found


@pytest.mark.parametrize("suffix", [".dot", ".json", ".arch", ".html"])
def test_a_graph_is_the_same_there(tmp_path: Path, suffix: str) -> None:
    here, there = tmp_path / f"net{suffix}", f"memory://runs/net{suffix}"
    assert recorder.save(GRAPH, here) == here
    assert recorder.save(GRAPH, there) == there
    assert bytes_at(there) == here.read_bytes()
    if suffix in (".json", ".arch"):
        assert recorder.load(there) == recorder.load(here)


def test_a_recording_is_read_from_there(tmp_path: Path) -> None:
    stream = sample_streams()["residual"]
    stream.save(tmp_path / "run.jsonl")
    assert stream.save("memory://run.jsonl") == "memory://run.jsonl"
    assert bytes_at("memory://run.jsonl") == (tmp_path / "run.jsonl").read_bytes()
    assert EventStream.load("memory://run.jsonl") == stream
    assert recorder.load("memory://run.jsonl") == recorder.assemble(stream)


def test_a_difference_in_words() -> None:
    found = recorder.diff(GRAPH, sample_graphs()["empty"])
    recorder.save(found, "memory://change.md")
    assert bytes_at("memory://change.md").decode() == found.to_markdown()


def test_what_is_wrong_there_is_told_with_its_address() -> None:
    fsspec.filesystem("memory").pipe_file("/run.jsonl", b"{}\n")
    with pytest.raises(recorder.StreamError, match=r"memory://run\.jsonl, line 1"):
        recorder.load("memory://run.jsonl")
    with pytest.raises(FileNotFoundError):
        recorder.load("memory://nothing.json")


def test_the_ranks_of_a_job_are_merged_from_there(tmp_path: Path) -> None:
    for rank in range(3):
        events = [Group(0, "0", "0-2", rank), Collective(0, 0, 0, "barrier", 0)]
        stream = EventStream(events, Header(meta={"rank": rank, "world_size": 3}))
        stream.save(tmp_path / f"{rank}.jsonl")
        stream.save(f"memory://runs/{rank}.jsonl")
    expected = recorder.merge(str(tmp_path / "*.jsonl"), fold=False)
    assert recorder.merge("memory://runs/*.jsonl", fold=False) == expected
    assert recorder.merge([f"memory://runs/{rank}.jsonl" for rank in range(3)], fold=False) == expected
    assert recorder.desync("memory://runs/*.jsonl").ok
    assert list(recorder.desync("memory://runs/0.jsonl").missing) == [1, 2]
    with pytest.raises(recorder.StreamError, match="no file matches"):
        recorder.merge("memory://other/*.jsonl")


def test_nobody_knows_the_protocol() -> None:
    with pytest.raises(RecorderError, match=r"'nowhere://x\.dot' cannot be reached"):
        recorder.save(GRAPH, "nowhere://x.dot")


def test_without_fsspec_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    for use in (lambda: recorder.save(GRAPH, "s3://b/x.dot"), lambda: recorder.load("s3://b/x.json")):
        with pytest.raises(RecorderError, match=r"graph-recorder\[remote\]"):
            use()


def test_who_gives_no_address_imports_nothing(tmp_path: Path) -> None:
    program = f"""
import sys, recorder
from recorder.testing import sample_graphs
graph = sample_graphs()["residual"]
recorder.load(recorder.save(graph, {str(tmp_path / "net.json")!r}))
assert "fsspec" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
