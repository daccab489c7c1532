"""The autograd graph of a recorded run: which forward node made each autograd node, and in which scope.

Autograd numbers its nodes in the order of making, and a recording knows the numbers of the results of its calls. Calls
do not overlap, so what was numbered after one call's results, up to those of the next, the next one made: unless it
was made unseen between the two. Then it belongs to no node, but what is around both calls was around it too.

The numbers differ from run to run, and stay here.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from recorder.assembly.origins import Origins
from recorder.autograd.graph import Step, Walk, build, walk
from recorder.capture.known_tensors import KnownTensors
from recorder.capture.tensor_facts import ACCUMULATES, Reference, quietly
from recorder.graph.core import Graph, Node, Scope

__all__ = ["LatestReading", "Reading", "tie"]


class Reading(NamedTuple):
    """An autograd graph as plain records. ``leaves`` has references for its known leaf tensors, by their identity;
    ``latest`` is the number of the autograd node that was made last.
    """

    walk: Walk
    leaves: dict[int, Reference]
    latest: int


def _read(known: KnownTensors) -> Reading | None:
    """What autograd can reach from the known tensors that are alive; None if it has made none of them."""
    with quietly():
        tensors = [tensor for tensor in known.alive() if tensor.grad_fn is not None]
        if not tensors:
            return None
        steps, found = walk(tensors)
        used = {end for step in steps for end in step.next}
        ends = sorted({end for end in found if isinstance(end, tuple) and end not in used})
        identities = {step.leaf.identity for step in steps if step.leaf is not None}
        leaves = {i: reference for i in identities if (reference := known.reference(i)) is not None}
        latest = max((step.sequence for step in steps if step.sequence != ACCUMULATES), default=0)
        return Reading(Walk(steps, [*ends]), leaves, latest)


class LatestReading:
    """The reading that counts of those of a run: what is left after a backward may be less than the graph that it began
    with, so a later one takes the place of the last only if the graph has grown.
    """

    def __init__(self) -> None:
        self.reading: Reading | None = None

    def read(self, known: KnownTensors) -> None:
        """Read what autograd can reach now."""
        found = _read(known)
        if found is not None and (self.reading is None or found.latest > self.reading.latest):
            self.reading = found


def tie(
    reading: Reading, forward: Graph, origins: Origins, number: Callable[[Reference], int | None], functions: bool
) -> Graph:
    """The graph of a reading, in the scopes of the forward graph of the same recording. ``number`` is a tensor's number
    in the recording. Without ``functions``, what is not a module's result itself may be anybody's.
    """
    numbers = ((identity, number(reference)) for identity, reference in reading.leaves.items())
    leaves = {identity: origins.values[n] for identity, n in numbers if n in origins.values}
    graph = build(
        reading.walk,
        {identity: value.name for identity, value in leaves.items() if value.name},
        {identity for identity, value in leaves.items() if value.role in ("parameter", "buffer")},
    )
    graph.name = f"{forward.name}: autograd graph" if forward.name else "autograd graph"
    places = _places(reading.walk.steps, _Makers(origins, functions))
    copies = _copy(forward.scopes)
    for node, (maker, _), scope in zip(graph.nodes, places, _unbroken(scope for _, scope in places), strict=True):
        node.scope = None if scope is None else copies[id(scope)]
        if maker is not None:
            node.meta["forward"] = maker.name
    held = {id(scope) for node in graph.nodes if node.scope is not None for scope in node.scope.ancestors()}
    graph.scopes = [scope for scope in copies.values() if id(scope) in held]
    return graph


_Place = tuple[Node | None, Scope | None]
"""The forward node that made an autograd node, None if it cannot be known, and the scope."""


def _places(steps: list[Step], makers: "_Makers") -> list[_Place]:
    """The place of each step; an AccumulateGrad's is that of its first user."""
    highest: list[int] = []
    for step in steps:
        before = [highest[end[0]] for end in step.next if end is not None]
        highest.append(max([-1 if step.sequence == ACCUMULATES else step.sequence, *before]))
    places: list[_Place] = [(None, None)] * len(steps)
    users: list[set[Node | None]] = [set() for _ in steps]
    for i, step in reversed([*enumerate(steps)]):
        if step.sequence != ACCUMULATES:
            # Backward may make nodes in threads that count for themselves; but what is used was made before.
            places[i] = makers.place(step, users[i], ours=step.sequence == highest[i])
        for before_it, _ in filter(None, step.next):
            users[before_it].add(places[i][0])
            if steps[before_it].sequence == ACCUMULATES:
                places[before_it] = places[i]
    return places


class _Makers:
    """Finds out who made an autograd node, and in which scope."""

    def __init__(self, origins: Origins, functions: bool) -> None:
        self._makers = origins.makers
        self._numbers = sorted(origins.makers)
        self._calls = [n for n in self._numbers if origins.makers[n][0] is not None]
        self._functions = functions

    def place(self, step: Step, users: set[Node | None], ours: bool) -> _Place:
        """``users`` have made what uses the step; ``ours``: its number was given in the recorded thread."""
        maker = self._maker(step, users) if ours or step.sequence in self._makers else None
        if maker is not None:
            return maker, maker.scope
        return None, self._around(step.sequence) if ours else None

    def _maker(self, step: Step, users: set[Node | None]) -> Node | None:
        if step.sequence in self._makers:
            maker, grad_fn = self._makers[step.sequence]
            return maker if grad_fn == step.op_type else None  # if not, another thread has counted
        # A Function runs calls of its own, which may be recorded, and nothing that is recorded runs a Function.
        after = bisect_left(self._numbers, step.sequence)
        if not self._functions or step.custom or after == len(self._numbers):
            return None
        maker = self._makers[self._numbers[after]][0]
        # What a call makes leaves it through its results, or through memory that it writes.
        return maker if maker in users or step.op_type == "CopySlices" else None

    def _around(self, sequence: int) -> Scope | None:
        """The innermost scope around both the call before and the call after."""
        after = bisect_left(self._calls, sequence)
        if not 0 < after < len(self._calls):
            return None
        before, behind = (self._makers[self._calls[i]][0] for i in (after - 1, after))
        around = set(_ancestors(before))
        return next((scope for scope in _ancestors(behind) if scope in around), None)


def _ancestors(node: Node | None) -> Iterator[Scope]:
    return iter(()) if node is None or node.scope is None else node.scope.ancestors()


def _unbroken(scopes: Iterable[Scope | None]) -> Iterator[Scope | None]:
    """A scope is not gone on with after it was left, as where an autograd node was made anew for a view: then what is
    around it has to do.
    """
    left: set[Scope] = set()
    entered: set[Scope] = set()
    for scope in scopes:
        while scope is not None and not left.isdisjoint(scope.ancestors()):
            scope = scope.parent
        now = set() if scope is None else set(scope.ancestors())
        left |= entered - now
        entered = now
        yield scope


def _copy(scopes: Iterable[Scope]) -> dict[int, Scope]:
    """Scopes without what was measured in forward, by the `id` of the original."""
    copies: dict[int, Scope] = {}
    for scope in scopes:
        parent = None if scope.parent is None else copies[id(scope.parent)]
        copies[id(scope)] = replace(
            scope,
            parent=parent,
            duration_ns=None,
            backward_ns=None,
            attributes=dict(scope.attributes),
            meta={},
            inputs=(),
            outputs=(),
            input_names=(),
            output_names=(),
        )
    return copies
