"""``recorder view``: look at what was recorded before, or at a model, as a page in the browser."""

from pathlib import Path
from typing import Any

import click

from recorder.cli.browser import page_beside
from recorder.cli.outputs import NAME, say, targets, write
from recorder.cli.reports import measure_flags, say_reports
from recorder.cli.run_model import HowToRun, model_flags
from recorder.cli.source import load_or_run
from recorder.events.stream import EventStream
from recorder.notebook import open_in_browser

__all__ = ["view"]


@click.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option(
    "-o", "--output", metavar="FILE",
    help="Where the page goes, {name} for that of SOURCE. Else: beside SOURCE, ending in .html.",
)  # fmt: skip
@click.option("--open/--no-open", "--browser/--no-browser", "opened", default=True, help="Open it, or only write it.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Of the format html. Repeatable.")
@model_flags
@measure_flags
def view(sources: tuple[str, ...], output: str | None, opened: bool, options: tuple[str, ...], **how: Any) -> None:
    """Look at a recording, or at a model, as a page in the browser.

    SOURCE is a recording (.jsonl), a whole graph as the json format writes it (.json), or a model to run once, as for
    `recorder record`, whose page goes into the current folder. Nothing is sent anywhere: the page is one file, and
    works without a network. Each of several sources has its page.
    """
    names = [Path(source.rpartition(":")[2] if ":" in source else source) for source in sources]
    pages = [Path(output.replace(NAME, name.stem)) if output else page_beside(name) for name in names]
    if len({page.resolve() for page in pages}) < len(pages):
        raise click.UsageError(f"several sources would be written into one page: give each its own, with {NAME} in -o")
    wanted = targets([*map(str, pages)], "html", options, {})
    asked = HowToRun(**how)
    for source, page, target in zip(sources, pages, wanted, strict=True):
        graph, failure = load_or_run(source, asked)
        say_reports(graph, asked=asked.measures)
        write([target], lambda graph=graph: graph, EventStream(), failure)  # type: ignore[misc]
        if opened and not open_in_browser(page):
            say(f"there is no browser to open it in: open {page.resolve().as_uri()} in yours")
