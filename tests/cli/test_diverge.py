"""``recorder diverge`` on two files."""

from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from support.models import linear
from torch import nn

from recorder import Recorder
from recorder.cli import main


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    for name in ("a", "b"):
        with Recorder(net, values="digest") as r:
            net(torch.ones(2, 4))
        r.events.save(f"{name}.jsonl")
        net[2].weight.data *= 1.1


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["diverge", *arguments])
    return done.exit_code, done.output


def test_the_status_says_whether_the_numbers_part(runs: None) -> None:
    status, said = run("a.jsonl", "b.jsonl", "-o", "parted.svg", "-o", "parted.md", "--all")
    assert status == 1
    assert "the numbers part first at 2" in said
    assert Path("parted.svg").exists()
    assert Path("parted.md").exists()
    for tolerance in ("0", "dtype", "0.5"):
        assert run("a.jsonl", "a.jsonl", "--tolerance", tolerance)[0] == 0
    assert run("a.jsonl", "b.jsonl", "--tolerance", "0.5")[0] == 0


def test_what_cannot_be_compared_is_refused(runs: None) -> None:
    Path("net.arch").write_text("architecture 1\n")
    assert run("a.jsonl", "nowhere.jsonl")[0] == 2
    assert run("a.jsonl", "net.arch") == (2, run("a.jsonl", "net.arch")[1])
    status, said = run("a.jsonl", "b.jsonl", "--tolerance", "-1")
    assert status == 2
    assert "neither 'dtype' nor a number" in said
    with Recorder(net := linear()) as r:
        net(torch.ones(2, 4))
    r.events.save("plain.jsonl")
    status, said = run("a.jsonl", "plain.jsonl")
    assert status == 2
    assert "values='digest'" in said
