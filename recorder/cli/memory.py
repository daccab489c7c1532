"""``recorder memory``: what a training step of a model needs, before there is a machine for it."""

import json
from statistics import linear_regression
from typing import Any

import click

from recorder.analysis.memory_report import MemoryReport
from recorder.cli.run_model import HowToRun, model_flags, run_model
from recorder.figures import bytes_in_words

__all__ = ["memory"]

_STRAIGHT = 0.01
"""Peaks that are no further from a line than this share of the largest lie on it."""


@click.command()
@click.argument("model")
@click.option("--optimizer", metavar="NAME", help="Step with it, by its name in torch.optim, such as adamw.")
@click.option("--inference", is_flag=True, help="In eval mode, without gradients.")
@click.option(
    "--batch", "batches", type=click.IntRange(1), multiple=True, metavar="N",
    help="How many examples the inputs have, in the place of their first size. Several give a line. Repeatable.",
)  # fmt: skip
@click.option(
    "--as", "form", type=click.Choice(["text", "json"], case_sensitive=False), default="text", show_default=True,
    help="How to print it.",
)  # fmt: skip
@model_flags
def memory(
    model: str, optimizer: str | None, inference: bool, batches: tuple[int, ...], form: str, **how_to_run: Any
) -> None:
    """Print what a training step of MODEL needs in memory: the peak, what it is made of, and who keeps what.

    MODEL and its inputs are as for `recorder record`. It runs on tensors without numbers, unless --device says where
    to run with them: so a model of any size takes no memory for it. The step is forward, backward from the sum of what
    the model returns, and the optimizer's if one is named.
    """
    how = HowToRun(**how_to_run)
    how = how._replace(
        train=not inference, backward=not inference, memory=True, optimizer=optimizer, fake=how.device is None
    )
    reports: dict[int | None, MemoryReport] = {}
    wanted: list[int | None] = [*sorted(set(batches))] or [None]
    for batch in wanted:
        run, failure = run_model(model, how._replace(batch=batch))
        if failure:
            hint = "" if how.device not in (None, "meta") else "; if it asks for numbers, run it with --device cpu"
            raise click.ClickException(f"{failure}{hint}")
        reports[batch] = run.graph.memory_report()
    if form == "json":
        click.echo(json.dumps([_plain(batch, report) for batch, report in reports.items()], indent=1))
    elif len(reports) == 1:
        click.echo(str(*reports.values()))
    else:
        _print_batches({batch: report for batch, report in reports.items() if batch is not None})


def _plain(batch: int | None, report: MemoryReport) -> dict[str, Any]:
    where = None if report.peak_at is None else report.peak_at.name
    return {
        "batch": batch, "peak_bytes": report.peak_bytes, "peak_at": where, "peak_phase": report.peak_phase,
        "at_peak": dict(report.at_peak), "by_kind": dict(report.by_kind),
        "by_place": {place.name: size for place, size in report.by_place.items()}, "unknown": list(report.unknown),
    }  # fmt: skip


def _print_batches(reports: dict[int, MemoryReport]) -> None:
    """A line for each, and what each example more takes."""
    width = max(len(f"{batch:,}") for batch in reports)
    for batch, report in reports.items():
        where = "" if report.peak_at is None else f" of {report.peak_at.name}"
        kept = bytes_in_words(report.by_kind["saved"])
        click.echo(
            f"batch {batch:>{width},}: peak {bytes_in_words(report.peak_bytes)}, in {report.peak_phase}{where}; "
            f"kept for backward {kept}"
        )
    for called, sizes in (
        ("peak", [report.peak_bytes for report in reports.values()]),
        ("kept for backward", [report.by_kind["saved"] for report in reports.values()]),
    ):
        click.echo(f"{called}: {_line(list(reports), sizes)}")


def _line(batches: list[int], sizes: list[int]) -> str:
    """What lies on a line, in words: all of it, or the largest batches, where something else is the most at first."""
    for first in range(len(batches) - 1):
        xs, ys = batches[first:], sizes[first:]
        slope, start = linear_regression(xs, ys)
        if max(abs(y - start - slope * x) for x, y in zip(xs, ys)) <= _STRAIGHT * max(*ys, 1):
            break
    beginning = "" if first == 0 else f", from batch {batches[first]:,} on"
    return f"{bytes_in_words(max(start, 0))} and {bytes_in_words(slope)} for each example{beginning}"
