import importlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import recorder
from recorder import FormatError, PluginError, hookimpl
from recorder.plugins.manager import Plugins
from recorder.testing import sample_graphs

GRAPH = sample_graphs()["tiny"]


class Toy:
    media_type = "text/plain"

    def __init__(self, name, *suffixes, result):
        self.name, self.suffixes, self.result = name, suffixes, result

    def export(self, graph):
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


class ToyPlugin:
    @hookimpl
    def recorder_register_exporters(self, register):
        register(Toy("text", ".json", result="é→😀\n"))
        register(Toy("half", ".half", result="a\ud800"))
        register(Toy("longer", ".onnx.json", result="longer"))
        register(Toy("raw", ".RAW", result=b"\x00\xff\r\n"))
        register(Toy("broken", ".broken", result=ZeroDivisionError("oh no")))


class ExporterPlugin:
    def __init__(self, exporter):
        self.exporter = exporter

    @hookimpl
    def recorder_register_exporters(self, register):
        register(self.exporter)


@pytest.fixture(autouse=True)
def toys(monkeypatch):
    plugins = Plugins(entries=())
    plugins.register(ToyPlugin(), "toys")
    # By its module: the name `recorder.export` is the function.
    monkeypatch.setattr(importlib.import_module("recorder.plugins.exporting"), "installed", lambda: plugins)
    return plugins


def test_export_gives_what_the_exporter_gives():
    assert recorder.export(GRAPH, "text") == "é→😀\n"
    assert recorder.export(GRAPH, "raw") == b"\x00\xff\r\n"


def test_formats_are_listed_by_name():
    assert [(f.name, f.plugin) for f in recorder.formats()] == [
        ("broken", "toys"),
        ("half", "toys"),
        ("longer", "toys"),
        ("raw", "toys"),
        ("text", "toys"),
    ]


def test_the_suffix_picks_the_exporter_and_the_longest_wins(tmp_path):
    assert recorder.save(GRAPH, tmp_path / "net.json").read_text("utf-8") == "é→😀\n"
    assert recorder.save(GRAPH, tmp_path / "net.onnx.json").read_text() == "longer"
    assert recorder.save(GRAPH, str(tmp_path / "NET.ONNX.JSON")).read_text() == "longer"
    assert recorder.save(GRAPH, tmp_path / "net.raw").read_bytes() == b"\x00\xff\r\n"


def test_a_format_given_by_name_overrides_the_suffix(tmp_path):
    assert recorder.save(GRAPH, tmp_path / "net.json", "raw").read_bytes() == b"\x00\xff\r\n"
    assert recorder.save(GRAPH, tmp_path / "no_suffix", format="raw").exists()


def test_an_unknown_format_or_suffix_lists_what_there_is(tmp_path):
    with pytest.raises(FormatError, match=r"no format 'nope'; installed are: broken, half, longer, raw, text$"):
        recorder.export(GRAPH, "nope")
    with pytest.raises(
        FormatError, match=r"'net\.nope'; known suffixes are: \.broken, \.half, \.json, \.onnx\.json, \.raw$"
    ):
        recorder.save(GRAPH, tmp_path / "net.nope")
    assert list(tmp_path.iterdir()) == []


def test_half_of_a_character_is_written_as_its_escape(tmp_path):
    assert recorder.save(GRAPH, tmp_path / "net.half").read_bytes() == rb"a\ud800"


def test_a_failed_export_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "net.broken").write_text("old")
    with pytest.raises(PluginError, match="'broken' of the plugin 'toys' failed: ZeroDivisionError: oh no"):
        recorder.save(GRAPH, tmp_path / "net.broken")
    assert [path.name for path in tmp_path.iterdir()] == ["net.broken"]
    assert (tmp_path / "net.broken").read_text() == "old"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, MemoryError, RecursionError])
@pytest.mark.parametrize("there", [True, False])
def test_whatever_an_exporter_raises_leaves_the_old_file_and_the_graph(tmp_path, toys, error, there):
    class Exporter(Toy):
        def export(self, graph):
            raise error

    toys.register(ExporterPlugin(Exporter("failing", ".failing", result="")), "failing")
    if there:
        (tmp_path / "net.failing").write_text("old")
    with pytest.raises(KeyboardInterrupt if error is KeyboardInterrupt else PluginError):
        recorder.save(GRAPH, tmp_path / "net.failing")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"] * there
    GRAPH.lint()


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "net.json").write_text("old")

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recorder.save(GRAPH, tmp_path / "net.json")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "net.json").write_text("old")

    def full(self, target):
        assert self.read_text("utf-8") == "é→😀\n"
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        recorder.save(GRAPH, tmp_path / "net.json")
    assert [path.name for path in tmp_path.iterdir()] == ["net.json"]
    assert (tmp_path / "net.json").read_text() == "old"


def test_folders_are_not_created(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder") as caught:
        recorder.save(GRAPH, tmp_path / "new" / "net.json")
    assert caught.value.filename == str(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_not_replaced(tmp_path):
    (tmp_path / "net.json").mkdir()
    with pytest.raises(IsADirectoryError):
        recorder.save(GRAPH, tmp_path / "net.json")


def test_a_name_as_long_as_names_can_be(tmp_path):
    path = tmp_path / ("x" * 250 + ".json")
    assert recorder.save(GRAPH, path).read_text("utf-8") == "é→😀\n"


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_a_new_file_honours_the_umask(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        path = recorder.save(GRAPH, tmp_path / "net.json")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


def test_an_old_file_keeps_its_permissions(tmp_path):
    path = tmp_path / "net.json"
    path.touch(mode=0o640)
    path.chmod(0o640)
    assert recorder.save(GRAPH, path).stat().st_mode & 0o777 == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real.json").write_text("old")
    (tmp_path / "link.json").symlink_to("real.json")
    recorder.save(GRAPH, tmp_path / "link.json")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "real.json").read_text("utf-8") == "é→😀\n"


def test_a_pipe_is_written_to(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()), daemon=True)
    reader.start()
    recorder.save(GRAPH, pipe, "raw")
    reader.join(10)
    assert got == [b"\x00\xff\r\n"]
    assert pipe.is_fifo()


SAVE_TO_STDOUT = """
import sys, recorder
from recorder.plugins.manager import installed
from recorder.testing import sample_graphs

class Plugin:
    name, suffixes, media_type = "toy", (), "text/plain"
    @recorder.hookimpl
    def recorder_register_exporters(self, register): register(self)
    def export(self, graph): return graph.name

installed().register(Plugin(), "toy")
print("before", flush=True)
recorder.save(sample_graphs()["tiny"], sys.argv[1], "toy")
print("after")
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_is_written_to_through_a_pipe(name):
    result = subprocess.run([sys.executable, "-c", SAVE_TO_STDOUT, name], capture_output=True, text=True, check=True)
    assert result.stdout == "before\nTinyafter\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["/dev/fd/1", "/proc/self/fd/1"])
def test_stdout_is_written_to_when_it_is_a_file(tmp_path, name):
    # Replacing it would take the file away from the shell that opened it, and whatever was in it before. (/dev/stdout
    # itself is not tried, lest a mistake of ours replace that link on the machine of whoever runs this as root.)
    path = tmp_path / "log.txt"
    path.write_text("first\n")
    with path.open("a") as file:
        subprocess.run([sys.executable, "-c", SAVE_TO_STDOUT, name], stdout=file, check=True)
    assert path.read_text() == "first\nbefore\nTinyafter\n"
