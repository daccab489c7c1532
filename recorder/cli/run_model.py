"""A model from the command line, run once while it is recorded."""

import contextlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from recorder.cli.outputs import say
from recorder.cli.progress import waiting
from recorder.errors import describe_error

if TYPE_CHECKING:
    import torch

    from recorder.cli.model_inputs import Inputs
    from recorder.recorder import Recorder

__all__ = ["HowToRun", "model_flags", "run_model"]

F = TypeVar("F", bound=Callable[..., Any])


def model_flags(command: F) -> F:
    """Give a command the flags that say how to run a model: the fields of `HowToRun`."""
    for option in reversed(
        (
            click.option(
                "--input", "inputs", multiple=True, metavar="[NAME=]VALUE",
                help="What to call the model with: a SHAPE[:DTYPE][<BOUND] such as 1,3,224,224 or ids=1,16:int64<100; "
                "[3,64,64; 3,80,80] is a list, {ids: 1,16:int64<100; mask: 1,16:bool} a dict; or JSON, such as "
                """'mode="eval"', n:=3. Repeatable.""",
            ),
            click.option(
                "--kwargs", default="{}", metavar="JSON", help="""What to make the model with: '{"num_classes": 10}'."""
            ),
            click.option(
                "--config", default="{}", metavar="JSON",
                help="""Of transformers:NAME, what differs from the default: '{"hidden_size": 64}'.""",
            ),
            click.option("--device", metavar="NAME", help="Where to run: cpu, cuda, mps, or meta, without numbers."),
            click.option("--dtype", metavar="NAME", help="Of the model and its inputs, such as bfloat16."),
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


class HowToRun(NamedTuple):
    """The values of `model_flags`, and of `recorder.cli.reports.measure_flags` where a command has those."""

    inputs: tuple[str, ...]
    kwargs: str
    config: str
    device: str | None
    dtype: str | None
    train: bool
    backward: bool
    functions: bool
    seed: int
    gradients: Any = "calls"
    values: Any = None
    memory: bool = False
    optimizer: str | None = None
    batch: int | None = None
    fake: bool = False

    @property
    def measures(self) -> bool:
        """Whether a report of gradients or values was asked for."""
        return self.values is not None or self.gradients != "calls"


def run_model(name: str, how: HowToRun) -> "tuple[Recorder, str | None]":
    """Record a model, and say what went wrong with it, if anything did.

    Args:
        name: see `recorder.cli.find_model.find_model`.
        how: what was asked for on the command line.

    Raises:
        click.UsageError: there is no such model, or it takes no such inputs.
    """
    arguments, config = _json_object("--kwargs", how.kwargs), _json_object("--config", how.config)
    # stdout is for results, and a model may print
    with contextlib.redirect_stdout(sys.stderr), without_numbers() if how.fake else contextlib.nullcontext():
        with waiting("making the model"):
            import torch

            from recorder.cli.find_model import make_optimizer, total
            from recorder.recorder import Recorder

            net, inputs, shown = _made(name, how, arguments, config)
            optimizer = None if how.optimizer is None else make_optimizer(how.optimizer, net)
        say(f"recording {type(net).__name__} on {shown}" + (", forward and backward" if how.backward else ""))
        failure = None
        begin = time.perf_counter()
        with torch.set_grad_enabled(how.train or how.backward):
            run = Recorder(net, functions=how.functions, gradients=how.gradients, values=how.values, memory=how.memory)
            try:
                with waiting("running the model"), run:
                    result = net(*inputs.args, **inputs.kwargs)
                    if how.backward:
                        total(result).backward()  # type: ignore[no-untyped-call]
                        if optimizer is not None:
                            optimizer.step()
            except Exception as error:
                told = describe_error(error, first_line=True)
                failure = f"the model failed, and the recording ends there: {told}{_of_integers(told)}"
        say(f"recorded {len(run.events)} events in {time.perf_counter() - begin:.2f} s")
    return run, failure


@contextlib.contextmanager
def without_numbers() -> Iterator[None]:
    """Tensors that are made have no numbers, and take no memory."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode():
        yield


def _of_integers(told: str) -> str:
    """What to do about an error that says that a model takes integers, as tokens are."""
    wants = re.search(r"scalar types: Long|expected scalar type Long|tensors used as indices must be long", told)
    return "; integers are given as --input 1,16:int64<100, from 0 to below 100" if wants else ""


def _made(
    name: str, how: HowToRun, arguments: dict[str, Any], config: dict[str, Any]
) -> "tuple[torch.nn.Module, Inputs, str]":
    """The model, what to call it with, and that in words."""
    import torch

    from recorder.cli.find_model import check_call, find_model
    from recorder.cli.model_inputs import Making, dtype_of, inputs_of, of_batch
    from recorder.cli.model_sources import own_inputs

    torch.manual_seed(how.seed)
    device = _device(how.device)
    dtype = None if how.dtype is None else dtype_of(how.dtype)
    making = Making(device, dtype)
    inputs = inputs_of(how.inputs, making)
    try:
        with torch.device("meta") if device == "meta" else contextlib.nullcontext():
            net = find_model(name, arguments, config)
    except click.UsageError:
        if device != "meta":
            raise
        net = find_model(name, arguments, config)  # it cannot be made without numbers, but perhaps moved
    try:
        net = (_converted(net, dtype) if how.fake else net.to(device, dtype)).train(how.train)
    except Exception as error:  # there is no room for it, or it is not of such numbers
        where = " and ".join(part for part in (how.device, how.dtype) if part)
        told = describe_error(error, first_line=True)
        raise click.UsageError(f"{name} cannot be moved to {where}: {told}") from error
    shown = ", ".join(how.inputs) or "no input"
    if not how.inputs:
        with contextlib.suppress(Exception):  # what it says of itself may be anything
            inputs = own_inputs(net, making)
        named = [*(("", tensor) for tensor in inputs.args), *((f"{name}=", t) for name, t in inputs.kwargs.items())]
        shown = ", ".join(f"{name}{','.join(map(str, tensor.shape))}" for name, tensor in named) or shown
    if how.batch is not None:
        inputs = of_batch(inputs, how.batch)
    check_call(net, inputs)
    return net, inputs, shown


def _converted(net: "torch.nn.Module", dtype: "torch.dtype | None") -> "torch.nn.Module":
    """A model without numbers with floating-point members of another type: torch's own ``to`` cannot swap them."""
    import torch

    made: dict[int, torch.nn.Parameter] = {}
    for module in net.modules() if dtype is not None else ():
        for name, parameter in module._parameters.items():
            if parameter is not None and parameter.is_floating_point():
                other = made.get(id(parameter)) or torch.nn.Parameter(parameter.data.to(dtype), parameter.requires_grad)
                module._parameters[name] = made[id(parameter)] = other
        for name, buffer in module._buffers.items():
            if buffer is not None and buffer.is_floating_point():
                module._buffers[name] = buffer.to(dtype)
    return net


def _device(name: str | None) -> str | None:
    import torch

    if name is None:
        return None
    try:
        device = str(torch.device(name))
    except Exception as error:
        raise click.UsageError(f"{name!r} is no device: write cpu, cuda, cuda:1, mps or meta") from error
    try:
        torch.empty(0, device=device)
    except Exception as error:  # an AssertionError where torch was built without it
        raise click.UsageError(f"there is no {name} here: {describe_error(error, first_line=True)}") from error
    return device


def _json_object(flag: str, text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{flag} {text!r} is no JSON: {error}") from error
    if not isinstance(arguments, dict):
        raise click.UsageError(f"""{flag} {text!r} is no JSON object, such as '{{"num_classes": 10}}'""")
    return arguments
