"""``recorder diff``: what changed from one recording, file or model to another."""

from pathlib import Path
from typing import Any

import click

from recorder.cli.outputs import STREAM_SUFFIX
from recorder.cli.run_model import HowToRun, model_flags, run_model
from recorder.graph.core import Graph
from recorder.plugins.exporting import save
from recorder.relations.diff import Diff
from recorder.relations.recordings import load
from recorder.terminal import harmless

__all__ = ["diff"]

SUFFIXES = (".json", ".arch", STREAM_SUFFIX)
"""Of files; everything else is a model."""


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write it: .svg, .html, .mmd and other pictures show both in one, .md is for a comment. Repeatable.",
)  # fmt: skip
@click.option("--exit-code", is_flag=True, help="Exit with 1 if anything changed, as git diff does.")
@model_flags
def diff(a: str, b: str, outputs: tuple[Path, ...], exit_code: bool, **how_to_run: Any) -> None:
    """Say what changed from A to B: what was added, removed, changed, rewired or renamed, and what it costs.

    A and B are each an architecture (.arch), a graph (.json), a recording (.jsonl), or a model to run once, as for
    `recorder record`. Weights and times make no difference.
    """
    how = HowToRun(**how_to_run)
    if a.endswith(SUFFIXES) and b.endswith(SUFFIXES) and how.inputs:
        raise click.UsageError("both are recorded already: --input is for a model that is to be run")
    found = Diff(_graph(a, how), _graph(b, how))
    click.echo(harmless(str(found)))
    for path in outputs:
        try:
            save(found, path)
        except OSError as error:
            raise click.ClickException(f"{path} was not written: {error}") from error
    if exit_code and found:
        click.get_current_context().exit(1)


def _graph(source: str, how: HowToRun) -> Graph:
    """The graph that a file holds, or a model gives.

    Raises:
        click.UsageError: there is neither.
        click.ClickException: the model failed.
    """
    if source.endswith(SUFFIXES):
        if not Path(source).is_file():
            raise click.UsageError(f"there is no file {source}")
        return load(source)
    run, failure = run_model(source, how)
    if failure:
        raise click.ClickException(failure)
    return run.graph
