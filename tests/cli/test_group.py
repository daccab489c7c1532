"""What all commands share: help, errors, the commands of plugins, and being a process of its own."""

import os
import subprocess
import sys

import click
import pytest
from support.command_line import COMMAND, fails, works

import recorder
from recorder import hookimpl


def test_help_and_version():
    assert works("--version").stdout == f"recorder, version {recorder.__version__}\n"
    assert works().stdout == works("--help").stdout == works("-h").stdout
    for command in ("record", "export", "formats"):
        assert f"  {command} " in works("--help").stdout
        assert works(command, "--help").stdout.startswith(f"Usage: recorder {command} ")
    assert fails("bogus") == "No such command 'bogus'."
    assert fails("--bogus").startswith("No such option")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["record", "--help"], 0),
        (["formats", "--verbose"], 0),
        (["export", "run.jsonl", "-f", "dot"], 0),
        (["export", "graph.json", "-o", "net.dot"], 0),
        (["record", "mynet:Net", "-o", "net.nope"], 2),
    ],
)
def test_torch_is_not_imported_where_it_is_not_needed(saved, arguments, status):
    code = (
        "import sys\nfrom recorder.cli import main\n"
        f"try: main({arguments!r})\n"
        f"except SystemExit as exit: assert exit.code == {status}, exit.code\n"
        "else: assert False\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


# Plugins


class Commanding:
    def __init__(self, name):
        self.name = name

    @hookimpl
    def recorder_register_commands(self, cli):
        @cli.command(self.name)
        def hello():
            """Greet."""
            click.echo("hello")


def test_plugins_add_commands(with_plugins):
    with_plugins(greeter=Commanding("hello"))
    assert "Greet." in works("--help").stdout
    for _ in range(2):
        result = works("hello")
        assert (result.stdout, result.stderr) == ("hello\n", "")


@pytest.mark.filterwarnings("default")
def test_a_plugin_cannot_take_the_name_of_a_command(with_plugins):
    with_plugins(thief=Commanding("formats"), greeter=Commanding("hello"))
    result = works("formats")
    assert result.stderr == (
        "warning: the plugin 'thief' raised in recorder_register_commands: "
        "PluginError: there is a command 'formats' already\n"
    )
    assert "dot" in result.stdout
    assert works("hello").stdout == "hello\n"


def test_annotations_of_plugins_are_in_what_is_exported(with_plugins, saved):
    class Namer:
        name, suffixes, media_type = "names", (), "text/plain"

        @hookimpl
        def recorder_register_exporters(self, register):
            register(self)

        @hookimpl
        def recorder_annotate_graph(self, graph):
            graph.nodes[0].meta["namer"] = "first"

        def export(self, graph):
            return graph.nodes[0].meta["namer"]

    with_plugins(namer=Namer())
    plugins = sys.modules["recorder.cli.source"].installed()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys.modules["recorder.plugins.exporting"], "installed", lambda: plugins)
        assert works("export", "run.jsonl", "-f", "names").stdout == "first"


@pytest.mark.slow
def test_a_broken_pipe_is_no_traceback(saved):
    for arguments in (["formats"], ["--help"], ["export", "run.jsonl", "-f", "dot"]):
        read, write = os.pipe()
        os.close(read)
        process = subprocess.run([*COMMAND, *arguments], stdout=write, stderr=subprocess.PIPE, text=True)
        os.close(write)
        assert process.stderr == "", arguments
        assert process.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("module", ["recorder", "recorder.cli"])
def test_python_m_is_the_program(module):
    command = [sys.executable, "-m", module, "--version"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout == f"recorder, version {recorder.__version__}\n"
