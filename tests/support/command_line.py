"""The program ``recorder``, run as a user runs it."""

import sys
from pathlib import Path

from support.command import runner

from recorder import EventStream, assemble
from recorder.cli import main

__all__ = ["COMMAND", "MODELS", "fails", "recorded", "run", "works"]


MODELS = '''
import torch
from torch import nn

print("mynet is imported")


class Net(nn.Module):
    """Tells in which mode it ran by which of its layers it called."""

    def __init__(self, width=2):
        super().__init__()
        self.evaluated, self.trained = nn.Linear(4, width), nn.Linear(4, width)

    def forward(self, x, y=None):
        print("mynet is running")
        h = torch.relu((self.trained if self.training else self.evaluated)(x))
        return {"h": h, "rest": [None, (h.double() * 2, 3, x.long())]}


class Failing(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 4), nn.Linear(5, 2)

    def forward(self, x):
        return self.fc2(self.fc1(x))


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(2, 3)

    def forward(self, tokens):
        return self.embedding(tokens)


class Nothing(nn.Module):
    def forward(self):
        return None


def make(**arguments):
    return Net(**arguments)


def number():
    return 3


def unlucky():
    raise ValueError("no luck\\nand more")


net = Net()
three = 3
'''


def run(*arguments):
    return runner().invoke(main, [str(a) for a in arguments], catch_exceptions=False, prog_name="recorder")


def works(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.stderr
    return result


def fails(*arguments, status=2):
    """What a command that cannot work says: one line, and nothing on stdout."""
    result = run(*arguments)
    assert result.exit_code == status, result.stderr
    assert "Traceback" not in result.stderr
    if status == 2:
        assert result.stdout == ""
    line = result.stderr.splitlines()[-1]
    assert line.startswith("Error: ")
    if status == 2:
        assert [text for text in result.stderr.splitlines() if not text.startswith("mynet is")] == [line]
    return line.removeprefix("Error: ")


def recorded(path="run.jsonl"):
    return assemble(EventStream.load(path))


COMMAND = [str(Path(sys.executable).with_name("recorder"))]
