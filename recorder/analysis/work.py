"""How much a call computes, forward and backward: which calls `recorder.analysis.flops` is asked about, and how, and
where code of the user's may have computed what nobody saw.
"""

import re
from collections.abc import Collection, Container, Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

import msgspec

from recorder.analysis.backward_passes import computed_of, passes_of
from recorder.analysis.gradient_flow import mapped_unseen, reached_unseen
from recorder.analysis.op_kinds import computes_nothing
from recorder.analysis.own_backward import made_in_own, made_perhaps_in_own
from recorder.graph.core import Graph, Metrics, Node, Value

if TYPE_CHECKING:
    from recorder.analysis.flops import Call

__all__ = ["Work", "work_of"]


def work_of(graph: Graph, backward: Collection[Node]) -> "Work | None":
    """The work of a graph's calls, of which ``backward`` reached these; None where there is no torch to tell it."""
    return None if find_spec("torch") is None else Work(graph, backward)


class Work:
    """What the calls of one graph compute; see `work_of`."""

    def __init__(self, graph: Graph, backward: Collection[Node]) -> None:
        self._backward = backward
        self._unseen = reached_unseen(graph) | made_in_own(graph, backward)
        self._unseen |= mapped_unseen(graph) if backward else set()
        self._perhaps = made_perhaps_in_own(graph, backward)
        self._passes = passes_of(graph)
        self._returned = {id(value) for value in graph.outputs}

    def of(self, node: Node, parameters: Mapping[int, Value]) -> Metrics:
        """The metrics of a call that are FLOPs. ``parameters`` are those that it uses."""
        from recorder.analysis import flops

        forward: int = 0
        back: int | None = 0
        more = False
        if node.error is not None:
            return {"flops_unknown": 1}
        backward = node in self._backward
        if not computes_nothing(node) and not flops.takes_none(node):
            can = flops.can_be_counted(node.target)
            call = _call(node, parameters, backward, self._returned, self._unseen) if can else None
            work = None if call is None else flops.work_of(call)
            if work is None:
                return {"flops_unknown": 1}
            forward, back = work
            back = back if self._passes.can_be_judged(node) else None
            more = self._passes.may_go_on(node)
        doubtful = self._unseen | self._perhaps if forward else self._unseen
        if any(id(value) in doubtful for value in node.outputs):  # by code of the user's, which may do anything
            backward, back = True, None
        # One kernel computes all the examples of a mapped call.
        examples = max((value.meta.get("examples", 1) for value in node.outputs), default=1)
        forward, back = examples * forward, None if back is None else examples * back
        figures: Metrics = {"flops": forward, "macs": forward // 2}
        if backward:
            figures |= {} if back is None else {"flops_backward": back}
            figures |= {"flops_backward_unknown": 1} if back is None or more else {}
        return figures


def _is_math(node: Node) -> bool:
    """Whether an attention was made of several kernels. Without gradients nothing tells."""
    made_by = {value.grad_fn for value in node.outputs[:1]} - {None}
    return node.op_type == "scaled_dot_product_attention" and not all("ScaledDot" in str(name) for name in made_by)


_MEMBER = re.compile(r"(\w+_proj|self_attn|linear\d|norm\d|weight|bias|running|num_batches)(\b|_)")
"""What the parameters and buffers of a layer of torch are called. Those of one that is made in forward, or initialised
in it, were made by functions, and are known by these names alone."""


def _call(
    node: Node, parameters: Mapping[int, Value], backward: bool, returned: Container[int], unseen: Container[int]
) -> "Call | None":
    """A node as `recorder.analysis.flops` takes it: all of it can be hashed, as equal calls are counted once. None for
    one that cannot be counted.
    """
    from recorder.analysis.flops import Call, Facts

    told = node.meta.get("arguments")
    try:
        attributes = msgspec.json.encode(node.attributes | (told if isinstance(told, dict) else {}))
    except (TypeError, ValueError):  # what JSON cannot hold, such as a lone surrogate, is an argument of none of these
        return None
    # Autocast converts tensors on the way in: all get the dtype that it chose.
    floating = next((v.dtype for v in node.outputs if "float" in v.dtype), None)

    def facts(value: Value) -> Facts:
        dtype = floating if floating is not None and "float" in value.dtype else value.dtype
        return Facts(value.shape, dtype, value.device, value.requires_grad or id(value) in unseen)

    given: list[Value] = list(node.inputs)
    named: list[tuple[str, Facts]] = []
    if node.kind == "module":  # its own tensors come last
        prefix = f"{node.fqn}." if node.fqn else ""
        names = node.input_names if len(node.input_names) == len(given) else ("",) * len(given)
        while given:
            value, name = given[-1], names[len(given) - 1]
            if value.role in ("parameter", "buffer") and value.name.startswith(prefix):
                name = value.name.removeprefix(prefix)
            elif not _MEMBER.match(name):
                break
            named.insert(0, (name, facts(given.pop())))
        if not any(id(value) in parameters for value in node.inputs):
            named += [(value.name.removeprefix(prefix), facts(value)) for value in parameters.values()]
    used = [i for i, v in enumerate(node.outputs) if v.uses or id(v) in returned]
    return Call(
        node.target, tuple(map(facts, given)), tuple(named), attributes, tuple(map(facts, node.outputs)),
        tuple(used), backward, node.kind == "module", computed_of(node) if backward else (), _is_math(node),
    )  # fmt: skip
