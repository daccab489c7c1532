"""``recorder merge`` and ``recorder desync``."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import recorder
from recorder import EventStream
from recorder.cli import main
from recorder.events import Collective, Enter, Group, Header, Leave, Module, Op

SIZE = 3


def rank(folder: Path, number: int, calls: list[str]) -> str:
    """A file of a rank that issued these in a call of a model."""
    events: list[Any] = [
        Module(0, "", "Net", "m.Net", root=True),
        Group(0, "0", f"0-{SIZE - 1}", number),
        Enter(0, 0, 0, outermost=True),
    ]
    for index, op_type in enumerate(calls):
        events += [
            Collective(index, 0, index, op_type, index, dtype="float32", inputs=((2,),), module=""),
            Op(op_type, index, index + 1, f"torch.distributed.{op_type}", collective=index),
        ]
    events.append(Leave(0, 9))
    header = Header(model="m.Net", meta={"rank": number, "world_size": SIZE})
    return str(EventStream(events, header).save(folder / f"{number}.jsonl"))


def run(*arguments: str) -> Any:
    return CliRunner().invoke(main, [*arguments])


@pytest.fixture
def agreeing(tmp_path: Path) -> list[str]:
    return [rank(tmp_path, number, ["all_reduce", "barrier"]) for number in range(SIZE)]


@pytest.fixture
def apart(tmp_path: Path) -> list[str]:
    return [rank(tmp_path, number, ["all_reduce", "reduce" if number == 1 else "barrier"]) for number in range(SIZE)]


def test_ranks_that_agree(agreeing: list[str]) -> None:
    result = run("desync", *agreeing)
    assert (result.exit_code, result.stdout) == (0, "ranks 0–2: every operation agrees\n")


def test_ranks_that_fell_apart(apart: list[str]) -> None:
    result = run("desync", *apart)
    assert result.exit_code == 1
    assert "barrier 1 of group '0' (ranks 0–2), in the model itself: rank 1 differs" in result.stdout


def test_a_rank_too_few(agreeing: list[str]) -> None:
    result = run("desync", *agreeing[:2])
    assert (result.exit_code, result.stdout) == (1, "rank 2: no recording\n")
    assert run("desync", *agreeing, "--expect", "4").exit_code == 1


def test_merged(agreeing: list[str], tmp_path: Path) -> None:
    out = tmp_path / "job.json"
    result = run("merge", *agreeing, "-o", str(out), "-o", str(tmp_path / "job.mmd"))
    assert result.exit_code == 0, result.output
    graph = recorder.load(out)
    assert [scope.name for scope in graph.scopes] == ["ranks 0–2", "ranks 0–2.Net"]
    assert [link.op_type for link in graph.links] == ["all_reduce", "barrier"]
    assert "flowchart" in (tmp_path / "job.mmd").read_text()


def test_each_rank_and_some(agreeing: list[str], tmp_path: Path) -> None:
    out = str(tmp_path / "job.json")
    assert run("merge", *agreeing, "-o", out, "--each").exit_code == 0
    assert len([scope for scope in recorder.load(out).scopes if scope.parent is None]) == SIZE
    assert run("merge", *agreeing, "-o", out, "--ranks", "0,2").exit_code == 0
    assert [s.name for s in recorder.load(out).scopes if s.parent is None] == ["rank 0", "rank 2"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say where to"),
        (("-o", "job.jsonl"), "several ranks are no one recording"),
        (("-o", "job.json", "--ranks", "a"), "ranks are numbers"),
        (("-o", "job.json", "--ranks", "7"), "there is no recording of rank 7"),
    ],
)
def test_what_cannot_be(agreeing: list[str], arguments: tuple[str, ...], said: str) -> None:
    result = run("merge", *agreeing, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for command in (("desync",), ("merge", "-f", "json")):
        result = run(*command, str(tmp_path / "none.jsonl"))
        assert result.exit_code == 2
        assert "No such file" in result.stderr
