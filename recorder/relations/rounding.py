"""By how much the results of a call may differ in two sound runs: what rounding adds, and what its inputs explain.

All of it is relative to the norm of the results. Rounding is that of the coarsest dtype at hand, and grows as the root
of the length of sums (Higham, Mary, https://doi.org/10.1137/18M1226312). What was off before is carried on, and some
operations amplify it: a normalization takes away what the tensors have in common, and leaves what they differ by. By
how much was measured on models of torchvision and transformers, in bfloat16 beside float32.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from recorder.graph.core import Node, Value
from recorder.relations.distance import Distance, is_discrete

__all__ = ["ROUNDING", "Allowed", "allowed_of_call", "allowed_of_gradients", "allowed_of_several", "unit_of"]

UNITS = {
    "float64": 2.0**-53, "complex128": 2.0**-53, "float32": 2.0**-24, "complex64": 2.0**-24, "float16": 2.0**-11,
    "bfloat16": 2.0**-8, "float8_e4m3fn": 2.0**-4, "float8_e4m3fnuz": 2.0**-4, "float8_e5m2": 2.0**-3,
    "float8_e5m2fnuz": 2.0**-3,
}  # fmt: skip
"""Half the distance from 1 to the next number."""

ROUNDING, SUMMING = 4.0, 16.0
"""So many units a result may be off, and so many for the root of each sum's length."""

LONGEST = 1 << 14
"""Longer sums are made of shorter ones, and are as exact."""

SMALL = 0.02
"""What is off by little may be amplified up to here, by the second of these."""

GAINS = {"": (2.0, 32.0), "norm": (6.0, 300.0), "attention": (4.0, 32.0), "several": (4.0, 100.0)}
"""By how much an operation may amplify."""

ADDITIVE = ("linear", "conv", "mm", "matmul", "einsum", "norm", "attention", "div", "pow", "exp", "rnn", "lstm", "gru",
            "bilinear", "scale", "sqrt", "log", "reciprocal", "mul", "embedding", "dropout")  # fmt: skip
"""What has these in its name may make more of a difference than there was; all others hand it on."""

KINKED = ("relu", "hard", "threshold", "clamp", "clip", "abs", "max", "min", "median", "sort", "topk", "shrink", "sign")
"""Whose gradients jump: an element a little off on the other side of the kink has another gradient altogether."""

SUMS = ("sum", "cumsum", "prod", "cumprod", "index_add", "scatter_add", "scatter_reduce", "trace")
PRODUCTS = ("matmul", "mm", "bmm", "addmm", "baddbmm", "einsum", "dot", "mv", "rmatmul", "inner", "tensordot")


class Allowed(NamedTuple):
    """What sound runs may differ by in a result: ``rounding`` is added there, and ``carried`` comes with the inputs."""

    rounding: float
    carried: float

    @property
    def total(self) -> float:
        return math.hypot(self.rounding, self.carried)


def unit_of(values: Iterable[Value]) -> float:
    """The rounding of the coarsest dtype among these; 0 if none is a floating-point dtype."""
    return max((UNITS.get(value.dtype, 0.0) for value in values), default=0.0)


def allowed_of_call(
    x: Node, y: Node, result: Value, made: Distance, given: Sequence[tuple[Value, Distance]], tolerance: float | None
) -> Allowed:
    """Of one of the results of a call that both recordings have, by what it was given."""
    unit = unit_of((*x.inputs, *x.outputs, *y.inputs, *y.outputs))
    kind = y.op_type.lower().strip("_")
    rounding = _rounding(unit, _lengths(y, kind)) if tolerance is None else tolerance
    return Allowed(rounding, max(_carried(kind, made, given), _of_choice(result, given)))


def allowed_of_several(
    calls: Sequence[Node], made: Distance, given: Sequence[tuple[Value, Distance]], tolerance: float | None
) -> Allowed:
    """Of what several calls made together, which the other recording has in another form."""
    unit = unit_of(value for node in calls for value in (*node.inputs, *node.outputs))
    lengths = (length for node in calls for length in _lengths(node, node.op_type.lower()))
    rounding = _rounding(unit, lengths) * math.sqrt(max(1, len(calls)))
    return Allowed(rounding if tolerance is None else tolerance, _amplified("several", given))


def allowed_of_gradients(x: Node, y: Node, given: Sequence[float], tolerance: float | None) -> Allowed:
    """Of what a call handed on in backward, by what arrived at it and what it was given in forward: both explain it."""
    unit = unit_of((*x.inputs, *x.outputs, *y.inputs, *y.outputs))
    lengths = [abs(math.prod(value.shape)) for value in (*y.inputs, *y.outputs)]
    much, little = GAINS["several"]
    off = math.hypot(*given)
    carried = max(much * off, min(little * off, SMALL))
    if any(part in y.op_type.lower() for part in KINKED):  # so many elements are on the other side
        carried = max(carried, 1.5 * math.sqrt(off))
    return Allowed(_rounding(unit, lengths) if tolerance is None else tolerance, carried)


def _rounding(unit: float, lengths: Iterable[int]) -> float:
    """Half precision is summed in single precision."""
    length = min(max(lengths, default=1), LONGEST)
    return ROUNDING * unit + SUMMING * min(unit, UNITS["float32"]) * (1 + math.sqrt(length))


def _carried(kind: str, made: Distance, given: Sequence[tuple[Value, Distance]]) -> float:
    carried = _amplified(_gain_of(kind), given)
    if not made.size or not given or math.isinf(carried):
        return carried
    if "mul" in kind and "mat" not in kind and len(given) == 2:
        (_, one), (_, other) = given
        absolute = _spread(one, made) * other.largest + _spread(other, made) * one.largest
    elif "norm" in kind:
        return max(carried, 4 * max(d.relative * _in_common(value) for value, d in given))
    elif kind.startswith("log") and "softmax" not in kind and "logi" not in kind:
        absolute = 4 * sum(d.relative * math.sqrt(d.elements) for _, d in given)
    elif kind.startswith("exp") and "expand" not in kind:
        absolute = 4 * sum(d.absolute / math.sqrt(max(d.elements, 1)) for _, d in given) * made.size
    elif "attention" in kind and len(given) >= 3:
        absolute = _of_scores(given) * made.size
    elif any(part in kind for part in ADDITIVE) and "softmax" not in kind and "expand" not in kind:
        return carried
    else:  # the difference of the results is no larger than that of the inputs
        longer = max(1.0, *(d.elements / max(made.elements, 1) for _, d in given)) if kind in SUMS else 1.0
        absolute = 1.5 * math.sqrt(longer) * math.hypot(*(_spread(d, made) for _, d in given))
    return max(carried, absolute / made.size)


def _of_choice(result: Value, given: Sequence[tuple[Value, Distance]]) -> float:
    """What is explained in a result that is discrete by numbers that are a little off: what is all but equal is chosen
    otherwise. Of a comparison, as many as are near the limit; of indices anything.
    """
    off = max((d.relative for value, d in given if not is_discrete(value)), default=0.0)
    if not off or not is_discrete(result):
        return 0.0
    return 4 * math.sqrt(off) if result.dtype == "bool" else math.inf


def _in_common(value: Value) -> float:
    """How large a tensor is beside what is left of it without its mean, which a normalization takes away."""
    stats = value.meta.get("stats", {})
    if "mean" not in stats or not stats["norm"]:
        return 1.0
    share = 1 - stats["mean"] ** 2 * math.prod(value.shape) / stats["norm"] ** 2
    return 1 / math.sqrt(share) if share > 0 else math.inf


def _gain_of(kind: str) -> str:
    return next((name for name in ("norm", "attention") if name in kind), "")


def _amplified(gain: str, given: Sequence[tuple[Value, Distance]]) -> float:
    """By the relative differences of the inputs. One that is discrete explains all, if it differs at all."""
    if any(is_discrete(value) and d.relative for value, d in given):
        return math.inf
    off = math.hypot(*(d.relative for _, d in given)) if given else 0.0
    much, little = GAINS[gain]
    return max(much * off, min(little * off, SMALL))


def _spread(given: Distance, made: Distance) -> float:
    """The norm of a difference, repeated as often as the results have room for it."""
    return given.absolute * math.sqrt(max(1.0, made.elements / max(given.elements, 1)))


def _of_scores(given: Sequence[tuple[Value, Distance]]) -> float:
    """What attention makes of differences in its scores, which are largest if query and key are alike throughout."""
    (query, q), (_, k), (_, v) = given[:3]
    width = query.shape[-1] if query.shape else 1
    scores = math.sqrt(max(width, 1)) * math.prod(d.size / math.sqrt(max(d.elements, 1)) for d in (q, k))
    return 2 * v.relative + 2 * scores * math.hypot(q.relative, k.relative)


def _lengths(node: Node, kind: str) -> Iterable[int]:
    """Of the sums in a call: of products with a weight or with each other, and of what is reduced."""
    for value in node.inputs:
        if value.role in ("parameter", "buffer"):
            yield abs(math.prod(value.shape[1:]))
    flowing = [value for value in node.inputs if value.role not in ("parameter", "buffer")]
    if flowing and flowing[0].shape:
        if kind in PRODUCTS or "attention" in kind or "linear" in kind:
            yield abs(flowing[0].shape[-1])
        if "norm" in kind:
            yield abs(math.prod(flowing[0].shape))
        smallest = min((abs(math.prod(value.shape)) for value in node.outputs), default=0)
        yield abs(math.prod(flowing[0].shape)) // max(smallest, 1)
