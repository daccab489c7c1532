"""``recorder view``: look at what was recorded before, as a page in the browser."""

from pathlib import Path

import click

from recorder.cli.browser import open_in_browser, page_beside
from recorder.cli.outputs import say, targets, write
from recorder.cli.source import load, source_argument
from recorder.events.stream import EventStream

__all__ = ["view"]


@click.command()
@source_argument
@click.option("-o", "--output", metavar="FILE", help="Where the page goes. Else: beside SOURCE, ending in .html.")
@click.option("--browser/--no-browser", default=True, help="Open the page, or only write it.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Of the format html. Repeatable.")
def view(source: Path, output: str | None, browser: bool, options: tuple[str, ...]) -> None:
    """Look at what was recorded before, as a page in the browser.

    SOURCE is a recording (.jsonl), or a whole graph as the json format writes it (.json). Nothing is sent anywhere: the
    page is one file, and works without a network.
    """
    page = Path(output) if output else page_beside(source)
    (target,) = targets([str(page)], "html", options, {})
    graph, _ = load(source)
    write([target], lambda: graph, EventStream())
    if browser and not open_in_browser(page):
        say(f"there is no browser to open it in: open {page.resolve().as_uri()} in yours")
