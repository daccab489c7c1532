"""What a command says of gradients and values: when they were asked for, or when something is wrong with them."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from recorder.graph.core import Graph

__all__ = ["measure_flags", "reports_of", "say_reports"]

F = TypeVar("F", bound=Callable[..., Any])


def measure_flags(command: F) -> F:
    """Give a command the flags that say what to record of gradients and values."""
    for option in (
        click.option(
            "--values", type=click.Choice(["stats"]),
            help="Record what is in all that calls make, too, and report NaN, Inf, dead and saturated outputs.",
        ),
        click.option(
            "--gradients", type=click.Choice(["calls", "on", "stats"]), default="calls", show_default=True,
            help="What to record of gradients: where they came, which parameters have one, or also what is in "
            "them; the last two with a report.",
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def reports_of(graph: Graph, *, asked: bool) -> list[str]:
    """The reports of what a recording was asked for, each as text: all if they were ``asked`` for now, else those that
    found something.
    """
    found: list[Any] = []
    if graph.meta.get("values") is not None:
        found.append(graph.value_report())
    if graph.meta.get("gradients") in ("on", "stats"):
        found.append(graph.gradient_report())
    return [str(report) for report in found if asked or not report.ok]


def say_reports(graph: Graph, *, asked: bool, err: bool = True) -> None:
    """Print them, to stderr where stdout is for something else."""
    for text in reports_of(graph, asked=asked):
        click.echo(f"\n{text}", err=err)
