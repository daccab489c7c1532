"""Plugins of their own for each test."""

import sys
from importlib.metadata import EntryPoint

import pytest

from recorder.plugins.manager import Plugins


@pytest.fixture
def plugins():
    return Plugins(entries=())


@pytest.fixture
def write_plugin(tmp_path, monkeypatch):
    """Writes an importable module, and returns the entry point that names it."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(name, source):
        (tmp_path / f"plugin_{name}.py").write_text(f"from recorder import hookimpl\n{source}")
        monkeypatch.delitem(sys.modules, f"plugin_{name}", raising=False)
        return EntryPoint(name, f"plugin_{name}", "recorder")

    return write
