"""``recorder record``: run a model once, and write what it did."""

from typing import Any

import click

from recorder.cli.outputs import output_flags, targets, write
from recorder.cli.reports import measure_flags, say_reports
from recorder.cli.run_model import HowToRun, model_flags, run_model
from recorder.cli.summary import print_summary

__all__ = ["record"]


@click.command()
@click.argument("model")
@model_flags
@measure_flags
@output_flags
def record(
    model: str,
    outputs: tuple[str, ...],
    format_name: str | None,
    options: tuple[str, ...],
    **flags: Any,
) -> None:
    """Run MODEL once on random input, and write what it did.

    MODEL is package.module:factory, for example torchvision.models:resnet18, or path/to/file.py:factory: a callable
    that returns a module, or a module itself. The current directory is searched too, after what is installed. Or it is
    transformers:bert, transformers:BertForSequenceClassification or timm:resnet18: with random weights, nothing is
    downloaded, and no --input is needed. Without -o or -f, a summary is printed. An output that ends in .jsonl is the
    recording itself, for `recorder export`.
    """
    how = HowToRun(**{name: flags.pop(name) for name in HowToRun._fields if name in flags})
    wanted = targets(outputs, format_name, options, flags)
    run, failure = run_model(model, how)
    if not wanted:
        print_summary(run.summary())
    say_reports(run.graph, asked=True, err=bool(wanted))
    write(wanted, lambda: run.graph, run.events, failure)
