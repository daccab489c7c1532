"""Modules and functions in words: what is asked once for each, and never on the hot path."""

import ast
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from types import MethodWrapperType
from typing import Any
from weakref import ref

import torch
from torch import nn
from torch._ops import OpOverload, OpOverloadPacket

from recorder.capture.known_tensors import KnownTensors
from recorder.capture.modules import Entry
from recorder.capture.raw_records import END, MODULE, Log, meet_record, module_record
from recorder.capture.tensor_facts import PLAIN, Facts, Reference, facts

__all__ = [
    "by_prefix",
    "describe",
    "describe_early",
    "is_plain",
    "name_function",
    "named",
    "plain",
    "replaced",
    "shown",
]

_MISSING = object()


def describe(roots: Mapping[str, nn.Module], met: list[Entry], known: KnownTensors, told: dict[int, Reference]) -> Log:
    """Records of the modules that were met, and of every parameter and buffer of the roots, used or not. The keys of
    ``roots`` are the prefixes of their names.

    Must be called where no torch function mode is active. Of modules that are gone, what `describe_early` said is used.
    ``told`` are the tensors that the last description found, by their `id`: of those nothing is said again but in what
    module they are. Afterwards it has those that this one found.
    """
    log: Log = []
    telling = _Telling({id(module): entry for entry in met if (module := entry.reference()) is not None}, known, told)
    for prefix, root in roots.items():
        telling.tell(prefix, root, log)
    if telling.wanted:
        for entry in met:  # made during forward, or called beside the roots, as a loss is
            module = entry.reference()
            if module is not None and id(module) in telling.wanted:
                telling.tell(entry.kind.type.__name__, module, log)
    for entry in met:
        if entry.reference() is None:
            log += entry.early or [*module_record(entry, entry.kind.type.__name__, False, []), END, END]
    told.clear()
    told.update(telling.found)
    return log


def replaced(marked: list[tuple[Reference, Facts]], described: Log, told: Mapping[int, Reference], log: Log) -> Log:
    """Records of those among parameters that were made known without one which no module holds any more, now that these
    are ``described``, or were before (``told``), and of which the ``log`` speaks. Those of which a later one may speak
    stay ``marked``.
    """
    if not marked:
        return []
    held = {*map(id, described), *map(id, told.values())}
    gone = [(reference, said) for reference, said in marked if id(reference) not in held]
    spoken_of = {id(item) for item in log if type(item) is ref} if gone else set()
    marked[:] = [told for told in gone if id(told[0]) not in spoken_of and told[0]() is not None]
    return [item for told in gone if id(told[0]) in spoken_of for item in meet_record(*told)]


def describe_early(entry: Entry, module: nn.Module, known: KnownTensors) -> Log:
    """The records of a module that may be gone when the others are described: one that is no part of a root."""
    log: Log = []
    _Telling({id(module): entry}, known, {}).tell(entry.kind.type.__name__, module, log)
    return log


class _Telling:
    """One description. ``wanted`` are the modules to be told of, by their `id`, ``found`` the tensors that they and
    others hold.
    """

    def __init__(self, wanted: dict[int, Entry], known: KnownTensors, told: Mapping[int, Reference]) -> None:
        self.wanted = wanted
        self.found: dict[int, Reference] = {}
        self._mark = known.mark
        self._told = told

    def tell(self, prefix: str, top: nn.Module, log: Log) -> None:
        """Every module once with its qualified name, as `nn.Module.named_modules` has it. Those that are told are no
        longer wanted.

        Everything in one loop, since it is done for each module and tensor of a model whenever a block ends.
        """
        wanted, found, mark = self.wanted, self.found, self._mark
        seen: set[int] = set()
        pending = [("", prefix, top)]
        while pending:
            above, name, module = pending.pop()
            identity = id(module)
            if identity in seen:
                continue
            seen.add(identity)
            fqn = above + name
            parameters: Any = module._parameters
            buffers: Any = module._buffers
            children = module._modules
            entry = wanted.pop(identity, None)
            if entry is not None:
                log += (MODULE, entry, fqn, entry.root and module is top, _hyper_parameters(entry, module))
                if children and entry.leaf:  # they are not recorded, so their tensors are its own
                    parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
            elif (parameters or buffers) and not self._are_told(parameters, buffers):
                log += (MODULE, None, fqn, False, [])
            else:
                parameters = None
            if parameters is not None:
                for tensors in (parameters, buffers):
                    for name, tensor in tensors.items():
                        if tensor is not None:
                            reference = found[id(tensor)] = mark(tensor)
                            log += (name, reference)
                            log += facts(tensor)
                    log.append(END)
            if children:
                before = f"{fqn}." if fqn else ""
                pending += [(before, name, child) for name, child in reversed(children.items()) if child is not None]

    def _are_told(self, *held: Mapping[str, Any]) -> bool:
        told, found = self._told, self.found
        for tensors in held if told else ():
            for tensor in tensors.values():
                if tensor is not None:
                    reference = told.get(id(tensor))
                    if reference is None or reference() is not tensor:
                        return False
                    found[id(tensor)] = reference
        return bool(told)


def _hyper_parameters(entry: Entry, module: nn.Module) -> Log:
    """Names and values in turn."""
    kind, own = entry.kind, module.__dict__
    listed: Log = []
    for name in kind.listed:
        value = own.get(name, _MISSING)
        if type(value) in PLAIN or (_are_plain(value) if type(value) is tuple else is_plain(value)):
            listed += (name, value)
    if kind.shows:
        listed += shown(module)
    elif kind.attention and own.get("add_zero_attn") is True:  # one more key than it was given
        listed += ("add_zero_attn", True)
    return listed


def _are_plain(values: tuple[Any, ...]) -> bool:
    """Whether they can all be kept. Most are the two sizes of a window, which is quickly seen."""
    if len(values) == 2 and type(values[0]) is type(values[1]) is int:
        return True
    return PLAIN.issuperset(map(type, values))


_NAMED = re.compile(r"(\w+)=((?:\([^()]*\)|\[[^\[\]]*\]|'[^']*'|[^,()\[\]'])+)")

_LONGEST = 2_000
"""Characters of what a module shows that are looked at."""


def shown(module: nn.Module) -> Log:
    """Names and values, in turn, of what a module shows of itself when it is printed: ``nf=48, nx=16``.

    Its ``extra_repr`` is somebody else's code: nothing that happens in it is the run's.
    """
    try:
        text = module.extra_repr()
        return [part for name, value in _NAMED.findall(text[:_LONGEST]) for part in (name, _literal(value))]
    except Exception:
        return []


@lru_cache(1_000)
def _literal(text: str) -> Any:
    """A number, a bool, None, a string or some of them, as Python writes them; anything else as the text that it is."""
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        return text.strip()
    return value if is_plain(value) else text.strip()


def by_prefix(roots: Sequence[nn.Module] | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The roots by the prefix of their names: what a mapping calls them. Without one, the first root's names stand as
    they are, and those of others begin with their class's name; no two begin alike, nor as the first's calls are named.
    """
    if isinstance(roots, Mapping):
        return dict(roots)
    prefixes = {"": roots[0]}
    taken = {type(roots[0]).__name__}
    for root in roots[1:]:
        kind = name = type(root).__name__
        number = 0
        while name in taken:
            number += 1
            name = f"{kind}_{number}"
        taken.add(name)
        prefixes[name] = root
    return prefixes


def is_plain(value: Any) -> bool:
    """Whether `plain` keeps the whole of it."""
    if isinstance(value, list | tuple):
        return all(is_plain(item) for item in value)
    return value is None or isinstance(value, bool | int | float | str)


def plain(value: Any) -> Any:
    """A JSON value that says what ``value`` is; text for what JSON lacks."""
    kind = type(value)
    if kind is str or kind is bool or value is None:  # most are of these few types, and are found out by them
        return value
    if kind is int or isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else str(value)
    if kind is tuple or kind is list or isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(value) if abs(value) < float("inf") else str(value)  # NaN fails the comparison too
    if isinstance(value, str):
        return value
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, slice):
        parts = ["" if part is None else str(plain(part)) for part in (value.start, value.stop, value.step)]
        return ":".join(parts[:2] if value.step is None else parts)
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
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
    ("torch.distributed", torch.distributed, ""),
)
_COMMUTES = {"radd": "add", "rmul": "mul", "rand": "and", "ror": "or", "rxor": "xor"}


def name_function(function: Any) -> tuple[str, str]:
    """A function's op_type and target: ``("getitem", "torch.Tensor.__getitem__")``."""
    name: str = getattr(function, "__name__", type(function).__name__)
    if type(function) is MethodWrapperType:
        attribute = getattr(function.__self__, "__name__", name)
        return (f"{attribute}_" if name == "__set__" else attribute), f"torch.Tensor.{attribute}"
    if isinstance(function, OpOverload | OpOverloadPacket):  # torch.ops.aten.add.Tensor, as exported programs call it
        return op_type(str(function).split(".")[1]), f"torch.ops.{function}"
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


def named(listed: list[Any]) -> dict[str, Any]:
    """Names and values in turn, as JSON has them."""
    values = dict(zip(listed[::2], listed[1::2], strict=True))
    return {name: plain(values[name]) for name in sorted(values)}
