"""Floating point operations of each node, as `node.meta["flops"]`, from the shapes that were recorded.

The formulas and what they leave out are those of torch.utils.flop_counter: a multiplication and an addition are two
operations, and what is not a product of matrices, such as a bias, an activation or a normalisation, is not counted.
"""

from collections.abc import Callable, Sequence
from math import prod

from recorder import Graph, Node, Value, hookimpl

__all__ = ["flops"]


def flops(node: Node) -> int | None:
    """The floating point operations of one call in forward; None where they cannot be told: of an operation that has no
    formula here, one that failed, or one with a shape that is not fixed.
    """
    formula = _FORMULAS.get(node.op_type)
    if formula is None or node.kind == "autograd" or node.error is not None or not node.outputs:
        return None
    shapes = [value.shape for value in node.inputs]
    if any(size < 0 for shape in (*shapes, node.outputs[0].shape) for size in shape):
        return None
    try:
        return formula(node.inputs, node.outputs[0].shape)
    except (IndexError, ValueError):  # fewer inputs than it takes, or of fewer dimensions: something else of that name
        return None


_Shape = tuple[int, ...]


def _linear(inputs: Sequence[Value], out: _Shape) -> int:
    """Each output is a sum over the features of the input."""
    return 2 * prod(out) * inputs[0].shape[-1]


def _matmul(inputs: Sequence[Value], out: _Shape) -> int:
    a, b = inputs[-2:]  # before them is what is added to their product
    if not b.shape:
        raise ValueError
    return 2 * prod(out) * a.shape[-1]


def _conv(inputs: Sequence[Value], out: _Shape) -> int:
    """Each output is a sum over the kernel, and the input's channels of its group: (out, in / groups, *kernel)."""
    return 2 * prod(out) * prod(_weight(inputs).shape[1:])


def _conv_transposed(inputs: Sequence[Value], out: _Shape) -> int:
    """Each input is scattered over the kernel, and the output's channels of its group: (in, out / groups, *kernel)."""
    return 2 * prod(inputs[0].shape) * prod(_weight(inputs).shape[1:])


def _weight(inputs: Sequence[Value]) -> Value:
    if len(inputs[1].shape) < 3:
        raise ValueError
    return inputs[1]


def _attention(inputs: Sequence[Value], out: _Shape) -> int:
    """Every query with every key, and the sum of the values by what came of it."""
    query, key, value = (one.shape for one in inputs[:3])
    return 2 * prod(query[:-1]) * key[-2] * (query[-1] + value[-1])


_FORMULAS: dict[str, Callable[[Sequence[Value], _Shape], int]] = {
    **dict.fromkeys(["Linear", "linear"], _linear),
    **dict.fromkeys(["matmul", "mm", "bmm", "addmm", "baddbmm"], _matmul),
    **{f"{name}{n}d": _conv for name in ("Conv", "conv") for n in (1, 2, 3)},
    **{f"{name}{n}d": _conv_transposed for name in ("ConvTranspose", "conv_transpose") for n in (1, 2, 3)},
    "scaled_dot_product_attention": _attention,
}


@hookimpl
def recorder_annotate_graph(graph: Graph) -> None:
    """Write ``node.meta["flops"]`` where it can be told."""
    for node in graph.nodes:
        if (count := flops(node)) is not None:
            node.meta["flops"] = count
