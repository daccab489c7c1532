"""What commands are tried on."""

import sys
from pathlib import Path

import pytest
from support.command_line import MODELS

import recorder
from recorder.cli import main
from recorder.plugins.manager import Plugins
from recorder.testing import sample_graphs, sample_streams


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A user's folder, current, with models in mynet.py."""
    (tmp_path / "mynet.py").write_text(MODELS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("mynet", "marked", "raises"):
        sys.modules.pop(name, None)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sample_streams()["residual"].save("run.jsonl")
    Path("graph.json").write_bytes(recorder.dumps(sample_graphs()["residual"]))
    return tmp_path


@pytest.fixture
def with_plugins(monkeypatch):
    """The command line as it is when these plugins are installed beside the built-in one."""

    def install(**named):
        plugins = Plugins()
        for name, plugin in named.items():
            plugins.register(plugin, name)
        for name in ("group", "outputs", "source", "formats"):
            monkeypatch.setattr(f"recorder.cli.{name}.installed", lambda: plugins)
        monkeypatch.setattr(main, "commands", dict(main.commands))
        monkeypatch.setattr(main, "asked_plugins", False)

    return install
