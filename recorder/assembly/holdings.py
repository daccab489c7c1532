"""What is not registered, or was not called, put on the graph, as `Holdings` tells it. `recorder.graph.holdings`
says what stands where.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from recorder.events.types import Holdings, Module, Uncalled
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.holdings import NEVER_CALLED, NOTHING_RECORDED, ONLY_PARTS_USED, UNUSED, elements

__all__ = ["Registry"]


class Registry:
    """What the recorded models hold, as far as the stream tells.

    Attributes:
        stand_ins: tensors that were used in the place of parameters, for a while.
    """

    def __init__(self) -> None:
        self.stand_ins: set[int] = set()
        self._told: Holdings | None = None

    def take(self, event: Holdings) -> None:
        """What is said last counts."""
        self._told = event

    def put(
        self, graph: Graph, called: Mapping[int, object], module_of: Mapping[int, Module], values: Mapping[int, Value]
    ) -> None:
        """Write it into the ``meta`` of a graph, of its places and values.

        Args:
            graph: is whole already.
            called: its nodes and scopes, by the number of the call.
            module_of: the module of each call of one.
            values: the first value of each tensor.
        """
        for key in (NEVER_CALLED, ONLY_PARTS_USED, NOTHING_RECORDED, UNUSED):
            graph.meta.pop(key, None)  # it is not for a header to say
        told = self._told
        if told is None:
            return
        if told.nothing is not None and not graph.nodes:
            graph.meta[NOTHING_RECORDED] = told.nothing
        own = set(told.modules)
        calls = (call for call, module in module_of.items() if call in called and module.module not in own)
        strange = {id(called[call]) for call in calls}
        registered = self.stand_ins.union(told.parameters)
        for tensor, value in values.items():
            if tensor not in registered and _is_parameter(value, told.unseen):
                _mark(value, strange)
        for key, used in ((NEVER_CALLED, False), (ONLY_PARTS_USED, True)):
            found = [_described(uncalled, values) for uncalled in told.uncalled if _is_used(uncalled, values) is used]
            if found:
                graph.meta[key] = found
        unused = _unused(graph, {id(v) for uncalled in told.uncalled for v in _held(uncalled, values)})
        if unused and graph.nodes:
            graph.meta[UNUSED] = unused


def _unused(graph: Graph, uncalled: set[int]) -> int:
    """Elements of the parameters that no call uses, without those of what was not called. A call of a module with an
    inside that ran as one kernel uses all that it holds.
    """
    whole = {
        node.fqn for node in graph.nodes if node.kind == "module" and all(v.role != "parameter" for v in node.inputs)
    }  # fmt: skip
    unused = []
    for value in graph.initializers:
        if value.role == "parameter" and not value.uses and id(value) not in uncalled:
            parts = value.name.split(".")[:-1]
            if whole.isdisjoint(".".join(parts[:length]) for length in range(len(parts) + 1)):
                unused.append(value)
    return elements(unused)


def _is_parameter(value: Value, unseen: bool) -> bool:
    """Or what is used as if it were one."""
    if value.role == "parameter":
        return True
    return value.role == "constant" and value.requires_grad and value.grad_fn is None and not unseen


def _mark(value: Value, strange: set[int]) -> None:
    """Mark one that no model holds, and the modules that hold it."""
    where = None
    for node, _ in value.uses:
        around: list[Node | Scope] = [node, *(() if node.scope is None else node.scope.ancestors())]
        outermost = around[-1]
        if id(outermost) in strange or (isinstance(outermost, Node) and outermost.kind != "module"):
            where = where or "beside"
            continue
        where = "inside"
        for place in around:
            if id(place) not in strange:
                break
            place.meta["unregistered"] = "inside"
    if where is not None and (where == "inside" or value.role == "parameter"):
        value.meta["unregistered"] = where


def _held(uncalled: Uncalled, values: Mapping[int, Value]) -> Iterator[Value]:
    for tensor in uncalled.tensors:
        if tensor in values:
            yield values[tensor]


def _is_used(uncalled: Uncalled, values: Mapping[int, Value]) -> bool:
    return any(value.uses for value in _held(uncalled, values))


def _described(uncalled: Uncalled, values: Mapping[int, Value]) -> dict[str, Any]:
    unused = [value for value in _held(uncalled, values) if value.role == "parameter" and not value.uses]
    return {"fqn": uncalled.fqn, "op_type": uncalled.op_type, "parameters": elements(unused)}
