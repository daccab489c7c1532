"""``recorder formats``: what can be written."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from recorder.plugins.manager import Format, installed
from recorder.plugins.options import VIEW_OPTIONS

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["formats"]


@click.command()
@click.option("-v", "--verbose", is_flag=True, help="With what each format is, and its options.")
def formats(verbose: bool) -> None:
    """List the installed formats."""
    from rich.console import Console

    # A table that is piped is as wide as it needs to be, so that every line holds one whole row.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(_table(installed().formats(), verbose))
    if verbose:
        told = "; ".join(option.describe() for option in VIEW_OPTIONS)
        console.print(f"and of every format, to choose what is shown: {told}", markup=False, highlight=False)


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
