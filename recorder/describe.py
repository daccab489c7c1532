"""Modules and functions in words: what is asked once for each, and never on the hot path."""

from collections.abc import Iterator, Mapping, Sequence
from types import MethodWrapperType
from typing import Any, NamedTuple
from weakref import ref

import torch
from torch import Tensor, nn

from recorder.hooks import Entry
from recorder.known import Known
from recorder.tensors import Facts, facts

__all__ = ["Described", "by_prefix", "describe", "name_function", "plain"]


class Described(NamedTuple):
    """A module as it was when it was described. Members are pairs of a name and a reference; ``tensors`` has what is to
    be said of each of the module's own tensors: role, qualified name, reference, facts.
    """

    entry: Entry
    fqn: str
    root: bool
    attributes: dict[str, Any]
    parameters: tuple[tuple[str, "ref[Tensor]"], ...]
    buffers: tuple[tuple[str, "ref[Tensor]"], ...]


class Held(NamedTuple):
    """A parameter or buffer of a recorded module."""

    reference: "ref[Tensor]"
    role: str
    name: str
    facts: Facts


def describe(roots: Mapping[str, nn.Module], met: list[Entry], known: Known) -> tuple[list[Described], list[Held]]:
    """Describe the modules that were met, and every parameter and buffer of the roots, used or not. The keys of
    ``roots`` are the prefixes of their names.

    Must be called where no torch function mode is active. Modules that are gone keep their class's name alone.
    """
    wanted = {id(module): entry for entry in met if (module := entry.reference()) is not None}
    described: dict[int, Described] = {}
    held: dict[int, Held] = {}
    for prefix, root in roots.items():
        for fqn, module in _walk(root, prefix):
            is_root = any(module is r for r in roots.values())
            _describe_one(module, fqn, wanted.get(id(module)), is_root, known, described, held)
    for entry in met:  # made during forward, or called beside the roots, as a loss is
        module = entry.reference()
        if module is not None and id(module) not in described:
            for fqn, inner in _walk(module, type(module).__name__):
                _describe_one(inner, fqn, wanted.get(id(inner)), False, known, described, held)
    done = {id(d.entry) for d in described.values()}
    gone = [Described(e, e.type.__name__, False, {}, (), ()) for e in met if id(e) not in done]
    return [*described.values(), *gone], list(held.values())


def _describe_one(
    module: nn.Module,
    fqn: str,
    entry: Entry | None,
    root: bool,
    known: Known,
    described: dict[int, Described],
    held: dict[int, Held],
) -> None:
    members: list[tuple[tuple[str, ref[Tensor]], ...]] = []
    own_tensors: tuple[tuple[str, Any], ...] = (
        ("parameter", module._parameters.items()),
        ("buffer", module._buffers.items()),
    )
    if entry is not None and entry.leaf and module._modules:  # its children are not recorded, so theirs are its own
        own_tensors = (("parameter", module.named_parameters()), ("buffer", module.named_buffers()))
    for role, tensors in own_tensors:
        own = []
        for name, tensor in tensors:
            if tensor is None:
                continue
            reference = known.mark(tensor)
            if id(tensor) not in held:
                held[id(tensor)] = Held(reference, role, f"{fqn}.{name}" if fqn else name, facts(tensor))
            own.append((name, reference))
        members.append(tuple(own))
    if entry is not None and id(module) not in described:
        described[id(module)] = Described(entry, fqn, root, _attributes(module), *members)


def _walk(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """Every module once with its qualified name, as `nn.Module.named_modules` has it, without its nested generators."""
    seen: set[int] = set()
    pending = [(prefix, module)]
    while pending:
        fqn, module = pending.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        yield fqn, module
        if module._modules:
            before = f"{fqn}." if fqn else ""
            pending += [
                (before + name, child) for name, child in reversed(module._modules.items()) if child is not None
            ]


def by_prefix(roots: Sequence[nn.Module]) -> dict[str, nn.Module]:
    """The roots by the prefix of their names: the first root's stand as they are; those of others begin with their
    class's name.
    """
    prefixes = {"": roots[0]}
    for root in roots[1:]:
        name, number = type(root).__name__, 1
        while name in prefixes:
            name, number = f"{type(root).__name__}_{number}", number + 1
        prefixes[name] = root
    return prefixes


def _attributes(module: nn.Module) -> dict[str, Any]:
    """Hyper-parameters: what torch's own modules list in ``__constants__``, as far as it is plain."""
    own = module.__dict__
    names = getattr(type(module), "__constants__", ())
    return {name: plain(own[name]) for name in sorted(names) if name in own and is_plain(own[name])}


def is_plain(value: Any) -> bool:
    """Whether `plain` keeps the whole of it."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def plain(value: Any) -> Any:
    """A JSON value that says what ``value`` is; text for what JSON lacks."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    if isinstance(value, float):
        return float(value) if abs(value) < float("inf") else str(value)  # NaN fails the comparison too
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, slice):
        parts = ["" if part is None else str(plain(part)) for part in (value.start, value.stop, value.step)]
        return ":".join(parts[:2] if value.step is None else parts)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, ref):
        return "<tensor>"
    return str(value)


_HOMES: tuple[tuple[str, Any, str], ...] = (
    ("torch.Tensor", torch.Tensor, ""),
    ("torch", torch, ""),
    ("torch.nn.functional", nn.functional, ""),
    ("torch.linalg", torch.linalg, "linalg_"),
    ("torch.fft", torch.fft, "fft_"),
    ("torch.special", torch.special, "special_"),
    ("torch.sparse", torch.sparse, "_sparse_"),
)
_COMMUTES = {"radd": "add", "rmul": "mul", "rand": "and", "ror": "or", "rxor": "xor"}


def name_function(function: Any) -> tuple[str, str]:
    """A function's op_type and target: ``("getitem", "torch.Tensor.__getitem__")``."""
    name: str = getattr(function, "__name__", type(function).__name__)
    if type(function) is MethodWrapperType:
        attribute = getattr(function.__self__, "__name__", name)
        return (f"{attribute}_" if name == "__set__" else attribute), f"torch.Tensor.{attribute}"
    target = ""
    for home, where, prefix in _HOMES:
        if getattr(where, name.removeprefix(prefix), None) is function:
            target = f"{home}.{name.removeprefix(prefix)}"
            break
    if not target:
        module = getattr(function, "__module__", None)
        qualified = getattr(function, "__qualname__", name).replace("_TensorBase.", "Tensor.")
        target = f"{module}.{qualified}" if module else f"torch.{qualified}"
    return op_type(target.rpartition(".")[2]), target


def op_type(name: str) -> str:
    """A function's name in plain words: ``__getitem__`` is a ``getitem``, ``__iadd__`` an ``add_``."""
    if name.startswith("__") and name.endswith("__"):
        name = name.strip("_")
        if name in _COMMUTES:
            return _COMMUTES[name]
        if name.startswith("i") and hasattr(torch.Tensor, f"__{name}__") and hasattr(torch.Tensor, f"__{name[1:]}__"):
            return f"{name[1:]}_"
    return name
