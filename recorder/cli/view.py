"""``recorder view``: look at what was recorded before, or at a model, as a page in the browser."""

from pathlib import Path
from typing import Any

import click

from recorder.cli.browser import page_beside
from recorder.cli.outputs import say, targets, write
from recorder.cli.reports import measure_flags, say_reports
from recorder.cli.run_model import HowToRun, model_flags
from recorder.cli.source import load_or_run
from recorder.events.stream import EventStream
from recorder.notebook import open_in_browser

__all__ = ["view"]


@click.command()
@click.argument("source")
@click.option("-o", "--output", metavar="FILE", help="Where the page goes. Else: beside SOURCE, ending in .html.")
@click.option("--open/--no-open", "--browser/--no-browser", "opened", default=True, help="Open it, or only write it.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Of the format html. Repeatable.")
@model_flags
@measure_flags
def view(source: str, output: str | None, opened: bool, options: tuple[str, ...], **how: Any) -> None:
    """Look at a recording, or at a model, as a page in the browser.

    SOURCE is a recording (.jsonl), a whole graph as the json format writes it (.json), or a model to run once, as for
    `recorder record`, whose page goes into the current folder. Nothing is sent anywhere: the page is one file, and
    works without a network.
    """
    page = Path(output) if output else page_beside(Path(source.rpartition(":")[2] if ":" in source else source))
    (target,) = targets([str(page)], "html", options, {})
    asked = HowToRun(**how)
    graph, failure = load_or_run(source, asked)
    say_reports(graph, asked=asked.measures)
    write([target], lambda: graph, EventStream(), failure)
    if opened and not open_in_browser(page):
        say(f"there is no browser to open it in: open {page.resolve().as_uri()} in yours")
