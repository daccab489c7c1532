"""What commands say of gradients and values, beside what the reports say in Python."""

from pathlib import Path

import pytest
import torch
from support.command_line import fails, works

import recorder
from recorder import Recorder

MODELS = """
import torch
from torch import nn

class Broken(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.spare = nn.Linear(4, 4), nn.Linear(4, 4)
    def forward(self, x):
        return torch.log(self.fc(x) * 0 - 1)

def broken():
    return Broken()

def sound():
    return nn.Sequential(nn.Linear(4, 4), nn.Tanh())
"""


@pytest.fixture
def nets(project):
    Path("nets.py").write_text(MODELS)
    return project


@pytest.mark.parametrize("command", ["summary", "record"])
def test_values_are_reported_below_the_table(nets, command):
    plain = works(command, "nets.py:broken", "--input", "2,4")
    assert "NaN" not in plain.stdout
    told = works(command, "nets.py:broken", "--input", "2,4", "--values", "stats")
    assert "log" in told.stdout.partition("parameters,")[2]
    assert "NaN" in told.stdout
    sound = works(command, "nets.py:sound", "--input", "2,4", "--values", "stats")
    assert len(sound.stdout.splitlines()) > len(works(command, "nets.py:sound", "--input", "2,4").stdout.splitlines())


def test_the_report_is_that_of_the_graph(nets):
    told = works(
        "summary", "nets.py:broken", "--input", "2,4", "--values", "stats", "--gradients", "stats", "--backward"
    )
    works(
        "record",
        "nets.py:broken",
        "--input",
        "2,4",
        "--values",
        "stats",
        "--gradients",
        "stats",
        "--backward",
        "-o",
        "run.jsonl",
    )
    graph = recorder.assemble(recorder.EventStream.load("run.jsonl"))
    assert not graph.value_report().ok
    assert told.stdout.endswith(f"\n{graph.value_report()}\n\n{graph.gradient_report()}\n")
    assert "spare" in str(graph.gradient_report())


def test_where_stdout_is_for_something_else_it_is_on_stderr(nets):
    flags = "nets.py:broken", "--input", "2,4", "--values", "stats"
    assert "NaN" in works("record", *flags, "-o", "run.jsonl").stderr
    assert "NaN" in works("view", *flags, "-o", "page.html", "--no-open").stderr
    told = works("summary", *flags, "--as", "csv")
    assert "NaN" in told.stderr
    assert "\n\n" not in told.stdout


def test_a_recording_says_what_is_wrong_in_it_unasked(nets):
    flags = "--input", "2,4", "--values", "stats", "-o"
    works("record", "nets.py:broken", *flags, "broken.jsonl")
    works("record", "nets.py:sound", *flags, "sound.jsonl")
    assert "NaN" in works("summary", "broken.jsonl").stdout
    sound = recorder.assemble(recorder.EventStream.load("sound.jsonl"))
    assert sound.value_report().ok
    assert str(sound.value_report()) not in works("summary", "sound.jsonl").stdout
    assert "--values are for a model" in fails("summary", "sound.jsonl", "--values", "stats")


SCRIPT = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.later, self.never = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)
        self.steps = 0
    def forward(self, x):
        self.steps += 1
        return self.first(x) if self.steps < 3 else self.later(x)

net = Net()
for _ in range(4):
    torch.log(net(torch.randn(2, 4)) * 0 - 1).sum().backward()
"""


@pytest.fixture
def script(nets, monkeypatch):
    Path("script.py").write_text(SCRIPT)


@pytest.mark.parametrize(("steps", "words"), [("1", "the first step alone"), ("2", "the first 2 steps alone")])
def test_what_a_recording_that_stops_early_has_not_seen_it_does_not_deny(script, steps, words):
    told = works("run", "--steps", steps, "script.py").stderr
    assert f"recorded {words}: others are not counted" in told
    assert "not called in any recorded step: later (20 parameters), never (20 parameters)" in told
    assert "never called" not in told
    works("run", "--steps", steps, "-o", "run.jsonl", "--gradients", "on", "script.py")
    graph = recorder.assemble(recorder.EventStream.load("run.jsonl"))
    assert graph.meta["steps"] == int(steps)
    assert "its module `later` was not called in any recorded step" in str(graph.gradient_report())


def test_a_script_that_is_recorded_to_its_end_says_what_it_never_called(script):
    told = works("run", "--steps", "all", "script.py").stderr
    assert "never called: never (20 parameters)" in told
    assert "others are not counted" not in told
    enough = works("run", "--steps", "4", "script.py").stderr  # there were no more
    assert "never called: never (20 parameters)" in enough


def test_a_script_is_measured_and_reported(script):
    told = works("run", "--values", "stats", "script.py").stderr
    assert "NaN" in told
    assert "log" in told


def test_some_steps_of_a_program_say_so() -> None:
    net = torch.nn.Linear(4, 4)
    for options, words in (
        ({"every": 2}, "one step in 2"),
        ({"keep": 1}, "the last step alone"),
        ({"every": 2, "keep": 2}, "one step in 2, the last 2 steps alone"),
    ):
        with Recorder(net, **options) as r:
            for _ in range(4):
                net(torch.ones(2, 4))
        assert f"recorded {words}: others are not counted" in str(r.summary())
    with Recorder(net) as r:
        net(torch.ones(2, 4))
    assert "others are not counted" not in str(r.summary())
