"""How a recorded call is made again with other tensors of its shapes: what may be called, and with which arguments.

A recording may come from a stranger. What it names is looked up in the tables here: functions of
``torch.nn.functional``, torch's own operators that begin with a tensor, and layers. Nothing else is ever called.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from itertools import count
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._ops import OpOverload
from torch.overrides import get_overridable_functions

from recorder.analysis import products
from recorder.analysis.layers_again import LAYERS, Again, Told

__all__ = ["again_of", "placed"]


@cache
def again_of(target: str) -> Again | None:
    """How what is recorded under a name is called again; None for what is not."""
    home, _, name = target.rpartition(".")
    if target in _TABLE:
        return _TABLE[target]
    if home == "torch.nn.functional":
        known = _functional().get(name.removesuffix("_")) or _functional().get(name)
        if known is not None:
            return _function(known)
    if target.startswith("torch.ops.aten."):
        home, name = "torch", target.removeprefix("torch.ops.aten.").partition(".")[0]
    prefix = _OPERATORS.get(home)
    if prefix is None:
        return None
    names = [f"{prefix}{name.removesuffix('_')}", f"{prefix}{name}", f"{prefix}{name.strip('_')}"]
    found = [one for one in dict.fromkeys(names) if _begins_with_a_tensor(one)]
    return partial(_operator, found[0]) if found else None


_OPERATORS = {
    "torch": "",
    "torch.Tensor": "",
    "torch._tensor.TensorBase": "",
    "torch._tensor.Tensor": "",
    "torch.functional": "",
    "torch.nn.functional": "",
    "torch._C._nn": "",
    "torch.fft": "fft_",
    "torch._C._fft": "",
    "torch.linalg": "linalg_",
    "torch._C._linalg": "",
    "torch.special": "special_",
    "torch._C._special": "",
}
"""The homes of functions that are operators, and how those are named."""


# Functions in Python: called by the names that they are recorded under


@cache
def _functional() -> dict[str, Callable[..., Any]]:
    return {f.__name__: f for f in get_overridable_functions()[F] if not f.__name__.startswith("_")}


def _function(function: Callable[..., Any], listed: bool = False) -> Again:
    def again(inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
        keywords = {name: value for name, value in told.attributes.items() if name not in ("inplace", "out")}
        arguments: list[Any] = []
        rest = iter([inputs] if listed else inputs)
        for position in count():
            name = f"arg{position}"
            if name in keywords:
                arguments.append(keywords.pop(name))
            elif (tensor := next(rest, None)) is not None:
                arguments.append(tensor)
            else:
                break
        if told.attributes.get("out") is not None:
            raise ValueError("a recording does not say what it was written to")
        return _tensors(function(*arguments, **keywords))

    return again


def _tensors(result: Any) -> list[Tensor]:
    """A function's results."""
    return [result] if isinstance(result, Tensor) else [t for t in result if isinstance(t, Tensor)]


def _lstm(inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
    """As a function, which has two lists of tensors."""
    x, hidden, cell, *parameters = inputs
    rest = [told.attributes[f"arg{position}"] for position in range(3, 9)]
    return list(torch.ops.aten.lstm.input(x, [hidden, cell], parameters, *rest))


# Operators: their schemas say which argument is a tensor, and which a list of them


@cache
def _begins_with_a_tensor(name: str) -> bool:
    """Whether it is an operator, and one that does nothing but compute from a tensor that it is given."""
    try:
        return any(_takes_tensors(kernel) for kernel in _kernels(name))
    except (AttributeError, RuntimeError):
        return False


def _takes_tensors(kernel: OpOverload) -> bool:
    first = kernel._schema.arguments[:1]
    return bool(first) and str(first[0].type) in _ONE + _MANY


_ONE, _MANY = ("Tensor", "Optional[Tensor]"), ("List[Tensor]", "List[Optional[Tensor]]")


@cache
def _kernels(name: str) -> list[OpOverload]:
    if not torch._C._jit_get_schemas_for_operator(f"aten::{name}"):
        return []
    packet = getattr(torch.ops.aten, name)
    kernels = [getattr(packet, overload) for overload in packet.overloads()]
    known = {f"{k}" for k in torch._C._dispatch_get_all_op_names()} if kernels else set()
    return [k for k in kernels if k.name() in known and not any(a.is_out for a in k._schema.arguments)]


def _operator(name: str, inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
    """By the first of its schemas that takes what was recorded."""
    problem: Exception = ValueError("no schema takes these arguments")
    for kernel in _kernels(name):
        if not _takes_tensors(kernel):
            continue
        try:
            arguments, keywords = placed(kernel, inputs, told.attributes)
            return _tensors(kernel(*arguments, **keywords))
        except Exception as error:
            problem = error
    raise problem


def placed(
    kernel: OpOverload, inputs: Sequence[Tensor], attributes: dict[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of an operator as it was called, in the order of its schema, and those by keyword alone.

    Raises:
        ValueError: they are none that its schema has.
    """
    left = dict(attributes)
    rest = list(inputs)
    arguments: list[Any] = []
    keywords: dict[str, Any] = {}
    wanted = kernel._schema.arguments
    for position, argument in enumerate(wanted):
        kind = str(argument.type)
        after = sum(str(a.type) == "Tensor" and not a.has_default_value() for a in wanted[position + 1 :])
        name = argument.name if argument.name in left else f"arg{position}"
        if name in left and (not argument.kwarg_only or name == argument.name):
            value = _as(kind, left.pop(name))
        elif kind in _ONE and rest:
            value = rest.pop(0)
        elif kind in _MANY and len(rest) > after:
            value, rest = rest[: len(rest) - after], rest[len(rest) - after :]
        elif argument.has_default_value():
            value = argument.default_value
        elif kind.startswith("Optional"):
            value = None
        else:
            raise ValueError(f"nothing was recorded for {argument.name}")
        if argument.kwarg_only:
            keywords[argument.name] = value
        else:
            arguments.append(value)
    if rest or any(value is not None for name, value in left.items() if name != "inplace"):
        raise ValueError("there are more arguments than the operator has")
    return arguments, keywords


def _as(kind: str, value: Any) -> Any:
    """What JSON has in the place of an argument."""
    if isinstance(value, str) and kind in ("int", "Optional[int]", "ScalarType", "Optional[ScalarType]"):
        dtype = getattr(torch, value, None)
        return dtype if isinstance(dtype, torch.dtype) else value
    if isinstance(value, str) and ("number" in kind or "float" in kind):
        return float(value)
    if isinstance(value, int) and kind.startswith("List[int]"):
        return [value]
    return value


def _table() -> Iterator[tuple[str, Again]]:
    for home, names in (
        ("torch", "addmv addr bilinear cdist chain_matmul dot einsum ger inner matmul mv outer tensordot vdot"),
        ("torch.Tensor", "__matmul__ __rmatmul__ addmv addmv_ addr addr_ dot ger inner matmul mv outer vdot"),
        ("torch.linalg", "matmul multi_dot"),
        ("torch.functional", "cdist chain_matmul einsum tensordot"),
        ("torch.nn.functional", "bilinear linear"),
        ("torch.ops.aten", "addmv addr bilinear dot einsum ger inner linear matmul mv outer vdot"),
    ):
        for name in names.split():
            again = _function(_PRODUCTS[name.removesuffix("_") if name[0] != "_" else name], name == "multi_dot")
            yield f"{home}.{name}", again
            if home == "torch.ops.aten":
                yield f"{home}.{name}.default", again
    for target in ("torch.ops.aten.lstm.input", "torch.ops.aten.lstm", "torch.lstm"):
        yield target, _lstm
    yield from LAYERS.items()


_PRODUCTS: dict[str, Callable[..., Any]] = {
    "__matmul__": products.matmul,
    "__rmatmul__": lambda a, b: products.matmul(b, a),
    "addmv": products.added_product,
    "addr": products.added_outer,
    "bilinear": products.bilinear,
    "cdist": torch.cdist,
    "chain_matmul": products.chain,
    "dot": products.matmul,
    "einsum": torch.einsum,
    "ger": products.outer,
    "inner": torch.inner,
    "linear": products.linear,
    "matmul": products.matmul,
    "multi_dot": torch.linalg.multi_dot,
    "mv": products.matmul,
    "outer": products.outer,
    "tensordot": torch.tensordot,
    "vdot": products.matmul,
}

_TABLE: dict[str, Again] = dict(_table())
