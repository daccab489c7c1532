"""Operations between ranks in the graph: each is a function's node that says, under ``meta["collective"]``, in which
group it was issued and the how-manieth it was there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from recorder.assembly.tensor_versions import Absurd
from recorder.events.ranks import Carried, Collective, Group, RankSummary
from recorder.events.types import Op
from recorder.graph.core import Node, Value
from recorder.graph.names import Namespace

__all__ = ["Collectives", "without_tensors"]


def without_tensors(op: Op) -> Op:
    """A call of which only that it happened is known."""
    return msgspec.structs.replace(op, inputs=(), outputs=(), writes=())


class Collectives:
    """Those of one stream.

    Args:
        parameters: the values of parameters and buffers, by the number of the tensor.
    """

    def __init__(self, parameters: Mapping[int, Value]) -> None:
        self._parameters = parameters
        self._groups: dict[int, Group] = {}
        self._events: dict[int, Collective] = {}
        self._nodes: dict[int, Node] = {}
        self._gathered: dict[int, Node] = {}

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What each event of these is given to."""
        return {
            Group: self._group,
            Collective: self._collective,
            Carried: self._carried,
            RankSummary: lambda event: None,
        }

    def mark(self, node: Node, collective: int) -> None:
        """A node is the call that issued an operation."""
        event = self._events[collective]
        if collective in self._nodes:
            raise Absurd(f"collective {collective} is issued a second time")
        self._nodes[collective] = node
        node.meta["collective"] = self._facts(event)

    def gathered(self, members: Sequence[int], names: Sequence[str]) -> tuple[list[Value], tuple[str, ...]]:
        """What was gathered of these parameters of a module, whose call uses it; and under which names: an operation
        for many is used once.
        """
        values: dict[int, tuple[Value, str]] = {}
        for tensor, name in zip(members, names) if self._gathered else ():
            node = self._gathered.get(tensor)
            if node is not None and node.outputs:
                value = node.outputs[0]
                values.setdefault(id(value), (value, f"{name} (gathered)"))
        return [value for value, _ in values.values()], tuple([name for _, name in values.values()])

    def without_call(self, names: Namespace) -> list[Node]:
        """Nodes for the operations that were issued, and of which nothing else is known: the stream ends too early."""
        nodes: list[Node] = []
        for number, event in self._events.items():
            if number not in self._nodes:
                name = names.unique(event.op_type)
                target = f"torch.distributed.{event.op_type}"
                nodes.append(Node(name, "function", event.op_type, target))
                self.mark(nodes[-1], number)
        return nodes

    def _group(self, event: Group) -> None:
        self._groups[event.group] = event

    def _collective(self, event: Collective) -> None:
        self._groups[event.group]  # which must have been introduced
        if event.collective in self._events:
            raise Absurd(f"collective {event.collective} is told of a second time")
        self._events[event.collective] = event

    def _carried(self, event: Carried) -> None:
        node = self._nodes[event.collective]
        node.meta["collective"]["parameters"] = [self._parameters[tensor].name for tensor in event.tensors]
        if event.gathered:
            self._gathered.update(dict.fromkeys(event.tensors, node))

    def _facts(self, event: Collective) -> dict[str, Any]:
        group = self._groups[event.group]
        facts = {
            "op_type": event.op_type,
            "group": group.name,
            "ranks": group.ranks,
            "rank": group.rank,
            "number": event.number,
            "phase": event.phase,
            "dtype": event.dtype,
            "inputs": [list(shape) for shape in event.inputs],
            "outputs": [list(shape) for shape in event.outputs],
            "root": event.root,
            "peer": event.peer,
            "module": event.module,
            "unit": event.unit,
        }
        return {
            name: fact for name, fact in facts.items() if fact not in (None, []) and (fact != "" or name == "module")
        }
