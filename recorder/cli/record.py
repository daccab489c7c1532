"""``recorder record``: run a model once, and write what it did."""

import click

from recorder.cli.outputs import output_flags, targets, write
from recorder.cli.run_model import model_flags, run_model
from recorder.cli.summary import print_summary

__all__ = ["record"]


@click.command()
@click.argument("model")
@model_flags
@output_flags
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
    **flags: str | bool | None,
) -> None:
    """Run MODEL once on random input, and write what it did.

    MODEL is package.module:factory, for example torchvision.models:resnet18: a callable that returns a module, or a
    module itself. The current directory is searched too, after what is installed. Without -o or -f, a summary is
    printed. An output that ends in .jsonl is the recording itself, for `recorder export`.
    """
    wanted = targets(outputs, format_name, options, flags)
    run, failure = run_model(
        model, inputs=inputs, kwargs=kwargs, train=train, backward=backward, functions=functions, seed=seed
    )
    if not wanted:
        print_summary(run.summary())
    write(wanted, lambda: run.graph, run.events, failure)
