"""The command line: ``recorder record``, ``run``, ``export``, ``view``, ``summary``, ``diff``, ``diverge``, ``merge``,
``desync``, ``memory``, ``formats``, and what plugins add.

Results go to stdout; progress, warnings and errors to stderr, one line each. The exit status is 0, or 1 if something
failed on the way, such as the model, or 2 if what was asked for cannot be. torch is loaded by what
runs a model or counts FLOPs.
"""

import contextlib
import io
import sys
import warnings
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

import click

import recorder
from recorder.cli.desync import desync
from recorder.cli.diff import diff
from recorder.cli.diverge import diverge
from recorder.cli.export import export
from recorder.cli.formats import formats
from recorder.cli.memory import memory
from recorder.cli.merge import merge
from recorder.cli.outputs import say
from recorder.cli.plugin import plugin
from recorder.cli.record import record
from recorder.cli.run import run
from recorder.cli.summary import summary
from recorder.cli.view import view
from recorder.errors import FormatError, GraphError, OptionError, PluginError, RecorderError, StreamError
from recorder.plugins.manager import installed
from recorder.terminal import PLAINER, folded, harmless

__all__ = ["main"]


class Commands(click.Group):
    """A group with the commands of plugins, whose errors and warnings are one line each."""

    asked_plugins = False

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings(), _written_plainer():
            warnings.showwarning = lambda message, *_: say(f"warning: {folded(str(message))}")
            return super().main(*args, **kwargs)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        if not self.asked_plugins:
            self.asked_plugins = True
            installed().register_commands(self)
        with _one_line():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _one_line():
            return super().invoke(ctx)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        name = name or cmd.name
        if name in self.commands:
            raise PluginError(f"there is a command {name!r} already")
        super().add_command(cmd, name)


@contextlib.contextmanager
def _written_plainer() -> Iterator[None]:
    """Whatever a command says comes out, where the terminal, file or pipe lacks a character."""
    streams = [stream for stream in (sys.stdout, sys.stderr) if isinstance(stream, io.TextIOWrapper)]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=PLAINER)
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            if not stream.closed:
                stream.reconfigure(errors=errors)


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Turn errors of ours into errors of click's, and those into one line, without the usage before it."""
    try:
        yield
    except click.ClickException as error:
        kind = click.UsageError if isinstance(error, click.UsageError) else click.ClickException
        told: Any = kind(harmless(error.format_message() + _of_a_format(error)))
        told.exit_code = error.exit_code
        raise told from error
    except (FormatError, OptionError, StreamError, GraphError) as error:
        raise click.UsageError(folded(str(error))) from error
    except RecorderError as error:
        raise click.ClickException(folded(str(error))) from error


def _of_a_format(error: click.ClickException) -> str:
    """How to give an option that is no flag, but one of some format."""
    if not isinstance(error, click.NoSuchOption) or error.ctx is None:
        return ""
    known = {parameter.name for parameter in error.ctx.command.params}
    name = error.option_name.lstrip("-").replace("-", "_")
    if "options" not in known:
        return ""
    of_formats: dict[str, list[str]] = {}
    for format in installed().formats():
        for option in format.options:
            of_formats.setdefault(option.name, []).append(format.name)
    near = get_close_matches(name, [each for each in of_formats if each not in known], 1, cutoff=0.8)
    if not near:
        return ""
    formats = of_formats[near[0]]
    among = ", ".join(formats[:5]) + (", …" if len(formats) > 5 else "")
    return f" Of the formats {among} there is --option {near[0]}=…"


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(recorder.__version__, prog_name="recorder")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Record what a PyTorch model really did, and draw it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


for command in (record, run, export, view, summary, diff, diverge, merge, desync, memory, formats, plugin):
    main.add_command(command)
