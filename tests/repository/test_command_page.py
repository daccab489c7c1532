"""The page on the command line is made from docstrings, and says what every option means."""

import click
from support.command_page import PAGE, page

from recorder.cli import main
from recorder.plugins.manager import installed


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text("utf-8") == page(), "PYTHONPATH=tests python -m support.command_page writes it anew"


def test_every_option_of_the_command_line_has_its_meaning() -> None:
    parts = [*main.commands.values(), *main.commands["plugin"].commands.values()]  # type: ignore[attr-defined]
    for command in parts:
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert len(parameter.help or "") > 10, (command.name, parameter.name)


def test_every_option_of_every_format_has_its_meaning() -> None:
    silent = [(f.name, o.name) for f in installed().formats() for o in f.options if len(o.about) < 10]
    assert silent == []
