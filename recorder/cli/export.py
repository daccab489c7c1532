"""``recorder export``: draw what was recorded before."""

from pathlib import Path
from typing import Any

import click

from recorder.cli.outputs import NAME, STREAM_SUFFIX, Target, output_flags, say, targets, write
from recorder.cli.source import GRAPH_SUFFIX, load
from recorder.errors import StreamError
from recorder.plugins.manager import installed
from recorder.terminal import folded

__all__ = ["export"]


@click.command()
@click.argument(
    "sources", metavar="SOURCE...", nargs=-1, required=True,
    type=click.Path(path_type=Path),
)  # fmt: skip
@output_flags
def export(
    sources: tuple[Path, ...],
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    **flags: Any,
) -> None:
    """Draw what was recorded before.

    SOURCE is a recording (.jsonl), or a whole graph as the json format writes it (.json). Of several, {name} in -o
    stands for each one's name, as in -o '{name}.svg'; or -o is a folder, and -f says the format.
    """
    for source in sources:
        if not source.is_file():
            raise click.UsageError(
                f"{source} is a folder" if source.is_dir() else f"the file '{source}' does not exist"
            )
    wanted = [(source, _targets(source, sources, outputs, format_name, options, flags)) for source in sources]
    paths = [target.path for _, several in wanted for target in several if target.path is not None]
    if len(sources) > 1 and len({path.resolve() for path in paths}) < len(paths):
        raise click.UsageError(f"several sources would be written into one file: give each its own, with {NAME} in -o")
    failures = []
    for source, several in wanted:
        try:
            graph, stream = load(source)
            write(several, lambda graph=graph: graph, stream)  # type: ignore[misc]
        except (click.ClickException, StreamError) as error:
            if len(sources) == 1:
                raise
            failures.append(folded(error.format_message() if isinstance(error, click.ClickException) else str(error)))
    for failure in failures[:-1]:
        say(f"Error: {failure}")
    if failures:
        raise click.ClickException(failures[-1])


def _targets(
    source: Path,
    sources: tuple[Path, ...],
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    flags: dict[str, Any],
) -> list[Target]:
    """What is written of one source.

    Raises:
        click.UsageError: it is nothing, or would not be its alone.
    """
    named = []
    for output in outputs:
        if format_name and Path(output).is_dir():
            suffix = next(iter(installed().named(format_name).suffixes), "")
            output = str(Path(output, f"{NAME}{suffix}"))
        named.append(output.replace(NAME, source.stem))
    wanted = targets(named, format_name, options, flags)
    if not wanted:
        raise click.UsageError("say where to (-o FILE) or in which format (-f FORMAT); `recorder formats` lists them")
    if len(sources) > 1 and any(target.path is None for target in wanted):
        raise click.UsageError(f"{len(sources)} sources cannot all be printed: say where to, as in -o '{NAME}.svg'")
    if source.suffix == GRAPH_SUFFIX and any(target.is_stream for target in wanted):
        raise click.UsageError(f"{source} is a graph, and a {STREAM_SUFFIX} cannot be made from it")
    return wanted
