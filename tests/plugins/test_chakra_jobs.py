"""Jobs of four ranks that ran, as Chakra execution traces."""

import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner
from recorder_chakra import recorder_register_commands, save_chakra
from support.chakra_wire import COLLECTIVE, RECV, SEND, attributes, read

pytestmark = pytest.mark.slow


def test_a_pipeline_as_it_ran(rank_jobs: Path, tmp_path: Path) -> None:
    """What one rank sends another receives: as many times, of the same size, under the same tag and group."""
    files = sorted(rank_jobs.glob("1f1b-?.jsonl"))
    commands = click.Group()
    recorder_register_commands(commands)
    result = CliRunner().invoke(commands, ["chakra", *map(str, files), "-o", str(tmp_path / "job")])
    assert result.exit_code == 0, result.output
    ends: dict[int, list[tuple[Any, ...]]] = {SEND: [], RECV: []}
    for rank in range(4):
        for node in read((tmp_path / f"job.{rank}.et").read_bytes())[1:]:
            if node[3][0] in ends:
                told = attributes(node)
                ends[node[3][0]].append(
                    tuple(told[name][1] for name in ("comm_src", "comm_dst", "comm_tag", "comm_size", "pg_name"))
                )
    assert len(ends[SEND]) > 10
    assert sorted(ends[SEND]) == sorted(ends[RECV])
    groups = json.loads((tmp_path / "comm_group.json").read_text())
    assert min(map(int, groups)) == 1
    assert {name for *_, name in ends[SEND]} <= set(groups)


def test_the_collectives_of_a_job_as_it_ran(rank_jobs: Path, tmp_path: Path) -> None:
    written = save_chakra(sorted(rank_jobs.glob("fsdp-?.jsonl")), tmp_path / "job")
    alike = []
    for path in written[:-1]:
        found = [node for node in read(path.read_bytes())[1:] if node[3] == [COLLECTIVE]]
        alike.append([tuple(attributes(node)[name][1] for name in ("comm_type", "comm_size")) for node in found])
    counts = json.loads((rank_jobs / "fsdp-0.json").read_text())["counts"]
    assert len(alike[0]) >= sum(counts.values()) > 0
    assert all(rank == alike[0] for rank in alike)
