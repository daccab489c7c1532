"""From what people type to a model that has run: ``package.module:factory`` and ``1,3,224,224:int64``.

A file of its own because it needs torch, which the command line loads only to record.
"""

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from operator import attrgetter
from typing import Any

import click
import torch

from recorder.capture.tensor_facts import tensors_in
from recorder.errors import describe_error

__all__ = ["check_call", "find_model", "make_input", "total"]


def find_model(name: str, arguments: Mapping[str, Any]) -> torch.nn.Module:
    """The model that ``package.module:factory`` stands for; the current directory is importable, as for python -m.

    Args:
        name: where to find a callable that returns a module, or a module itself.
        arguments: what to call it with. torchvision's ``weights_backbone`` is None unless given, so that nothing is
            downloaded; its ``weights`` are None anyway.

    Raises:
        click.UsageError: there is no such thing, or it gives no model.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise click.UsageError(
            f"{name!r} names no model: write package.module:factory, such as torchvision.models:resnet18"
        )
    found = _attribute(_import(module_name), attribute, module_name)
    if isinstance(found, torch.nn.Module):
        if arguments:
            raise click.UsageError(f"{name} is a model already, and takes no --kwargs")
        return found
    if not callable(found):
        raise click.UsageError(f"{name} is neither a model nor a callable that makes one: it is a {_kind(found)}")
    try:
        net = found(**{**_no_download(found), **arguments})
    except Exception as error:
        raise click.UsageError(f"{name} could not be made: {describe_error(error, first_line=True)}") from error
    if not isinstance(net, torch.nn.Module):
        raise click.UsageError(f"{name} is no model: it returned a {_kind(net)}")
    return net


def _no_download(factory: Callable[..., Any]) -> dict[str, None]:
    try:
        takes = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some callables have no signature to look at
        return {}
    return {"weights_backbone": None} if "weights_backbone" in takes else {}


def _import(name: str) -> Any:
    # Last: a folder from elsewhere may hold a torch.py, and what was asked for is what is installed.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except Exception as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and f"{name}.".startswith(f"{missing}."):
            raise click.UsageError(f"there is no module {missing!r}, here or among what is installed") from error
        raise click.UsageError(
            f"the module {name!r} could not be imported: {describe_error(error, first_line=True)}"
        ) from error


def _attribute(module: Any, path: str, module_name: str) -> Any:
    try:
        return attrgetter(path)(module)
    except AttributeError as error:
        near = get_close_matches(path, dir(module))
        hint = f": did you mean {' or '.join(near)}?" if near else ""
        raise click.UsageError(f"the module {module_name!r} has no {path!r}{hint}") from error


def make_input(text: str) -> torch.Tensor:
    """A random tensor from its shape, ``1,3,224,224``, and dtype, ``1,16:int64`` (float32 if there is none).

    Floating-point numbers are drawn from the normal distribution; whole numbers are 0 or 1, which are valid as indices
    into any vocabulary of two and more.

    Raises:
        click.UsageError: it is no shape, or no dtype.
    """
    sizes, _, dtype_name = text.partition(":")
    try:
        shape = [int(size) for size in sizes.split(",")]
    except ValueError:
        shape = [-1]
    if min(shape) < 0:
        raise click.UsageError(f"{text!r} is no shape: write whole numbers with commas, such as 1,3,224,224")
    dtype = getattr(torch, dtype_name or "float32", None)
    if not isinstance(dtype, torch.dtype):
        raise click.UsageError(f"{dtype_name!r} is no dtype: write one of torch's, such as 1,16:int64")
    if dtype.is_floating_point or dtype.is_complex:
        try:
            return torch.randn(shape, dtype=dtype)
        except (RuntimeError, NotImplementedError):  # dtypes that exist to be converted to, such as float8_e5m2
            return torch.randn(shape).to(dtype)
    return torch.randint(0, 2, shape).to(dtype)


def check_call(net: torch.nn.Module, inputs: Sequence[torch.Tensor]) -> None:
    """See that a model can be called with these inputs, as far as its signature tells.

    Raises:
        click.UsageError: it takes more or fewer; says what it takes.
    """
    try:
        signature = inspect.signature(net.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*inputs)
    except TypeError as error:
        raise click.UsageError(
            f"{_kind(net)}.forward{signature} cannot be called with {len(inputs)} tensors, one an --input: {error}"
        ) from error


def total(result: Any) -> torch.Tensor:
    """The sum of every float tensor that needs a gradient, in any nesting: something to call backward on.

    Raises:
        ValueError: there is none.
    """
    tensors = [t for t in tensors_in(result) if t.requires_grad]
    if not tensors:
        raise ValueError("the model returned no tensor that requires a gradient, so there is no backward to record")
    # Complex sums have no gradient of their own; the squared magnitude stands for them.
    sums = [(t.abs().square() if t.is_complex() else t).sum() for t in tensors]
    return torch.stack([s.to(sums[0]) for s in sums]).sum() if len(sums) > 1 else sums[0]


def _kind(thing: object) -> str:
    return type(thing).__name__
