"""How a recorded call of a layer of torch is made again with other tensors: by what each calls in its forward."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from recorder.analysis import products

__all__ = ["LAYERS", "Again", "Told"]


class Told(NamedTuple):
    """What is no tensor in a call: attributes, how many tensors it returned, and their shapes."""

    attributes: dict[str, Any]
    outputs: int
    shapes: tuple[tuple[int, ...], ...] = ()


Again = Callable[[list[Tensor], dict[str, Tensor], Told], Sequence[Tensor]]
"""Makes a call again. Gets its tensors in order, a module's parameters by name, and the rest; returns its outputs."""


def _weight(members: dict[str, Tensor], shape: tuple[int, ...]) -> Tensor:
    """The weight, or, where a hook makes it of other parameters in each call, one like it."""
    if "weight" in members:
        return members["weight"]
    made_of = [t for name, t in members.items() if name.startswith("weight")]
    if not made_of:
        raise ValueError("nothing was recorded of the weight")
    like = made_of[0].new_empty(shape)
    return like.requires_grad_(any(t.requires_grad for t in made_of))


def _linear(inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
    (x,) = inputs
    shape = (told.attributes.get("out_features", 0), x.shape[-1])
    return [products.linear(x, _weight(members, shape), members.get("bias"))]


def _bilinear(inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
    a, b = inputs
    shape = (told.attributes.get("out_features", 0), a.shape[-1], b.shape[-1])
    return [products.bilinear(a, b, _weight(members, shape))]


def _convolution(
    inputs: list[Tensor], members: dict[str, Tensor], told: Told, transposed: bool = False
) -> Sequence[Tensor]:
    x, *_ = inputs
    options = told.attributes
    stride, dilation, groups = options["stride"], options["dilation"], options["groups"]
    into, out = options["in_channels"], options["out_channels"]
    channels = (into, out // groups) if transposed else (out, into // groups)
    weight = _weight(members, (*channels, *options["kernel_size"]))
    batched = x if x.dim() == weight.dim() else x[None]
    padding, mode, extra = options["padding"], options.get("padding_mode", "zeros"), options["output_padding"]
    if transposed and (sizes := options.get("output_size")):
        kernel = weight.shape[2:]
        least = [
            (n - 1) * s - 2 * p + d * (k - 1) + 1
            for n, s, p, d, k in zip(batched.shape[2:], stride, padding, dilation, kernel, strict=True)
        ]
        extra = [size - small for size, small in zip(sizes[-len(least) :], least, strict=True)]
    if isinstance(padding, str) or mode != "zeros":
        padding, batched = [0] * len(stride), _padded(batched, padding, mode, weight.shape[2:], dilation)
    result = torch.convolution(
        batched, weight, members.get("bias"), stride, padding, dilation, transposed, extra, groups
    )  # fmt: skip
    return [result]


def _padded(x: Tensor, padding: Any, mode: str, kernel: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """With ``"same"`` or ``"valid"`` padding, or any that is not of zeros, which a convolution cannot do itself."""
    if padding == "valid":
        return x
    whole = [d * (k - 1) for k, d in zip(kernel, dilation)] if padding == "same" else [2 * p for p in padding]
    sides = [side for total in reversed(whole) for side in (total // 2, total - total // 2)]
    return F.pad(x, sides, mode="constant" if mode == "zeros" else mode)


def _attention(inputs: list[Tensor], members: dict[str, Tensor], told: Told, prefix: str = "") -> Sequence[Tensor]:
    own = {name.removeprefix(prefix): t for name, t in members.items() if name.startswith(prefix)}
    query, key, value = inputs[:3]
    if query.dim() == 3 and told.attributes.get("batch_first"):
        query, key, value = (t.transpose(0, 1) for t in (query, key, value))
    result, weights = F.multi_head_attention_forward(
        query, key, value, query.shape[-1], told.attributes.get("num_heads", 1),  # which changes no count
        own.get("in_proj_weight"), own.get("in_proj_bias"), own.get("bias_k"), own.get("bias_v"),
        told.attributes.get("add_zero_attn", False), told.attributes.get("dropout", 0.0), own["out_proj.weight"],
        own.get("out_proj.bias"), training=told.attributes.get("training", False), need_weights=told.outputs > 1,
        use_separate_proj_weight="q_proj_weight" in own, q_proj_weight=own.get("q_proj_weight"),
        k_proj_weight=own.get("k_proj_weight"), v_proj_weight=own.get("v_proj_weight"),
    )  # fmt: skip
    return [result] if weights is None else [result, weights]


def _encoder_layer(inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
    """As one kernel, which torch runs in inference alone, and only with the batch first."""
    x = inputs[0]
    _attention([x, x, x], members, Told({"batch_first": True}, 1), "self_attn.")
    hidden = F.linear(x, members["linear1.weight"], members.get("linear1.bias"))
    return [F.linear(hidden, members["linear2.weight"], members.get("linear2.bias"))]


def _recurrent(inputs: list[Tensor], members: dict[str, Tensor], told: Told) -> Sequence[Tensor]:
    """Each matrix of weights is applied once to each item of each sequence, whatever the layer or the direction. What
    the first step begins with needs no gradient, if none was asked for; a cell has no other steps.
    """
    x = inputs[0]
    first = told.attributes["input_size"]
    items = x.numel() // first
    begins = items if "weight_hh" in members else min(_sequences(told.shapes), items)
    asked = any(t.requires_grad for t in inputs[1:])
    results = []
    for name, weight in members.items():
        if weight.dim() == 2:
            size = weight.shape[1]
            parts = [x.reshape(items, first)]
            if name not in _FIRST:
                parts = [x.new_empty(items, size).requires_grad_()]
            if name.startswith("weight_hh"):
                parts = [
                    x.new_empty(begins, size).requires_grad_(asked), x.new_empty(items - begins, size).requires_grad_()
                ]  # fmt: skip
            results.append(torch.cat([F.linear(part, weight) for part in parts if len(part)]))
    return [torch.cat(results, 1)]


def _sequences(shapes: tuple[tuple[int, ...], ...]) -> int:
    """How many there are, by the last state of all layers."""
    last = shapes[-1]
    return last[1] if len(last) == 3 else 1


_FIRST = ("weight_ih", "weight_ih_l0", "weight_ih_l0_reverse")


def _layers() -> Iterator[tuple[str, Again]]:
    for again, names in (
        (_linear, "linear.Linear linear.NonDynamicallyQuantizableLinear linear.LazyLinear"),
        (_bilinear, "linear.Bilinear"),
        (_convolution, "conv.Conv1d conv.Conv2d conv.Conv3d conv.LazyConv1d conv.LazyConv2d conv.LazyConv3d"),
        (
            partial(_convolution, transposed=True),
            "conv.ConvTranspose1d conv.ConvTranspose2d conv.ConvTranspose3d conv.LazyConvTranspose1d "
            "conv.LazyConvTranspose2d conv.LazyConvTranspose3d",
        ),
        (_attention, "activation.MultiheadAttention"),
        (_encoder_layer, "transformer.TransformerEncoderLayer"),
        (_recurrent, "rnn.RNN rnn.LSTM rnn.GRU rnn.RNNCell rnn.LSTMCell rnn.GRUCell"),
    ):
        yield from ((f"torch.nn.modules.{name}", again) for name in names.split())


LAYERS: dict[str, Again] = dict(_layers())
"""By the names of their classes."""
