"""``recorder export``: draw what was recorded before."""

from pathlib import Path

import click

from recorder.cli.outputs import STREAM_SUFFIX, output_flags, targets, write
from recorder.cli.source import GRAPH_SUFFIX, load, source_argument

__all__ = ["export"]


@click.command()
@source_argument
@output_flags
def export(
    source: Path,
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    **flags: str | bool | None,
) -> None:
    """Draw what was recorded before.

    SOURCE is a recording (.jsonl), or a whole graph as the json format writes it (.json).
    """
    wanted = targets(outputs, format_name, options, flags)
    if not wanted:
        raise click.UsageError("say where to (-o FILE) or in which format (-f FORMAT); `recorder formats` lists them")
    if source.suffix == GRAPH_SUFFIX and any(target.is_stream for target in wanted):
        raise click.UsageError(f"{source} is a graph, and a {STREAM_SUFFIX} cannot be made from it")
    graph, stream = load(source)
    write(wanted, lambda: graph, stream)
