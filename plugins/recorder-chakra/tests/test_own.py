"""A job of two ranks, from recordings to files. Byte by byte they are read in the tests of the whole repository."""

import json

import pytest
from click import Group as Commands
from click.testing import CliRunner
from recorder_chakra import recorder_register_commands

from recorder import EventStream
from recorder.events import Collective, Group, Header, Op


@pytest.fixture
def runs(tmp_path):
    for rank in range(2):
        events = [
            Group(0, "world", "0-1", rank),
            Collective(0, 0, 0, "barrier", 1),
            Op("barrier", 1, 2, "torch.distributed.barrier", collective=0),
        ]
        EventStream(events, Header(model="Net", meta={"rank": rank})).save(tmp_path / f"{rank}.jsonl")
    return tmp_path


def run(*arguments):
    commands = Commands()
    recorder_register_commands(commands)
    return CliRunner().invoke(commands, ["chakra", *map(str, arguments)])


def test_a_trace_for_each_rank(runs):
    result = run(runs / "0.jsonl", runs / "1.jsonl", "-o", runs / "job")
    assert result.exit_code == 0, result.output
    assert json.loads((runs / "comm_group.json").read_text()) == {"1": [0, 1]}
    for rank in range(2):
        assert b"barrier" in (runs / f"job.{rank}.et").read_bytes()


def test_two_of_one_rank(runs):
    result = run(runs / "0.jsonl", runs / "0.jsonl", "-o", runs / "job")
    assert "two recordings are of rank 0" in str(result.exception)
