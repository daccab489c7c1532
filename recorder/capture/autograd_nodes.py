"""The autograd nodes that some can reach, in the order of forward: without recursion, and without a trap for later.

The trap: in torch 2.15 a node that Python has seen keeps its Python object for as long as it lives, and such
nodes are freed by recursion, where torch frees others in a loop. About 45,000 in a row overflow a stack of 8 MB, long
after whoever looked at them is gone. So in deep graphs some nodes are given a second reference to those far below
them: where freeing gets there, it stops, and goes on from the top of the stack. Nothing lives longer for it, since
what a node is given to hold is what it can reach.
"""

from collections.abc import Iterable
from typing import Any

from recorder.capture.tensor_facts import sequence_of

__all__ = ["in_order"]

DEEP = 2_000
"""So many nodes are freed by recursion at most; a level of it takes about 200 bytes of stack."""

KEY = "graph-recorder"
"""Where in a node's metadata the second references are: torch itself puts the traceback of anomaly mode there."""


def in_order(roots: Iterable[Any]) -> list[Any]:
    """The nodes that can be reached, and the roots, each after its next ones.

    Where that leaves a choice, in the order of forward. An AccumulateGrad has no place in that, and stands right before
    its first user. Sequence numbers alone would be no order where several threads have counted.
    """
    roots = list(roots)
    following: dict[Any, list[Any]] = {}
    pending = list(roots)
    while pending:
        fn = pending.pop()
        if fn not in following:
            following[fn] = [after for after, _ in fn.next_functions if after is not None]
            pending += following[fn]
    done: dict[Any, None] = {}
    for start in sorted(following, key=sequence_of):
        pending = [start]
        while pending:
            missing = [fn for fn in following[pending[-1]] if fn not in done]
            if missing:
                pending += reversed(missing)
            else:
                done[pending.pop()] = None
    order = list(done)
    _make_safe_to_free(order, following, roots)
    return order


def _make_safe_to_free(order: list[Any], following: dict[Any, list[Any]], roots: list[Any]) -> None:
    """Cut a deep graph into bands of levels. Where freeing enters a band, the node that it enters by holds those by
    which it would leave: they are freed after the whole band, and not inside it.
    """
    level: dict[Any, int] = {}
    for fn in order:
        level[fn] = max((level[after] + 1 for after in following[fn]), default=0)
    if max(level.values(), default=0) < DEEP:
        return
    exits: dict[Any, frozenset[Any]] = {}
    same: dict[frozenset[Any], frozenset[Any]] = {}  # most nodes of a band have the same exits
    entries = set(roots)
    for fn in order:
        found: set[Any] = set()
        for after in following[fn]:
            if level[after] // DEEP == level[fn] // DEEP:
                found |= exits[after]
            elif following[after]:  # what has nothing below it needs no care
                found.add(after)
                entries.add(after)
        held = frozenset(found)
        exits[fn] = same.setdefault(held, held)
    for fn in entries:
        if exits[fn]:
            fn.metadata[KEY] = tuple(exits[fn])
