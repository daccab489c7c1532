"""Autograd nodes at which something is to be done in backward, if there is one: nothing is asked of them before.

To hook an autograd node takes longer than all else that is recorded of the call that made it, and an evaluation runs no
backward. So a node is only written down, by its number and its type, and met when a backward begins, by a walk from
there. The node itself is not kept: it keeps the graph alive.

Autograd numbers its nodes in each thread for itself. Where others have computed a part of the graph, two of its nodes
may have the same number and the same type. A node that was made later than all that it uses, by that count, may be this
thread's; where that leaves both or none, nobody knows, and nothing is said.
"""

from collections.abc import Callable
from typing import Any

from recorder.capture.autograd_nodes import in_order
from recorder.capture.tensor_facts import ACCUMULATE_GRAD, ACCUMULATES, sequence_of

__all__ = ["AwaitedNodes", "Task"]

Task = tuple[int, type, int, bool, Any, int]
"""The number and the type of a node; the key of a call, for which is recorded there what arrives, and if the next item
says so, what leaves. Then the shape of the tensor that was returned, where that is a view of what the node made, else
None; and the number of the tensor's own node.
"""

_MANY = 10_000
"""A graph of so many nodes may be deep."""


class AwaitedNodes:
    """Those of one recording.

    Attributes:
        fresh: the last ones, as the items of `Task` one after another. The hot path appends to it.
    """

    def __init__(self) -> None:
        self.fresh: list[Any] = []
        self._tasks: dict[int, list[Task]] = {}

    def __len__(self) -> int:
        return len(self._tasks) + len(self.fresh) // 6

    def forget(self, wanted: Callable[[int], bool]) -> None:
        """Forget all but those whose number is wanted."""
        self._sort()
        self._tasks = {number: tasks for number, tasks in self._tasks.items() if wanted(number)}

    def reached(self, roots: list[Any]) -> list[tuple[Any, list[Task]]]:
        """The nodes that can be reached from some, each with what is to be done there, which is no longer awaited
        then.
        """
        self._sort()
        awaited = self._tasks
        nodes = list(dict.fromkeys(roots))
        seen = set(nodes)
        met: dict[int, list[Any]] = {}
        append, see = nodes.append, seen.add
        for node in nodes:  # it grows
            tasks = awaited.get(node._sequence_nr())
            if tasks is not None and tasks[0][1] is type(node):
                met.setdefault(tasks[0][0], []).append(node)
            for after, _ in node.next_functions:
                # Where gradients are accumulated the graph ends, and nothing was made.
                if after is not None and type(after) is not ACCUMULATE_GRAD and after not in seen:
                    see(after)
                    append(after)
        if any(len(alike) > 1 for alike in met.values()):
            own = _own(roots)
            met = {number: [node for node in alike if node in own] for number, alike in met.items()}
        if len(nodes) > _MANY:
            in_order(roots)  # looking at nodes has made it dangerous to free them: see there
        return [(alike[0], awaited.pop(number)) for number, alike in met.items() if len(alike) == 1]

    def _sort(self) -> None:
        count = len(self.fresh)
        items = iter(self.fresh[:count])
        del self.fresh[:count]  # in place: others may append meanwhile
        tasks = self._tasks
        for task in zip(*[items] * 6, strict=True):
            tasks.setdefault(task[0], []).append(task)


def _own(roots: list[Any]) -> set[Any]:
    """The nodes that have a higher number than all that they use."""
    highest: dict[Any, int] = {}
    own: set[Any] = set()
    for node in in_order(roots):
        below = max((highest[after] for after, _ in node.next_functions if after is not None), default=-1)
        number = sequence_of(node)
        if number == ACCUMULATES:
            number = -1
        elif number > below:
            own.add(node)
        highest[node] = max(number, below)
    return own
