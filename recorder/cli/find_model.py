"""From what people type to a model: ``package.module:factory``, ``path/to/file.py:Net``, ``transformers:bert``.

A file of its own because it needs torch, which the command line loads only to record.
"""

import ast
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Mapping
from operator import attrgetter
from pathlib import Path
from typing import Any

import click
import torch

from recorder.capture.tensor_facts import tensors_in
from recorder.cli.model_inputs import Inputs
from recorder.cli.model_sources import LIBRARIES
from recorder.errors import describe_error, did_you_mean

__all__ = ["check_call", "find_model", "make_optimizer", "total"]


def find_model(name: str, arguments: Mapping[str, Any], config: Mapping[str, Any] | None = None) -> torch.nn.Module:
    """The model that a name stands for. The current directory is importable, as for python -m.

    Args:
        name: ``package.module:factory`` or ``path/to/file.py:factory``, where there is a callable that returns a
            module, or a module itself; ``timm:NAME``; ``transformers:NAME``, by a type of model or by a class.
        arguments: what to call it with. torchvision's ``weights_backbone`` is None unless given, so that nothing is
            downloaded; its ``weights`` are None anyway.
        config: of transformers' models, what differs from the default.

    Raises:
        click.UsageError: there is no such thing, or it gives no model.
    """
    module_name, _, attribute = name.rpartition(":")
    if module_name in LIBRARIES:
        try:
            return LIBRARIES[module_name](attribute, arguments, config or {})
        except click.UsageError:
            raise
        except Exception as error:
            raise click.UsageError(f"{name} could not be made: {describe_error(error, first_line=True)}") from error
    if config:
        raise click.UsageError(f"--config is for transformers:NAME; what {name} is called with is --kwargs")
    if not module_name or not attribute or (name.endswith(".py") and ":" not in Path(name).name):
        raise click.UsageError(_nameless(name))
    module = _import_file(Path(module_name)) if module_name.endswith(".py") else _import(module_name)
    found = _attribute(module, attribute, module_name)
    if isinstance(found, torch.nn.Module):
        if arguments:
            raise click.UsageError(f"{name} is a model already, and takes no --kwargs")
        return found
    if not callable(found):
        raise click.UsageError(f"{name} is neither a model nor a callable that makes one: it is a {_kind(found)}")
    try:
        net = found(**{**_no_download(found), **arguments})
    except Exception as error:
        needs = _needs(found, arguments) if isinstance(error, TypeError) else ""
        told = needs or f"could not be made: {describe_error(error, first_line=True)}"
        raise click.UsageError(f"{name} {told}") from error
    if not isinstance(net, torch.nn.Module):
        raise click.UsageError(f"{name} is no model: it returned a {_kind(net)}")
    return net


def _nameless(name: str) -> str:
    """What to write instead of a name that says no model; of a file, what there is in it."""
    file = Path(name.rstrip(":"))
    if file.suffix != ".py":
        known = _in_libraries(name)
        if known:
            return f"{name!r} names no model: write {' or '.join(known)}"
        return (
            f"{name!r} names no model: write package.module:factory, such as torchvision.models:resnet18, or "
            "path/to/file.py:factory"
        )
    if not file.is_file():
        return f"there is no file {file}"
    try:
        body = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError) as error:
        return f"{file} is no Python: {describe_error(error, first_line=True)}"
    classes = [node.name for node in body if isinstance(node, ast.ClassDef)]
    names = " or ".join(f"{file}:{name}" for name in classes[:4]) or f"{file}:factory"
    return f"{name!r} names no model: write {names}, or `recorder run {file}` to record it as a script"


def _in_libraries(name: str) -> list[str]:
    """How to write the name of a model alone, if a library that is installed has one of that name."""
    found = []
    if (
        name.isidentifier()
        and importlib.util.find_spec("torchvision")
        and name in _import("torchvision.models").__dict__
    ):
        found.append(f"torchvision.models:{name}")
    if name and importlib.util.find_spec("timm") and _import("timm").is_model(name):
        found.append(f"timm:{name}")
    if name and importlib.util.find_spec("transformers"):
        names = _import("transformers.models.auto.configuration_auto").CONFIG_MAPPING_NAMES
        found += [f"transformers:{name}"] if name in names else []
    return found


def _needs(factory: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """What a factory is called with, if it is not these arguments."""
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return ""
    try:
        signature.bind(**arguments)
    except TypeError as error:
        return f"could not be made: {error}; it takes {signature}, given as --kwargs JSON"
    return ""


def _no_download(factory: Callable[..., Any]) -> dict[str, None]:
    try:
        takes = inspect.signature(factory).parameters
    except (TypeError, ValueError):  # some callables have no signature to look at
        return {}
    return {"weights_backbone": None} if "weights_backbone" in takes else {}


def _import_file(path: Path) -> Any:
    """A module by its file. One in a package is imported as a part of that, so that it may import its neighbours."""
    if not path.is_file():
        raise click.UsageError(f"there is no file {path}")
    path = path.resolve()
    folder, names = path.parent, [path.stem]
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    sys.path.insert(0, str(folder))  # as for a script of Python's, whose folder goes before all else
    try:
        if len(names) > 1:
            return importlib.import_module(".".join(names))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules.setdefault(path.stem, module)  # for dataclasses and pickle, which look for it there
        spec.loader.exec_module(module)
    except Exception as error:
        told = describe_error(error, first_line=True)
        raise click.UsageError(f"{path.name} could not be imported: {told}") from error
    return module


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
        elsewhere = _in_libraries(path)
        hint = f": did you mean {' or '.join(elsewhere)}?" if elsewhere else did_you_mean(path, dir(module))
        raise click.UsageError(f"the module {module_name!r} has no {path!r}{hint}") from error


def check_call(net: torch.nn.Module, inputs: Inputs) -> None:
    """See that a model can be called with these inputs, as far as its signature tells.

    Raises:
        click.UsageError: it takes more or fewer; says what it takes.
    """
    try:
        signature = inspect.signature(net.forward)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*inputs.args, **inputs.kwargs)
    except TypeError as error:
        names = f" and {', '.join(inputs.kwargs)}" if inputs.kwargs else ""
        raise click.UsageError(
            f"{_kind(net)}.forward{signature} cannot be called with {len(inputs.args)} tensors{names}, one an --input: "
            f"{error}"
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


def make_optimizer(name: str, net: torch.nn.Module) -> torch.optim.Optimizer:
    """An optimizer of a model's parameters, by its name in `torch.optim`, whatever its capitals.

    Raises:
        click.UsageError: there is none of that name, or it cannot be made of the parameters alone.
    """
    kinds: dict[str, Any] = {
        key.lower(): kind
        for key, kind in vars(torch.optim).items()
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    if name.lower() not in kinds:
        raise click.UsageError(f"torch.optim has no {name!r}{did_you_mean(name.lower(), kinds)}")
    try:
        made: torch.optim.Optimizer = kinds[name.lower()](net.parameters())
        return made
    except Exception as error:
        raise click.UsageError(f"{name} cannot be made: {describe_error(error, first_line=True)}") from error
