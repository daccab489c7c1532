"""A model from the command line, run once while it is recorded."""

import contextlib
import json
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from recorder.cli.outputs import say
from recorder.errors import describe_error

if TYPE_CHECKING:
    from recorder.recorder import Recorder

__all__ = ["model_flags", "run_model"]

F = TypeVar("F", bound=Callable[..., Any])


def model_flags(command: F) -> F:
    """Give a command the flags that say how to run a model: the keyword arguments of `run_model`."""
    for option in reversed(
        (
            click.option(
                "--input", "inputs", multiple=True, metavar="SHAPE[:DTYPE]",
                help="Such as 1,3,224,224 or 1,16:int64. Repeatable.",
            ),
            click.option(
                "--kwargs", default="{}", metavar="JSON", help="""What to make the model with: '{"num_classes": 10}'."""
            ),
            click.option("--train", is_flag=True, help="In training mode, with gradients. Else: eval mode, without."),
            click.option(
                "--backward", is_flag=True, help="With gradients, and backward from the sum of what it returns."
            ),
            click.option(
                "--functions/--no-functions", default=True, help="Record functions too, or module calls alone."
            ),
            click.option("--seed", default=0, show_default=True, help="For the weights and the inputs."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def run_model(
    name: str, *, inputs: Sequence[str], kwargs: str, train: bool, backward: bool, functions: bool, seed: int
) -> "tuple[Recorder, str | None]":
    """Record a model, and say what went wrong with it, if anything did.

    Args:
        name: ``package.module:factory``.
        inputs: a shape each, with a dtype if it is not float32: ``1,16:int64``.
        kwargs: a JSON object, what to call the factory with.
        train: in training mode, and not in eval mode.
        backward: with gradients, and backward.
        functions: whether functions are recorded, or module calls alone.
        seed: of torch's random numbers.

    Raises:
        click.UsageError: there is no such model, or it takes no such inputs.
    """
    arguments = _json_object(kwargs)

    import torch

    from recorder.cli.find_model import check_call, find_model, make_input, total
    from recorder.recorder import Recorder

    with contextlib.redirect_stdout(sys.stderr):  # stdout is for results, and a model may print
        torch.manual_seed(seed)
        tensors = [make_input(text) for text in inputs]
        net = find_model(name, arguments).train(train)
        check_call(net, tensors)
        shown = ", ".join(inputs) or "no input"
        say(f"recording {type(net).__name__} on {shown}" + (", forward and backward" if backward else ""))
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
                told = describe_error(error, first_line=True)
                failure = f"the model failed, and the recording ends there: {told}"
        say(f"recorded {len(run.events)} events in {time.perf_counter() - begin:.2f} s")
    return run, failure


def _json_object(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"--kwargs {text!r} is no JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise click.UsageError(f"""--kwargs {text!r} is no JSON object, such as '{{"num_classes": 10}}'""")
    return arguments
