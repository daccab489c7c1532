"""``recorder summary``: a table of module calls."""

import sys
from typing import Any

import click

from recorder.cli.reports import measure_flags, say_reports
from recorder.cli.run_model import HowToRun, model_flags
from recorder.cli.source import load_or_run
from recorder.summary import Summary
from recorder.summary.formats import as_text
from recorder.terminal import encoding_of

__all__ = ["print_summary", "summary"]


@click.command()
@click.argument("source")
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
    source: str,
    depth: int | None,
    columns: str | None,
    rows_of_functions: bool,
    fold: bool,
    form: str,
    **how_to_run: Any,
) -> None:
    """Print a table of module calls with parameters, FLOPs and times.

    SOURCE is a recording (.jsonl), a graph (.json), or a model to run once, as for `recorder record`.
    """
    how = HowToRun(**how_to_run)
    graph, failure = load_or_run(source, how)
    chosen = columns if columns in (None, "all") else columns.split(",")
    table = Summary(graph, depth, columns=chosen, functions=rows_of_functions, fold=fold)
    if form == "text":
        print_summary(table)
    else:
        written = {"markdown": table.to_markdown, "csv": table.to_csv, "json": table.to_json}
        text, encoding = written[form](), encoding_of(sys.stdout)
        # In Markdown a line of the tree that was written plainer would end the cell.
        lacking = "xmlcharrefreplace" if form == "markdown" else "backslashreplace"
        click.echo(text.encode(encoding, lacking).decode(encoding), nl=False)
    say_reports(graph, asked=how.measures, err=form != "text")
    if failure:
        raise click.ClickException(failure)


def print_summary(table: Summary) -> None:
    """In colour and as wide as the terminal, if there is one."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(table)
    else:
        click.echo(as_text(table, None, encoding_of(sys.stdout)), nl=False)
