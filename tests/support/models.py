"""Tiny networks, and graphs written down as text: what the tests of the recorder share.

A graph in words is one line for its inputs, one for each node, one for each scope that failed, one for its outputs:

    inputs: input
    Net: fc = Linear(input, fc.weight)
    Net: split = split(fc:0) -> split:0 split:1
    Net ! ValueError: no
    outputs: split:1

A node's line is the scopes around it, its name, its op_type and its inputs; its outputs too unless there is just one.
"""

from collections.abc import Callable
from copy import deepcopy
from inspect import Parameter, Signature
from textwrap import dedent
from typing import Any

import torch
from torch import Tensor, nn

from recorder import Graph, Recorder

__all__ = [
    "ONE_CALL",
    "Block",
    "Net",
    "in_words",
    "linear",
    "net_with_relu",
    "record",
    "same",
    "tensors",
    "written",
    "x",
]


class Net(nn.Module):
    """A network whose forward is a function of itself and the arguments, so that a test reads in one place."""

    def __init__(self, function: Callable[..., Any], **members: Any) -> None:
        super().__init__()
        for name, member in members.items():
            if isinstance(member, Tensor) and not isinstance(member, nn.Parameter):
                self.register_buffer(name, member)
            else:
                setattr(self, name, member)
        self.function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(self, *args, **kwargs)

    forward.__signature__ = Signature(  # type: ignore[attr-defined]
        Parameter(name, Parameter.POSITIONAL_ONLY) for name in ("self", "input", *(f"input_{i}" for i in range(1, 9)))
    )


class Block(Net):
    """The same under another name, to be a part of a `Net`."""


def linear(inputs: int = 4, outputs: int = 4) -> nn.Linear:
    return nn.Linear(inputs, outputs, bias=False)


def x(*shape: int) -> Tensor:
    """A random input, (2, 4) unless told."""
    return torch.randn(shape or (2, 4))


def in_words(graph: Graph) -> str:
    lines = [" ".join(["inputs:", *(v.name for v in graph.inputs)])]
    for node in graph.nodes:
        around = [] if node.scope is None else [scope.name for scope in node.scope.ancestors()]
        outputs = [v.name for v in node.outputs]
        lines.append(
            "".join([
                f"{'/'.join(reversed(around))}: " if around else "",
                f"{node.name} = {node.op_type}({', '.join(v.name for v in node.inputs)})",
                "" if outputs == [f"{node.name}:0"] else f" -> {' '.join(outputs) or '()'}",
                f" ! {node.error}" if node.error else "",
            ])
        )  # fmt: skip
    lines += [f"{scope.name} ! {scope.error}" for scope in graph.scopes if scope.error]
    lines.append(" ".join(["outputs:", *(v.name for v in graph.outputs)]))
    return "\n".join(lines)


def written(text: str) -> str:
    """What `in_words` says, as it is written in a test."""
    return dedent(text).strip()


def tensors(value: Any) -> list[Tensor]:
    """Every tensor in a model's outputs, in order."""
    if isinstance(value, Tensor):
        return [value]
    if hasattr(value, "__dataclass_fields__") and not isinstance(value, dict):
        value = vars(value)
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in tensors(item)] if isinstance(value, list | tuple) else []


def same(a: Any, b: Any) -> bool:
    """Whether two outputs hold the same tensors, to the bit."""
    one, other = tensors(a), tensors(b)
    return len(one) == len(other) and all(
        s.dtype == t.dtype and s.requires_grad == t.requires_grad and torch.equal(_bits(s), _bits(t))
        for s, t in zip(one, other, strict=True)
    )


_INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""By their size in bytes."""


def _bits(tensor: Tensor) -> Tensor:
    tensor = tensor.detach()
    if tensor.is_quantized:
        return tensor.int_repr()
    # NaN is not equal to itself, its bits are.
    return tensor.contiguous().view(_INTEGERS[tensor.itemsize]) if tensor.is_floating_point() else tensor


def record(net: nn.Module, *args: Any, **kwargs: Any) -> Graph:
    """The graph of one call. On the way: the call must return the same unrecorded, recorded, and with modules alone."""
    state = torch.random.get_rng_state()

    def again() -> tuple[nn.Module, tuple[Any, ...], dict[str, Any]]:
        torch.random.set_rng_state(state)
        return deepcopy((net, args, kwargs))

    copy, copied, keywords = again()
    plain = copy(*copied, **keywords)
    copy, copied, keywords = again()
    with Recorder(copy, functions=False) as modules:
        result = copy(*copied, **keywords)
    assert same(result, plain)
    torch.random.set_rng_state(state)
    with Recorder(net) as r:
        result = net(*args, **kwargs)
    assert same(result, plain)
    modules.graph.lint()
    r.graph.lint()
    assert [n.name for n in modules.graph.nodes if _leaf(n)] == [n.name for n in r.graph.nodes if _leaf(n)]
    return r.graph


def _leaf(node: Any) -> bool:
    return bool(node.kind == "module" and node.target.startswith("torch.nn"))


def net_with_relu() -> Net:
    """One linear layer, and a function."""
    return Net(lambda net, x: net.fc(x).relu(), fc=linear())


ONE_CALL = """
    inputs: input
    Net: fc = Linear(input, fc.weight)
    Net: relu = relu(fc:0)
    outputs: relu:0
"""
"""What one call of it is, in words."""
