"""What a command writes: which files, in which formats, with which options.

Everything is checked before a model runs, and what can be written is written, whatever else fails.
"""

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from recorder.cli.progress import waiting
from recorder.cli.view_flags import view_flags
from recorder.errors import ExportError, RecorderError
from recorder.events.stream import EventStream
from recorder.graph.core import Graph
from recorder.notebook import open_in_browser
from recorder.plugins.exporting import export, save
from recorder.plugins.manager import installed
from recorder.plugins.options import parse_options
from recorder.terminal import folded, harmless, in_one_line

__all__ = ["NAME", "STREAM_SUFFIX", "Target", "output_flags", "say", "targets", "write"]

F = TypeVar("F", bound=Callable[..., Any])

NAME = "{name}"
"""Stands in an output's name for that of the source."""

STREAM_SUFFIX = ".jsonl"
"""A file with this ending holds the event stream itself, and not an export of the graph."""


def output_flags(command: F) -> F:
    """Give a command the flags that say what to write: the arguments of `targets`."""
    for option in reversed(
        (
            click.option(
                "-o", "--output", "outputs", multiple=True, metavar="FILE",
                help="The suffix picks the format. Repeatable.",
            ),
            click.option("-f", "--format", "format_name", metavar="NAME",
                help="The format, whatever the suffix. Without -o: printed."),
            click.option(
                "--option", "options", multiple=True, metavar="KEY=VALUE",
                help="For each format that has it; `recorder formats NAME` has them all. Repeatable.",
            ),
            *view_flags(),
            click.option(
                "--colour-by", "--color-by", metavar="WHAT",
                help="Colour calls by flops, time, parameters, gradient, ...",
            ),
            click.option("--theme", metavar="NAME", help="How drawings look: light, dark, print or colour-blind."),
            click.option(
                "--open", is_flag=True, expose_value=False, callback=_open_later,
                help="Open what was written, in the browser.",
            ),
        )
    ):  # fmt: skip
        command = option(command)
    return command


OPEN = "recorder.open"
"""Whether what is written is to be opened, among what a command knows of itself."""


def _open_later(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    ctx.meta[OPEN] = value


class Target(NamedTuple):
    """One thing to write: the event stream if ``format_name`` is None; to stdout if ``path`` is None."""

    path: Path | None
    format_name: str | None
    options: dict[str, Any]

    @property
    def is_stream(self) -> bool:
        return self.format_name is None

    def write(self, graph: Callable[[], Graph], stream: EventStream) -> None:
        if self.format_name is None:
            assert self.path is not None
            stream.save(self.path)
        elif self.path is None:
            result = export(graph(), self.format_name, **self.options)
            if sys.stdout.isatty():  # whatever reads a pipe gets it as it is
                if isinstance(result, bytes):
                    raise ExportError(_NO_BYTES)
                result = harmless(result)
            click.echo(result.encode() if isinstance(result, str) else result, nl=False)
        else:
            save(graph(), self.path, self.format_name, **self.options)
        if self.path is not None:
            say(f"wrote {self.path} ({self.format_name or 'recording'})")
            ctx = click.get_current_context(silent=True)
            if ctx is not None and ctx.meta.get(OPEN) and not self.is_stream and not open_in_browser(self.path):
                say(f"there is no browser to open it in: open {self.path.resolve().as_uri()} in yours")


_NO_BYTES = "it is no text, which a terminal could show: write it into a file, with -o FILE"

_BINARY = re.compile(r"image/(?!svg)|application/(pdf|octet-stream|x-.*)|audio/|video/")
"""Media types that are no text."""


def targets(
    outputs: Sequence[str],
    format_name: str | None,
    options: Sequence[str],
    flags: Mapping[str, str | bool | None],
) -> list[Target]:
    """Everything that will be written, checked as far as it can be before a model has run.

    Args:
        outputs: the files.
        format_name: that of all files, and of stdout if there is no file; by the file's suffix if None.
        options: ``KEY=VALUE`` each.
        flags: options that have a flag of their own, by name; None where it was not given.

    Raises:
        click.UsageError: there is no folder for a file, or an option is of no such form.
        FormatError: there is no such format.
        OptionError: no format takes an option, or not this value.
    """
    texts = {name: str(value) for name, value in flags.items() if value is not None}
    for option in options:
        key, equals, text = option.partition("=")
        if not key or not equals:
            raise click.UsageError(f"the option {option!r} is not of the form KEY=VALUE")
        texts[key] = text
    plugins = installed()
    paths: list[Path | None] = [Path(output) for output in outputs] or ([None] if format_name else [])
    names: list[str | None] = []
    for path in paths:
        if path is not None and not path.parent.is_dir():
            raise click.UsageError(f"{path} cannot be written: there is no folder {path.parent}")
        if format_name is not None:
            names.append(plugins.named(format_name).name)
        elif path is not None and path.suffix.lower() == STREAM_SUFFIX:
            names.append(None)
        elif path is not None:
            names.append(plugins.for_file(path.name).name)
    if None in paths and format_name and sys.stdout.isatty() and _BINARY.match(plugins.named(format_name).media_type):
        raise click.UsageError(f"{format_name}: {_NO_BYTES}")
    parsed = iter(parse_options([plugins.named(name) for name in names if name is not None], texts))
    return [Target(path, name, {} if name is None else next(parsed)) for path, name in zip(paths, names)]


def write(
    targets: Sequence[Target], graph: Callable[[], Graph], stream: EventStream, failure: str | None = None
) -> None:
    """Write everything that can be written, and then fail if anything did, or had failed before.

    Raises:
        click.ClickException: with the last failure; those before it have been said.
    """
    failures = [failure] if failure else []
    for target in targets:
        try:
            with waiting(f"writing {target.path or target.format_name}"):
                target.write(graph, stream)
        except BrokenPipeError:
            raise  # the reader has had enough: click ends in silence
        except (RecorderError, OSError) as error:
            failures.append(f"{target.path or target.format_name} was not written: {folded(str(error))}")
    for told in failures[:-1]:
        say(f"Error: {told}")
    if failures:
        raise click.ClickException(failures[-1])


def say(line: str) -> None:
    """Progress, as one line on stderr: stdout is for results."""
    click.echo(in_one_line(line), err=True)
