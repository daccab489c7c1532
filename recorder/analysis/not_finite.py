"""Where values that are not finite come from, and whether they matter: read off a graph alone.

Everything comes from ``meta["stats"]`` of values and ``meta["given"]`` of nodes, which `recorder.assembly.value_marks`
describes, and from dataflow. A call made a NaN if it was given none, and an Inf if it was given neither. Infinities
that were asked for, as those of masks, are no fault; nor is what was discarded before anything came of it: ``where``
takes the other branch, a softmax makes zeros of -Inf. A NaN that was asked for, and of which something came, is one;
and so is a loss, or a sum of all, that is infinite because of a mask.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from recorder.graph.core import Graph, Node, Value

__all__ = ["FLOATING", "LARGEST", "Came", "Flow", "Made", "is_uninitialized"]

LARGEST = {
    "float16": 65504.0,
    "bfloat16": 3.3895313892515355e38,
    "float32": 3.4028234663852886e38,
    "float64": 1.7976931348623157e308,
    "float8_e4m3fn": 448.0,
    "float8_e5m2": 57344.0,
}
"""The largest finite number of a dtype. As the least one, it stands for -Inf in many masks."""

_LEAVES_OUT = frozenset({
    "amax", "amin", "argmax", "argmin", "chunk", "clamp", "clamp_max", "clamp_min", "clip", "copy", "diagonal",
    "fill", "fmax", "fmin", "gather", "getitem", "index_copy", "index_fill", "index_put", "index_select",
    "masked_fill", "masked_scatter", "masked_select", "max", "maximum", "min", "minimum", "nan_to_num", "nanmean",
    "nanmedian", "nanquantile", "nansum", "narrow", "scatter", "select", "setitem", "split", "take",
    "take_along_dim", "topk", "tril", "triu", "unbind", "where", "zero",
})  # fmt: skip
"""What may leave out elements, and is used for that."""

_MASKS = frozenset({
    "exp", "logsumexp", "multi_head_attention_forward", "multiheadattention", "scaled_dot_product_attention", "softmax",
    "softmin",
})  # fmt: skip
"""What makes zeros of -Inf, and is used for that."""

_ATTENDS = frozenset({
    "log_softmax", "logsoftmax", "multi_head_attention_forward", "multiheadattention", "scaled_dot_product_attention",
    "softmax",
})  # fmt: skip
"""What masks of -Inf are made for. If all is masked, NaN is made here."""

_ATTENDED = 3
"""Query, key and value are the first arguments of attention."""

_SUMS = frozenset({"dist", "mean", "norm", "std", "sum", "var"})
_LOSSES = ("_loss", "loss", "cross_entropy", "cross_entropy_with_logits", "kl_div")
"""What all elements count in."""

_UNINITIALIZED = frozenset({
    "empty", "empty_like", "empty_permuted", "empty_strided", "new_empty", "new_empty_strided", "resize_", "resize_as_",
})  # fmt: skip

FLOATING = ("float", "bfloat", "complex")
"""How the names of dtypes begin that have NaN and Inf."""


class Cause(IntEnum):
    """Why a value is not finite; of several, the greatest."""

    ASKED_FOR = 1
    UNINITIALIZED = 2
    UNKNOWN = 3
    GIVEN = 4
    MADE = 5


@dataclass(frozen=True, slots=True)
class Made:
    """A node made ``nan`` NaN and ``inf`` Inf of ``elements``, in one of its outputs, ``value``. ``of_inf`` is an input
    that had Inf, if they were made of those; ``asked`` says that an argument of it is NaN.
    """

    node: Node
    value: Value
    nan: int
    inf: int
    elements: int
    of_inf: Value | None = None
    asked: bool = False


@dataclass(frozen=True, slots=True)
class Came:
    """``node`` was given a ``value`` that no recorded call had made so: ``content`` is ``"nan"`` or ``"inf"``."""

    value: Value
    content: str
    node: Node


@dataclass(frozen=True, slots=True)
class _Input:
    value: Value
    content: str
    marked: bool


class Flow:
    """What happened in a graph.

    Attributes:
        made: where values that are not finite and matter were made, in execution order.
        came: what calls were given that was not finite, and mattered, each value once.
        unknown: the first nodes with such a value that were given what was not measured.
    """

    def __init__(self, graph: Graph) -> None:
        self.made: list[Made] = []
        self.came: list[Came] = []
        self.unknown: list[Node] = []
        self._cause: dict[int, Cause] = {}
        self._matters: set[int] = set()
        self._find_what_matters(graph)
        for node in graph.nodes:
            self._judge(node)

    def _judge(self, node: Node) -> None:
        """Find out why the outputs of a node are not finite."""
        bad = [value for value in node.outputs if not _finite(value)]
        if not bad:
            return
        given = list(_inputs(node))
        # Nothing is made by what hands on what it was given, in part or from another rank.
        remote = node.target.startswith("torch.distributed.")
        for value in bad:
            nan = value.meta["stats"]["nan"] > 0
            why = self._why(node, nan, given)
            if remote and why is Cause.MADE:
                why = Cause.UNKNOWN
            first = why is Cause.MADE and not any(self._follows(one) for one in given)
            self._cause[id(value)] = why
            if id(value) in self._matters:
                if why is Cause.UNKNOWN:
                    self.unknown.append(node)
                elif why is Cause.GIVEN:
                    self._tell_given(node, given)
                elif first and not (self.made and self.made[-1].node is node):
                    self.made.append(_made(node, value, given))

    def _why(self, node: Node, nan: bool, given: list[_Input]) -> Cause:
        of_nan = [one for one in given if one.content == "nan"]
        of_inf = [one for one in given if one.content == "inf"]
        not_known = [one for one in given if one.content == "unknown"]
        asked = _numbers_asked_for(node.attributes)
        if of_nan or (of_inf and not nan):
            why = max(self._cause_of(one) for one in (*of_nan, *of_inf))
            return Cause.MADE if why is Cause.ASKED_FOR and _sums_up(node) else why
        if any(map(math.isnan, asked)):
            return Cause.MADE
        if not nan and (any(map(math.isinf, asked)) or _at_the_end(given)):
            return Cause.ASKED_FOR
        if not_known:
            return max(self._cause_of(one) for one in not_known)
        if of_inf:
            why = max(self._cause_of(one) for one in of_inf)
            if why in (Cause.UNINITIALIZED, Cause.UNKNOWN) or (why is Cause.GIVEN and not _attends(node)):
                return why
        return Cause.MADE

    def _follows(self, one: _Input) -> bool:
        """Whether what is in an input, which was made somewhere, explains what is in an output."""
        return one.content == "nan" or (one.content == "inf" and self._cause_of(one) is Cause.MADE)

    def _cause_of(self, one: _Input) -> Cause:
        if one.content == "unknown":
            producer = one.value.producer
            return Cause.UNINITIALIZED if producer is not None and is_uninitialized(producer) else Cause.UNKNOWN
        if one.marked:
            return Cause.GIVEN
        return self._cause.get(id(one.value), Cause.GIVEN)

    def _tell_given(self, node: Node, given: list[_Input]) -> None:
        told = {id(came.value) for came in self.came}
        for one in given:
            source = one.marked or id(one.value) not in self._cause
            if one.content in ("nan", "inf") and source and id(one.value) not in told:
                self.came.append(Came(one.value, one.content, node))

    def _find_what_matters(self, graph: Graph) -> None:
        """Collect the values that are not finite and lead to something: they are at the end, or were taken into account
        by what did not just leave them out.
        """
        returned = {id(value) for value in graph.outputs}
        matters = self._matters
        for node in reversed(graph.nodes):
            for value in node.outputs:
                if not _finite(value) and self._is_used(value, id(value) in returned):
                    matters.add(id(value))

    def _is_used(self, value: Value, returned: bool) -> bool:
        if returned:
            return True
        if not value.uses:
            producer = value.producer
            if producer is None:
                return True
            written = _kind(producer) in ("setitem", "copy", "index_copy", "index_put", "scatter")
            # What was made of no tensor, and went into none that was recorded, is memory for something unseen.
            return not written and (bool(producer.inputs) or producer.kind == "module")
        for user, at in value.uses:
            if user.meta.get("given", {}).get(str(at)) == "finite":
                continue  # it was written over
            floating = [output for output in user.outputs if output.dtype.startswith(FLOATING)]
            bad = [output for output in floating if not _finite(output)]
            unmeasured = any("stats" not in output.meta and math.prod(output.shape) for output in floating)
            if any(id(output) in self._matters for output in bad) or unmeasured:
                return True
            if not bad and (floating or not user.outputs) and not _discards(user, at, value):
                return True
        return False


def _made(node: Node, value: Value, given: list[_Input]) -> Made:
    stats = value.meta["stats"]
    of_inf = next((one.value for one in given if one.content == "inf"), None)
    asked = stats["nan"] > 0 and any(map(math.isnan, _numbers_asked_for(node.attributes)))
    return Made(node, value, stats["nan"], stats["inf"], math.prod(value.shape), of_inf, asked)


def _finite(value: Value) -> bool:
    """Whether nothing is known to be in a value that is not finite."""
    stats = value.meta.get("stats")
    return stats is None or not (stats["nan"] or stats["inf"])


def _inputs(node: Node) -> Iterator[_Input]:
    marks = node.meta.get("given", {})
    for at, value in enumerate(node.inputs):
        stats = value.meta.get("stats")
        mark = marks.get(str(at))
        if mark is not None:
            content = mark
        elif stats is not None:
            content = "nan" if stats["nan"] else "inf" if stats["inf"] else "finite"
        else:
            held = value.producer is None and value.role in ("parameter", "buffer")
            known = held or not value.dtype.startswith(FLOATING) or 0 in value.shape
            content = "finite" if known else "unknown"
        yield _Input(value, content, mark is not None)


def _kind(node: Node) -> str:
    """What a node does, whether a function or a module does it, in place or not."""
    return node.op_type.lower().rstrip("_")


def _discards(node: Node, at: int, value: Value) -> bool:
    """Whether a node may have been there to leave out what is not finite in an input. Of attention, what is masked is
    no mask.
    """
    kind = _kind(node)
    if kind in _MASKS and not value.meta["stats"]["nan"]:
        return at >= _ATTENDED or kind not in _ATTENDS or kind == "softmax"
    return kind in _LEAVES_OUT


def _sums_up(node: Node) -> bool:
    """Whether a node makes one number of many, all of which count, as a loss does: no mask is for that."""
    kind = _kind(node)
    one = all(math.prod(value.shape) == 1 for value in node.outputs)
    many = any(math.prod(value.shape) > 1 for value in node.inputs)
    return one and many and (kind in _SUMS or kind.endswith(_LOSSES))


def _attends(node: Node) -> bool:
    return _kind(node) in _ATTENDS


def is_uninitialized(node: Node) -> bool:
    """Whether what a node makes is whatever was in memory before."""
    return node.op_type in _UNINITIALIZED


def _numbers_asked_for(attributes: Any) -> list[float]:
    """The numbers among arguments that are not finite; as JSON has them, they are text."""
    if isinstance(attributes, dict):
        attributes = list(attributes.values())
    if isinstance(attributes, list | tuple):
        return [number for item in attributes for number in _numbers_asked_for(item)]
    if isinstance(attributes, str) and attributes in ("inf", "-inf", "nan"):
        return [float(attributes)]
    if isinstance(attributes, float) and not math.isfinite(attributes):
        return [attributes]
    return []


def _at_the_end(given: list[_Input]) -> bool:
    """Whether there is already a number at the end of a dtype, which stands for -Inf in masks."""
    stats = [(one.value.meta.get("stats"), one.value.dtype) for one in given]
    return any(told is not None and told["largest"] == LARGEST.get(dtype) for told, dtype in stats)
