"""``recorder desync``: where the ranks of a job fell apart."""

from pathlib import Path

import click

from recorder.errors import StreamError
from recorder.relations.desync import desync as found_in
from recorder.terminal import harmless

__all__ = ["desync"]


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--expect", metavar="N", type=click.IntRange(1), help="So many ranks there should be.")
def desync(files: tuple[Path, ...], expect: int | None) -> None:
    """Say at which call the ranks of a job fell apart: which ranks, what each did, and in which module.

    FILE is the recording of one rank (.jsonl), also of one that hangs, still runs, or was killed. The exit status is 1
    if they fell apart, or if there is a rank without a file.
    """
    try:
        found = found_in(files, expect=expect)
    except OSError as error:
        raise StreamError(str(error)) from error
    click.echo(harmless(str(found)))
    if not found.ok:
        click.get_current_context().exit(1)
