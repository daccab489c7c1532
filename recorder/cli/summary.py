"""``recorder summary``: a table of module calls."""

import sys
from typing import Any

import click

from recorder.cli.outputs import say
from recorder.cli.reports import measure_flags, say_reports
from recorder.cli.run_model import HowToRun, model_flags
from recorder.cli.source import load_or_run
from recorder.summary import Summary
from recorder.summary.formats import as_text
from recorder.terminal import encoding_of, harmless

__all__ = ["print_summary", "summary"]


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--depth", type=click.IntRange(0), help="Show calls down to this depth alone, 0 for the outermost.")
@click.option("--columns", metavar="NAMES", help="Separated by commas, or 'all'.")
@click.option("--rows-of-functions", is_flag=True, help="Show calls of functions too.")
@click.option("--fold", is_flag=True, help="Show calls that repeat once, as × 12; totals count every one.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["text", "markdown", "csv", "json"], case_sensitive=False),
    default="text",
    show_default=True,
    help="How to print it.",
)
@model_flags
@measure_flags
def summary(
    sources: tuple[str, ...],
    depth: int | None,
    columns: str | None,
    rows_of_functions: bool,
    fold: bool,
    form: str,
    **how_to_run: Any,
) -> None:
    """Print a table of module calls with parameters, FLOPs and times.

    SOURCE is a recording (.jsonl), a graph (.json), or a model to run once, as for `recorder record`. Of several, each
    has its table.
    """
    if len(sources) > 1 and form in ("csv", "json"):
        raise click.UsageError(f"{len(sources)} tables in one {form} cannot be told apart: ask for one at a time")
    how = HowToRun(**how_to_run)
    failures = []
    for number, source in enumerate(sources):
        graph, failure = load_or_run(source, how)
        failures += [failure] if failure else []
        chosen = columns if columns in (None, "all") else columns.split(",")
        table = Summary(graph, depth, columns=chosen, functions=rows_of_functions, fold=fold)
        if len(sources) > 1:
            mark = "## " if form == "markdown" else ""
            click.echo(("\n" if number else "") + harmless(f"{mark}{source}") + "\n")
        if form == "text":
            print_summary(table)
        else:
            written = {"markdown": table.to_markdown, "csv": table.to_csv, "json": table.to_json}
            text, encoding = written[form](), encoding_of(sys.stdout)
            # In Markdown a line of the tree that was written plainer would end the cell.
            lacking = "xmlcharrefreplace" if form == "markdown" else "backslashreplace"
            click.echo(text.encode(encoding, lacking).decode(encoding), nl=False)
        say_reports(graph, asked=how.measures, err=form != "text")
    for failure in failures[:-1]:
        say(f"Error: {failure}")
    if failures:
        raise click.ClickException(failures[-1])


def print_summary(table: Summary) -> None:
    """In colour and as wide as the terminal, if there is one."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(table)
    else:
        click.echo(as_text(table, None, encoding_of(sys.stdout)), nl=False)
