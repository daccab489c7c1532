"""``recorder formats``: what can be written."""

import re
import sys
from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING

import click

from recorder.plugins.manager import Format, installed
from recorder.plugins.options import VIEW_OPTIONS
from recorder.terminal import harmless

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["described", "formats"]


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option("-v", "--verbose", is_flag=True, help="With what each format is, and its options.")
def formats(names: tuple[str, ...], verbose: bool) -> None:
    """List the installed formats, or say what the options of those named mean."""
    if names:
        by_name = {format_.name: format_ for format_ in installed().formats()}
        told = [described(by_name[installed().named(name).name]) for name in names]
        click.echo(harmless("\n".join(told)), nl=False)
        return
    from rich.console import Console

    # A table that is piped is as wide as it needs to be, so that every line holds one whole row.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(_table(installed().formats(), verbose))
    if verbose:
        every = "; ".join(option.describe() for option in VIEW_OPTIONS)
        console.print(f"and of every format, to choose what is shown: {every}", markup=False, highlight=False)
        console.print("what they mean: recorder formats NAME", markup=False, highlight=False)


def described(format_: Format) -> str:
    """A format with the meaning of every option that it takes, its own and those of every format."""
    own = {option.name for option in format_.options}
    others = [option for option in VIEW_OPTIONS if option.name not in own]
    lines = [f"{format_.name}: {format_.summary}", f"files: {' '.join(format_.suffixes) or 'by its name alone'}"]
    for heading, options in ((f"options of {format_.name}", format_.options), ("of every format", others)):
        lines += ["", f"{heading}:"] if options else []
        for option in options:
            lines += [f"  {option.describe()}", *(f"      {line}" for line in wrap(_plain(option.about), 94))]
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Documentation as text: without its marks, and without names of classes that nobody outside knows."""
    return re.sub(r"``?([^`]+)``?", r"\1", text)


def _table(installed_formats: Sequence[Format], verbose: bool) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("format", "suffixes", "media type", "plugin", *(("about", "options") if verbose else ())):
        table.add_column(heading, overflow="fold")
    for format_ in installed_formats:
        row = [format_.name, " ".join(format_.suffixes), format_.media_type, format_.plugin]
        if verbose:
            row += [format_.summary, "\n".join(option.describe() for option in format_.options)]
        table.add_row(*map(Text, row))  # as Text, for an option's [brackets] are no markup
    return table
