"""Every option of the views has a flag on the command line."""

import inspect
from pathlib import Path

import pytest
from support.command import runner

import recorder
from recorder import loads, select
from recorder.cli import main
from recorder.plugins.options import VIEW_OPTIONS
from recorder.testing import sample_graphs
from recorder.views.view_options import arranged

COMMANDS = ("record", "export")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_of_the_views_has_a_flag_with_its_documentation(command: str) -> None:
    flags = {parameter.name: parameter for parameter in main.commands[command].params}
    shown = " ".join(runner().invoke(main, [command, "--help"], env={"COLUMNS": "200"}).output.split())
    options = [p for p in inspect.signature(arranged).parameters.values() if p.kind is p.KEYWORD_ONLY]
    assert [option.name for option in VIEW_OPTIONS] == [option.name for option in options]
    for option in VIEW_OPTIONS:
        assert f"--{option.name}" in flags[option.name].opts
        assert len(option.about) > 10
        assert option.about[1:10] in shown


def test_the_help_is_in_the_words_of_the_command_line() -> None:
    shown = " ".join(runner().invoke(main, ["export", "--help"]).output.split())
    assert "--depth N|auto|all How many levels of scopes stay open, every one if all." in shown
    assert "--fold / --no-fold" in shown
    assert "--radius N How many edges the neighbourhood of around reaches. [default: 1]" in shown
    assert "None" not in shown


def test_the_radius_has_a_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    graph = sample_graphs()["residual"]
    recorder.save(graph, "whole.json")
    middle = graph.nodes[len(graph.nodes) // 2].name
    for radius in (0, 1, 2):
        arguments = ["export", "whole.json", "-o", "near.json", "--around", middle, "--radius", str(radius)]
        result = runner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        assert loads(Path("near.json").read_bytes()) == select(graph, around=middle, radius=radius)
    result = runner().invoke(main, ["export", "whole.json", "-f", "json", "--radius", "far"])
    assert (result.exit_code, "the option radius: int = 1 cannot be 'far'" in result.output) == (2, True)
