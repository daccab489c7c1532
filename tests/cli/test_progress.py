"""What is shown while something takes long."""

import io
import threading
import time

import pytest

from recorder.cli import progress
from recorder.cli.progress import waiting


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(monkeypatch, stream, seconds, patience=0.05):
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setattr(progress, "PATIENCE", patience)
    monkeypatch.setenv("TERM", "xterm")
    before = threading.active_count()
    with waiting("making [red]\x1bit"):
        time.sleep(seconds)
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
    return stream.getvalue()


def test_what_takes_long_is_told_on_a_terminal(monkeypatch):
    assert r"making [red]\x1bit" in shown(monkeypatch, Terminal(), 0.4)


def test_what_is_quick_is_not(monkeypatch):
    assert shown(monkeypatch, Terminal(), 0, patience=5) == ""


def test_a_pipe_gets_nothing(monkeypatch):
    assert shown(monkeypatch, io.StringIO(), 0.2) == ""


def test_an_error_passes_through(monkeypatch):
    monkeypatch.setattr("sys.stderr", Terminal())
    with pytest.raises(ValueError, match="mine"), waiting("making it"):
        raise ValueError("mine")
