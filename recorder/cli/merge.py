"""``recorder merge``: the ranks of a job as one graph."""

from pathlib import Path
from typing import Any

import click

from recorder.cli.outputs import STREAM_SUFFIX, output_flags, targets, write
from recorder.errors import StreamError
from recorder.events.rank_ranges import of_ranges
from recorder.events.stream import EventStream
from recorder.plugins.manager import installed
from recorder.relations.ranks import merge as merged

__all__ = ["merge"]


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--ranks", metavar="RANKS", help="Of these alone, each by itself: 0,1 or 0-7 or 0-56:8.")
@click.option("--expect", metavar="N", type=click.IntRange(1), help="So many ranks there should be.")
@click.option("--each", is_flag=True, help="Show each rank, those too that did the same.")
@output_flags
def merge(
    files: tuple[Path, ...],
    ranks: str | None,
    expect: int | None,
    each: bool,
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    **flags: Any,
) -> None:
    """Draw the ranks of a job beside each other, with links between what they issued together.

    FILE is the recording of one rank (.jsonl), also of one that still runs, or was killed. Ranks that did the same are
    shown once.
    """
    wanted = targets(outputs, format_name, options, flags)
    if not wanted:
        raise click.UsageError("say where to (-o FILE) or in which format (-f FORMAT); `recorder formats` lists them")
    if any(target.is_stream for target in wanted):
        raise click.UsageError(
            f"several ranks are no one recording, so there is no {STREAM_SUFFIX} of them: write .json"
        )
    try:
        chosen = None if ranks is None else of_ranges(ranks)
    except ValueError:
        raise click.UsageError(f"--ranks {ranks!r}: ranks are numbers, as in 0,1 or 0-7") from None
    try:
        graph = merged(files, ranks=chosen, expect=expect, fold=not each and chosen is None)
    except OSError as error:
        raise StreamError(str(error)) from error
    installed().annotate(graph)
    write(wanted, lambda: graph, EventStream())
