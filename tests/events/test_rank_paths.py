"""A file for each rank, and what is refused before the run."""

from pathlib import Path

import pytest
import torch
from torch import nn

from recorder import Recorder, StreamError
from recorder.events.rank_paths import path_of_rank


def test_the_place_of_the_rank_is_filled_in() -> None:
    assert path_of_rank(Path("runs/{rank}.jsonl"), 3, 8) == Path("runs/3.jsonl")
    assert path_of_rank(Path("{rank}/of-{rank}.jsonl"), 0, 1) == Path("0/of-0.jsonl")
    assert path_of_rank(Path("run.jsonl"), 0, 1) == Path("run.jsonl")


def test_one_file_for_several_ranks_is_refused() -> None:
    with pytest.raises(StreamError, match=r"one file, and there are 8 ranks: have \{rank\} in its name.*run-\{rank\}"):
        path_of_rank(Path("run.jsonl"), 3, 8)


def test_torchrun_says_it_before_there_is_a_process_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    net = nn.Linear(1, 1)
    with Recorder(net, stream=tmp_path / "{rank}.jsonl"):
        net(torch.ones(1))
    assert (tmp_path / "5.jsonl").exists()
    entered = False
    with pytest.raises(StreamError, match="there are 8 ranks"), Recorder(nn.Linear(1, 1), stream=tmp_path / "a.jsonl"):
        entered = True
    assert not entered


def test_without_a_job_the_rank_is_0(tmp_path: Path) -> None:
    net = nn.Linear(1, 1)
    with Recorder(net, stream=str(tmp_path / "{rank}.jsonl")) as r:
        net(torch.ones(1))
    assert (tmp_path / "0.jsonl").exists()
    assert "rank" not in r.events.header.meta


@pytest.mark.parametrize("path", ["s3://bucket/run.jsonl", "gs://a/{rank}.jsonl", "memory://x"])
def test_addresses_are_refused_with_the_reason(path: str) -> None:
    with pytest.raises(StreamError, match="an object store cannot do"):
        Recorder(nn.Linear(1, 1), stream=path)
