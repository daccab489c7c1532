"""The command line: ``recorder record``, ``export``, ``view``, ``summary``, ``formats``, and what plugins add.

Results go to stdout; progress, warnings and errors to stderr, one line each. The exit status is 0, or 1 if something
failed on the way, such as the model, or 2 if what was asked for cannot be. torch is
loaded by what runs a model or counts FLOPs.
"""

import contextlib
import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

import recorder
from recorder.cli.browser import open_in_browser, page_beside
from recorder.cli.plugin import plugin
from recorder.errors import FormatError, GraphError, OptionError, PluginError, RecorderError, StreamError
from recorder.events.stream import EventStream
from recorder.graph.core import Graph
from recorder.graph.document import loads
from recorder.plugins.exporting import export, save
from recorder.plugins.manager import Format, installed
from recorder.plugins.options import VIEW_OPTIONS, parse_options
from recorder.summary import Summary
from recorder.terminal import harmless, in_one_line

if TYPE_CHECKING:
    from rich.table import Table

    from recorder.recorder import Recorder

__all__ = ["main"]

_F = TypeVar("_F", bound=Callable[..., Any])

STREAM_SUFFIX = ".jsonl"
"""A file with this ending holds the event stream itself, and not an export of the graph."""


class Commands(click.Group):
    """A group with the commands of plugins, whose errors and warnings are one line each."""

    asked_plugins = False

    def main(self, *args: Any, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: _say(f"warning: {' '.join(str(message).split())}")
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
def _one_line() -> Iterator[None]:
    """Turn errors of ours into errors of click's, and those into one line, without the usage before it."""
    try:
        yield
    except click.ClickException as error:
        kind = click.UsageError if isinstance(error, click.UsageError) else click.ClickException
        told: Any = kind(harmless(error.format_message()))
        told.exit_code = error.exit_code
        raise told from error
    except (FormatError, OptionError, StreamError, GraphError) as error:
        raise click.UsageError(_folded(error)) from error
    except RecorderError as error:
        raise click.ClickException(_folded(error)) from error


def _folded(error: BaseException) -> str:
    """What an error says, in one line that a terminal only shows."""
    return in_one_line(" ".join(str(error).split()))


@click.group(cls=Commands, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(recorder.__version__, prog_name="recorder")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Record what a PyTorch model really did, and draw it."""
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


main.add_command(plugin)


def _output_options(command: _F) -> _F:
    for option in (
        click.option("--theme", metavar="NAME", help="How drawings look: light, dark, print or colour-blind."),
        click.option("--colour-by", metavar="WHAT", help="Colour calls by flops, time, parameters, gradient, ..."),
        click.option("--around", metavar="NAME", help="Show what is next to a node or module call."),
        click.option("--scope", metavar="NAME", help="Show one module call and what is in it."),
        click.option("--hide", metavar="KINDS", help="Leave out identities,views,constants, or some of these."),
        click.option("--fold/--no-fold", default=None, help="Show blocks that repeat once. Else: where it is needed."),
        click.option("--depth", metavar="N", help="Levels of modules that stay open, or all. Else: as many as fit."),
        click.option(
            "--option", "options", multiple=True, metavar="KEY=VALUE", help="For each format that has it. Repeatable."
        ),
        click.option("-f", "--format", "format_name", help="The format, whatever the suffix. Without -o: printed."),
        click.option(
            "-o", "--output", "outputs", multiple=True, metavar="FILE", help="The suffix picks the format. Repeatable."
        ),
    ):
        command = option(command)
    return command


def _model_options(command: _F) -> _F:
    for option in (
        click.option("--seed", default=0, show_default=True, help="For the weights and the inputs."),
        click.option("--functions/--no-functions", default=True, help="Record functions too, or module calls alone."),
        click.option("--backward", is_flag=True, help="With gradients, and backward from the sum of what it returns."),
        click.option("--train", is_flag=True, help="In training mode, with gradients. Else: eval mode, without."),
        click.option(
            "--kwargs", default="{}", metavar="JSON", help="""What to make the model with: '{"num_classes": 10}'."""
        ),
        click.option(
            "--input", "inputs", multiple=True, metavar="SHAPE[:DTYPE]",
            help="Such as 1,3,224,224 or 1,16:int64. Repeatable.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


@main.command()
@click.argument("model")
@_model_options
@_output_options
def record(
    model: str,
    inputs: tuple[str, ...],
    kwargs: str,
    train: bool,
    backward: bool,
    functions: bool,
    seed: int,
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    **views: str | bool | None,
) -> None:
    """Run MODEL once on random input, and write what it did.

    MODEL is package.module:factory, for example torchvision.models:resnet18: a callable that returns a module, or a
    module itself. The current directory is searched too, after what is installed. Without -o or -f, a summary is
    printed. An output that ends in .jsonl is the recording itself, for `recorder export`.
    """
    targets = _targets(outputs, format_name, options, views)
    run, failure = _run(model, inputs, kwargs, train, backward, functions, seed)
    if not targets:
        _print_summary(run.summary())
    _finish(targets, lambda: run.graph, run.events, failure)


def _run(
    model: str, inputs: tuple[str, ...], kwargs: str, train: bool, backward: bool, functions: bool, seed: int
) -> "tuple[Recorder, str | None]":
    """Record a model, and say what went wrong with it, if anything did."""
    arguments = _json_object(kwargs)

    import torch

    from recorder.cli.find_model import check_call, describe, find_model, make_input, total
    from recorder.recorder import Recorder

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, and a model may print
        torch.manual_seed(seed)
        tensors = [make_input(text) for text in inputs]
        net = find_model(model, arguments).train(train)
        check_call(net, tensors)
        shown = ", ".join(inputs) or "no input"
        _say(f"recording {type(net).__name__} on {shown}" + (", forward and backward" if backward else ""))
        failure = None
        begin = time.perf_counter()
        with torch.set_grad_enabled(train or backward):
            run = Recorder(net, functions=functions)
            try:
                with run:
                    result = net(*tensors)
                    if backward:
                        total(result).backward()  # type: ignore[no-untyped-call]
            except Exception as error:
                failure = f"the model failed, and the recording ends there: {describe(error)}"
        _say(f"recorded {len(run.events)} events in {time.perf_counter() - begin:.2f} s")
    return run, failure


def _print_summary(summary: Summary) -> None:
    """In colour and as wide as the terminal, if there is one."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False).print(summary)
    else:
        click.echo(summary.to_text(), nl=False)


@main.command("summary")
@click.argument("source")
@click.option("--depth", type=click.IntRange(0), help="Show calls down to this depth alone, 0 for the outermost.")
@click.option("--columns", metavar="NAMES", help="Separated by commas, or 'all'.")
@click.option("--rows-of-functions", is_flag=True, help="Show calls of functions too.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["text", "markdown", "csv"]),
    default="text",
    show_default=True,
    help="How to print it.",
)
@_model_options
def summary_command(
    source: str,
    depth: int | None,
    columns: str | None,
    rows_of_functions: bool,
    form: str,
    inputs: tuple[str, ...],
    kwargs: str,
    train: bool,
    backward: bool,
    functions: bool,
    seed: int,
) -> None:
    """Print a table of module calls with parameters, FLOPs and times.

    SOURCE is a recording (.jsonl), a graph (.json), or a model to run once, as for `recorder record`.
    """
    failure = None
    if source.endswith((STREAM_SUFFIX, ".json")):
        if inputs:
            raise click.UsageError(f"{source} is recorded already: --input is for a model that is to be run")
        if not Path(source).is_file():
            raise click.UsageError(f"there is no file {source}")
        graph, _ = _loaded(Path(source))
    else:
        run, failure = _run(source, inputs, kwargs, train, backward, functions, seed)
        graph = run.graph
    chosen = columns if columns in (None, "all") else columns.split(",")
    summary = Summary(graph, depth, columns=chosen, functions=rows_of_functions)
    if form == "text":
        _print_summary(summary)
    else:
        click.echo(summary.to_markdown() if form == "markdown" else summary.to_csv(), nl=False)
    if failure:
        raise click.ClickException(failure)


def _loaded(source: Path) -> tuple[Graph, EventStream]:
    """The graph in a file, and the stream that it was assembled from; an empty one for a file that holds a graph."""
    if source.suffix == ".json":
        return loads(source.read_bytes()), EventStream()
    stream = EventStream.load(source)
    graph = recorder.assemble(stream)
    installed().annotate(graph)
    return graph, stream


@main.command("export")
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_output_options
def export_command(
    source: Path,
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    **views: str | bool | None,
) -> None:
    """Draw what was recorded before.

    SOURCE is a recording (.jsonl), or a whole graph as the json format writes it (.json).
    """
    targets = _targets(outputs, format_name, options, views)
    if not targets:
        raise click.UsageError("say where to (-o FILE) or in which format (-f FORMAT); `recorder formats` lists them")
    if source.suffix == ".json" and any(target.is_stream for target in targets):
        raise click.UsageError(f"{source} is a graph, and a {STREAM_SUFFIX} cannot be made from it")
    graph, stream = _loaded(source)
    _finish(targets, lambda: graph, stream, None)


@main.command()
@click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", metavar="FILE", help="Where the page goes. Else: beside SOURCE, ending in .html.")
@click.option("--browser/--no-browser", default=True, help="Open the page, or only write it.")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE", help="Of the format html. Repeatable.")
def view(source: Path, output: str | None, browser: bool, options: tuple[str, ...]) -> None:
    """Look at what was recorded before, as a page in the browser.

    SOURCE is a recording (.jsonl), or a whole graph as the json format writes it (.json). Nothing is sent anywhere: the
    page is one file, and works without a network.
    """
    page = Path(output) if output else page_beside(source)
    (target,) = _targets([str(page)], "html", options, {})
    graph, _ = _loaded(source)
    _finish([target], lambda: graph, EventStream(), None)
    if browser and not open_in_browser(page):
        _say(f"there is no browser to open it in: open {page.resolve().as_uri()} in yours")


@main.command()
@click.option("-v", "--verbose", is_flag=True, help="With what each format is, and its options.")
def formats(verbose: bool) -> None:
    """List the installed formats."""
    from rich.console import Console

    # A table that is piped is as wide as it needs to be, so that every line holds one whole row.
    console = Console(width=None if sys.stdout.isatty() else 1000)
    console.print(_table(recorder.formats(), verbose))
    if verbose:
        told = "; ".join(option.describe() for option in VIEW_OPTIONS)
        console.print(f"and of every format, to choose what is shown: {told}", markup=False, highlight=False)


def _table(installed_formats: Sequence[Format], verbose: bool) -> "Table":
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for heading in ("format", "suffixes", "media type", "plugin", *(("about", "options") if verbose else ())):
        table.add_column(heading, overflow="fold")
    for format_ in installed_formats:
        row = [format_.name, " ".join(format_.suffixes), format_.media_type, format_.plugin]
        if verbose:
            row += [format_.summary, "\n".join(option.describe() for option in format_.options)]
        table.add_row(*map(Text, row))  # as Text, for an option's [brackets] are no markup
    return table


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
            if isinstance(result, str) and sys.stdout.isatty():
                result = harmless(result)  # whatever reads a pipe gets it as it is
            click.echo(result.encode() if isinstance(result, str) else result, nl=False)
        else:
            save(graph(), self.path, self.format_name, **self.options)
        if self.path is not None:
            _say(f"wrote {self.path} ({self.format_name or 'recording'})")


def _targets(
    outputs: Sequence[str], format_name: str | None, options: Sequence[str], views: Mapping[str, str | bool | None]
) -> list[Target]:
    """Everything that will be written, checked as far as it can be before a model has run."""
    texts = {name: str(value) for name, value in views.items() if value is not None}
    if texts.get("depth", "").lower() == "all":
        texts["depth"] = "none"
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
    parsed = iter(parse_options([plugins.named(name) for name in names if name is not None], texts))
    return [Target(path, name, {} if name is None else next(parsed)) for path, name in zip(paths, names)]


def _finish(targets: Sequence[Target], graph: Callable[[], Graph], stream: EventStream, failure: str | None) -> None:
    """Write everything that can be written, and then fail if anything did."""
    failures = [failure] if failure else []
    for target in targets:
        try:
            target.write(graph, stream)
        except BrokenPipeError:
            raise  # the reader has had enough: click ends in silence
        except (RecorderError, OSError) as error:
            failures.append(f"{target.path or target.format_name} was not written: {_folded(error)}")
    for told in failures[:-1]:
        _say(f"Error: {told}")
    if failures:
        raise click.ClickException(failures[-1])


def _json_object(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--kwargs {text!r} is no JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise click.UsageError(f"""--kwargs {text!r} is no JSON object, such as '{{"num_classes": 10}}'""")
    return arguments


def _say(line: str) -> None:
    click.echo(in_one_line(line), err=True)
