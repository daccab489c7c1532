"""How many floating-point operations a recorded call took, by torch's own formulas.

The call is made again with fake tensors of the recorded shapes, on the recorded device: no memory, no arithmetic. torch
breaks it down into the kernels that it would run there, forward and backward, and each kernel is looked up in
`torch.utils.flop_counter.flop_registry`, as `FlopCounterMode` does during a real run. No formula is ours.

A recording may come from a stranger, so nothing is called because a recording names it: what may be called is in the
tables below, and that is what the registry's formulas are reached through. Other operations have none.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import lru_cache, partial
from itertools import count
from typing import Any, NamedTuple

import msgspec
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import flop_registry

__all__ = ["COUNTED", "Call", "Facts", "Work", "work_of"]

_LOG = logging.getLogger("torch._subclasses.fake_tensor")


class Facts(NamedTuple):
    """A tensor, as far as the number of operations depends on it."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    requires_grad: bool


class Call(NamedTuple):
    """A recorded call. ``attributes`` are a node's, as JSON; ``members`` are a module's parameters without the names of
    the modules around it; ``outputs`` says how many tensors it returned, ``used`` which of them anybody looked at.
    """

    target: str
    inputs: tuple[Facts, ...]
    members: tuple[tuple[str, Facts], ...]
    attributes: bytes
    outputs: int
    used: tuple[int, ...]
    backward: bool


class Work(NamedTuple):
    """Floating-point operations; ``backward`` is 0 if it was not asked for, or no input needs a gradient."""

    forward: int
    backward: int


@lru_cache(8192)
def work_of(call: Call) -> Work | None:
    """The operations of one call of what is `COUNTED`; None if torch has no formula for any of its kernels, or the call
    cannot be made again from what was recorded of it.
    """
    again = _AGAIN[call.target]
    for device in (None, "cpu"):  # of some devices fake tensors cannot be made where the device is not
        try:
            with _apart():
                return _count(again, call, device)
        except Exception:  # whatever the recording says that torch refuses
            continue
    return None


@contextmanager
def _apart() -> Iterator[None]:
    """No mode, of the user's or of ours, sees what runs inside, and no setting changes it. Nor is anything printed
    where torch refuses: a fake tensor's errors are logged, too.
    """
    with ExitStack() as stack:
        stack.callback(_LOG.setLevel, _LOG.level)
        _LOG.setLevel(logging.CRITICAL)
        for guard in (
            _disable_current_modes(), torch._C.DisableTorchFunction(), torch.inference_mode(mode=False),
            torch.enable_grad(), torch._C._DisableAutocast(), FakeTensorMode(),
        ):  # fmt: skip
            stack.enter_context(guard)
        yield


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what the registry says of each kernel. What it does not know is broken down, as far as torch can."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.known = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func._overloadpacket)
        if formula is None and func is not torch.ops.prim.device.default:
            with self:
                result = func.decompose(*args, **kwargs)
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        if formula is not None:
            self.known = True
            self.flops += formula(*args, **kwargs, out_val=result)
        return result


def _count(again: "_Again", call: Call, device: str | None) -> Work | None:
    inputs = [_fake(facts, device) for facts in call.inputs]
    members = {name: _fake(facts, device) for name, facts in call.members}
    with _Counter() as counter:
        outputs = again(inputs, members, _Told(msgspec.json.decode(call.attributes), call.outputs))
        forward = counter.flops
        made = [t for i, t in enumerate(outputs) if t.requires_grad and i in call.used]
        made = made or [t for t in outputs if t.requires_grad]
        if call.backward and made:
            torch.autograd.backward(made, [torch.empty_like(t) for t in made])
    return Work(forward, counter.flops - forward) if counter.known else None


def _fake(facts: Facts, device: str | None) -> Tensor:
    dtype: torch.dtype = getattr(torch, facts.dtype)
    return torch.empty(facts.shape, dtype=dtype, device=device or facts.device, requires_grad=facts.requires_grad)


class _Told(NamedTuple):
    """What is no tensor in a call."""

    attributes: dict[str, Any]
    outputs: int


_Again = Callable[[list[Tensor], dict[str, Tensor], _Told], Sequence[Tensor]]
"""Makes a call again. Gets its tensors in order, a module's parameters by name, and the rest; returns its outputs."""


# Functions: called by the names that they are recorded under


def _function(function: Callable[..., Any], listed: bool = False) -> _Again:
    def again(inputs: list[Tensor], members: dict[str, Tensor], told: _Told) -> Sequence[Tensor]:
        keywords = dict(told.attributes)
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
        return _tensors(function(*arguments, **keywords))

    return again


def _tensors(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else [t for t in result if isinstance(t, Tensor)]


def _functions() -> dict[str, _Again]:
    """By target. A function that writes into its input is counted as the one that does not."""
    found: dict[str, _Again] = {}
    for home, where, names in (
        (
            "torch", torch,
            "addmm baddbmm bmm conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d einsum "
            "inner matmul mm tensordot",
        ),
        ("torch.Tensor", Tensor, "addmm baddbmm bmm inner matmul mm __matmul__ __rmatmul__"),
        ("torch.nn.functional", F, "linear multi_head_attention_forward scaled_dot_product_attention"),
        ("torch.linalg", torch.linalg, "matmul multi_dot"),
        ("torch.ops.aten", torch.ops.aten, "addmm baddbmm bmm convolution linear matmul mm"),
    ):  # fmt: skip
        for name in names.split():
            again = _function(getattr(where, name), listed=name == "multi_dot")
            written = [name, f"{name}_"] if home == "torch.Tensor" else [name]
            written += [f"{name}.default"] if home == "torch.ops.aten" else []
            found |= {f"{home}.{one}": again for one in written}
    return found


# Modules: what each calls in its forward


def _linear(inputs: list[Tensor], members: dict[str, Tensor], told: _Told) -> Sequence[Tensor]:
    return [F.linear(*inputs, *members.values())]


def _convolution(
    inputs: list[Tensor], members: dict[str, Tensor], told: _Told, transposed: bool = False
) -> Sequence[Tensor]:
    x, weight, *rest = (*inputs, *members.values())
    options, bias = told.attributes, rest[0] if rest else None
    batched = x if x.dim() == weight.dim() else x[None]
    stride, dilation, groups = options["stride"], options["dilation"], options["groups"]
    padding, mode, extra = options["padding"], options.get("padding_mode", "zeros"), options["output_padding"]
    if isinstance(padding, str) or mode != "zeros":
        padding, batched = [0] * len(stride), _padded(batched, padding, mode, weight.shape[2:], dilation)
    return [torch.convolution(batched, weight, bias, stride, padding, dilation, transposed, extra, groups)]


def _padded(x: Tensor, padding: Any, mode: str, kernel: Sequence[int], dilation: Sequence[int]) -> Tensor:
    """With ``"same"`` or ``"valid"`` padding, or any that is not of zeros, which a convolution cannot do itself."""
    if padding == "valid":
        return x
    whole = [d * (k - 1) for k, d in zip(kernel, dilation)] if padding == "same" else [2 * p for p in padding]
    sides = [side for total in reversed(whole) for side in (total // 2, total - total // 2)]
    return F.pad(x, sides, mode="constant" if mode == "zeros" else mode)


def _attention(inputs: list[Tensor], members: dict[str, Tensor], told: _Told, prefix: str = "") -> Sequence[Tensor]:
    own = {name.removeprefix(prefix): t for name, t in members.items() if name.startswith(prefix)}
    query, key, value = inputs[:3]
    if query.dim() == 3 and told.attributes.get("batch_first"):
        query, key, value = (t.transpose(0, 1) for t in (query, key, value))
    result, weights = F.multi_head_attention_forward(
        query, key, value, query.shape[-1], told.attributes.get("num_heads", 1),  # which changes no count
        own.get("in_proj_weight"), own.get("in_proj_bias"), own.get("bias_k"), own.get("bias_v"), False,
        told.attributes.get("dropout", 0.0), own["out_proj.weight"], own.get("out_proj.bias"),
        training=told.attributes.get("training", False), need_weights=told.outputs > 1,
        use_separate_proj_weight="q_proj_weight" in own, q_proj_weight=own.get("q_proj_weight"),
        k_proj_weight=own.get("k_proj_weight"), v_proj_weight=own.get("v_proj_weight"),
    )  # fmt: skip
    return [result] if weights is None else [result, weights]


def _encoder_layer(inputs: list[Tensor], members: dict[str, Tensor], told: _Told) -> Sequence[Tensor]:
    """As one kernel, which torch runs in inference alone, and only with the batch first."""
    x = inputs[0]
    _attention([x, x, x], members, _Told({"batch_first": True}, 1), "self_attn.")
    hidden = F.linear(x, members["linear1.weight"], members.get("linear1.bias"))
    return [F.linear(hidden, members["linear2.weight"], members.get("linear2.bias"))]


def _recurrent(inputs: list[Tensor], members: dict[str, Tensor], told: _Told) -> Sequence[Tensor]:
    """Each matrix of weights is applied once to each item of each sequence, whatever the layer or the direction."""
    x = inputs[0]
    first = told.attributes["input_size"]
    items = x.numel() // first
    results = []
    for name, weight in members.items():
        if weight.dim() == 2:
            given = x.reshape(items, first) if name in _FIRST else x.new_empty(items, weight.shape[1])
            results.append(F.linear(given if name in _FIRST else given.requires_grad_(), weight))
    return [torch.cat(results, 1)]


_FIRST = ("weight_ih", "weight_ih_l0", "weight_ih_l0_reverse")

_AGAIN: dict[str, _Again] = _functions() | {
    f"torch.nn.modules.{name}": again
    for again, names in (
        (_linear, "linear.Linear linear.NonDynamicallyQuantizableLinear"),
        (_convolution, "conv.Conv1d conv.Conv2d conv.Conv3d"),
        (partial(_convolution, transposed=True), "conv.ConvTranspose1d conv.ConvTranspose2d conv.ConvTranspose3d"),
        (_attention, "activation.MultiheadAttention"),
        (_encoder_layer, "transformer.TransformerEncoderLayer"),
        (_recurrent, "rnn.RNN rnn.LSTM rnn.GRU rnn.RNNCell rnn.LSTMCell rnn.GRUCell"),
    )
    for name in names.split()
}

COUNTED = frozenset(_AGAIN)
"""The targets of calls that can be counted."""
