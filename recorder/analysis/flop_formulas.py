"""Formulas for kernels: torch's registry, which holds those of the user too, and here what it lacks.

A kernel is counted by what it computes, so that a model has the same FLOPs whatever kernel a device has for it. A
multiply-add is two operations, as in all of torch's formulas.
"""

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

__all__ = ["formula_of", "of_the_user", "registered"]

Formula = Callable[..., int]


def formula_of(packet: Any) -> Formula | None:
    """The formula of a kernel, called as torch's own are; what is registered with torch comes first."""
    found: Formula | None = flop_registry.get(packet)
    return found if found is not None else _ours().get(packet)


def of_the_user() -> list[Any]:
    """What has a formula that is not torch's own, whenever it was registered."""
    return [packet for packet, formula in flop_registry.items() if getattr(formula, "__module__", "") != _TORCHS]


_TORCHS = torch.utils.flop_counter.__name__


def registered(name: str) -> tuple[Any, Formula] | None:
    """An operation that has a formula in torch's registry, by the name that it is recorded under. Nothing is looked up
    but there, whatever a recording names.
    """
    name = name.removeprefix("torch.ops.")
    for packet, formula in flop_registry.items():
        if isinstance(packet, torch._ops.OpOverloadPacket) and name.startswith(f"{packet}"):
            overloads: list[str] = packet.overloads()  # type: ignore[no-untyped-call]
            overload = name.removeprefix(f"{packet}").removeprefix(".") or overloads[0]
            if name in (f"{packet}", f"{packet}.{overload}") and overload in overloads:
                return getattr(packet, overload), formula
    return None


def _mv(matrix: Tensor, vector: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * matrix.numel()


def _addmv(added: Tensor, matrix: Tensor, vector: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * matrix.numel()


def _dot(a: Tensor, b: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * a.numel()


def _addr(added: Tensor, column: Tensor, row: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * column.numel() * row.numel()


def _addbmm(added: Tensor, a: Tensor, b: Tensor, *args: Any, **kwargs: Any) -> int:
    return 2 * a.numel() * b.shape[-1]


def _trilinear(
    a: Tensor, b: Tensor, c: Tensor, new_a: list[int], new_b: list[int], new_c: list[int], summed: list[int],
    *args: Any, **kwargs: Any,
) -> int:  # fmt: skip
    """As two products, one after the other: what the third tensor does not depend on is summed before it comes."""
    sizes = [1] * (a.dim() + len(new_a))
    for tensor, new in ((a, new_a), (b, new_b), (c, new_c)):
        own = iter(tensor.shape)
        for dim in range(len(sizes)):
            if dim not in new:
                sizes[dim] = max(sizes[dim], next(own))
    whole = prod(sizes)
    return 2 * whole + 2 * (whole // max(prod(sizes[dim] for dim in summed if dim in new_c), 1))


def _attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    """Every query with every key, and the sum of the values by what came of it. Heads of the query that share a key are
    as many products.
    """
    return 2 * query.numel() // query.shape[-1] * key.shape[-2] * (query.shape[-1] + value.shape[-1])


def _attention_backward(gradient: Tensor, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> int:
    """Such a kernel keeps no products of query and key, and makes them again: three of the key's size, two of the
    value's.
    """
    return 2 * query.numel() // query.shape[-1] * key.shape[-2] * (3 * query.shape[-1] + 2 * value.shape[-1])


def _multi_head(query: Tensor, key: Tensor, value: Tensor, embed_dim: int, *args: Any, **kwargs: Any) -> int:
    """Projections, attention, and the projection of what comes out, of the query's size."""
    items = sum(t.numel() // t.shape[-1] for t in (query, key, value, query))
    return 2 * items * embed_dim * embed_dim + 4 * query.numel() // query.shape[-1] * key.shape[-2] * embed_dim


def _encoder_layer(src: Tensor, embed_dim: int, *args: Any, **kwargs: Any) -> int:
    wide: Tensor = args[12] if len(args) > 12 else kwargs["ffn_weight_1"]
    return _multi_head(src, src, src, embed_dim) + 2 * 2 * src.numel() * wide.shape[0]


def _recurrent(x: Tensor, *args: Any, **kwargs: Any) -> int:
    """Each matrix of weights is applied once to each item of each sequence."""
    items = x.numel() // x.shape[-1]
    matrices = [t for t in args[:4] if isinstance(t, Tensor) and t.dim() == 2]
    return sum(2 * items * t.numel() for t in matrices)


def _ours() -> dict[Any, Formula]:
    """By kernel; those that this torch has."""
    if not _OURS:
        for names, formula in _NAMED.items():
            for name in names.split():
                packet = getattr(torch.ops.aten, name, None)
                if packet is not None:
                    _OURS[packet] = formula
    return _OURS


_OURS: dict[Any, Formula] = {}

_NAMED: dict[str, Formula] = {
    "mv": _mv,
    "addmv": _addmv,
    "dot vdot": _dot,
    "addr": _addr,
    "addbmm": _addbmm,
    "_trilinear": _trilinear,
    "_scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_fused_attention_overrideable "
    "_scaled_dot_product_attention_math_for_mps _scaled_dot_product_efficient_attention "
    "_scaled_dot_product_flash_attention _scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward "
    "_scaled_dot_product_fused_attention_overrideable_backward": _attention_backward,
    "_native_multi_head_attention": _multi_head,
    "_transformer_encoder_layer_fwd": _encoder_layer,
    "mkldnn_rnn_layer": _recurrent,
}
