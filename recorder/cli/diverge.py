"""``recorder diverge``: where the numbers of two recorded runs part."""

from pathlib import Path

import click

from recorder.cli.outputs import STREAM_SUFFIX
from recorder.errors import RecorderError
from recorder.graph.core import Graph
from recorder.plugins.exporting import save
from recorder.relations.divergence import Divergence, Tolerance
from recorder.relations.recordings import load
from recorder.terminal import harmless

__all__ = ["diverge"]


class _ToleranceType(click.ParamType):  # type: ignore[type-arg]
    name = "dtype|NUMBER"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Tolerance:
        if value == "dtype":
            return "dtype"
        try:
            number = float(str(value))
        except ValueError:
            number = -1.0
        if not number >= 0:
            self.fail(f"{value!r} is neither 'dtype' nor a number from 0 on", param, ctx)
        return number


@click.command()
@click.argument("a", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--tolerance", type=_ToleranceType(), default="dtype", show_default=True,
    help="What a call may add, relative to the norm of its results: what rounding adds in its dtype, or a number. With "
    "0, the first place is named where a bit differs.",
)  # fmt: skip
@click.option(
    "-o", "--output", "outputs", multiple=True, metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
    help="Write it: pictures are of B, coloured by what each call adds; .md and .txt have the table. Repeatable.",
)  # fmt: skip
@click.option("--all", "everything", is_flag=True, help="Show every place that was compared.")
def diverge(a: Path, b: Path, tolerance: Tolerance, outputs: tuple[Path, ...], everything: bool) -> None:
    """Say where the numbers of two runs part first: the call that adds an error, not one that carries it.

    A and B are recordings (.jsonl) or graphs (.json) of Recorder(net, values="digest"). The exit status is 1 if there
    is such a call.
    """
    before, after = _loaded(a), _loaded(b)
    try:
        found = Divergence(before, after, tolerance)
    except RecorderError as error:
        raise click.UsageError(str(error)) from error
    click.echo(harmless(found.to_text(None if everything else 30)))
    for path in outputs:
        try:
            save(found, path)
        except OSError as error:
            raise click.ClickException(f"{path} was not written: {error}") from error
    if found:
        click.get_current_context().exit(1)


def _loaded(path: Path) -> Graph:
    if path.suffix not in (".json", STREAM_SUFFIX):
        raise click.UsageError(f"{path} is no recording (.jsonl) and no graph (.json)")
    return load(path)
