"""Which tensor of one graph is which of the other, and how far they are from each other."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from recorder.graph.core import Node, Scope, Value
from recorder.graph.outline import Place, around, is_flowing
from recorder.relations.alignment import Alignment
from recorder.relations.distance import Distance, distance, is_discrete

__all__ = ["Counterparts", "Way"]

FARTHEST = 500
"""So many calls are gone back through in search of what can be compared."""


class Way(NamedTuple):
    """From a tensor back to the nearest ones that can be compared: through which ``calls``, the one that made it first,
    to which ``sources``, and what on the way was ``unmeasured``. ``between`` are the calls that sources lead through;
    others make masks, say, of nothing.
    """

    calls: tuple[Node, ...]
    between: tuple[Node, ...]
    sources: tuple[tuple[Value, Distance], ...]
    unmeasured: tuple[Value, ...]


class Counterparts:
    """``of`` has the tensors of the graph after, with those of the graph before that they are.

    By what made them; where that is not the same, as in another kernel, by what they are given to, or by the call that
    returned them.
    """

    def __init__(self, alignment: Alignment) -> None:
        self.alignment = alignment
        self.of: dict[Value, Value] = {}
        for v, w in alignment.given.items():
            self.of.setdefault(w, v)
        pairs = [(x, y) for x, y in alignment.pairs.items()]
        for x, y in pairs:
            if isinstance(x, Node) and isinstance(y, Node):
                self._pair(x.outputs, y.outputs)
        for x, y in pairs:
            if len(x.outputs) == len(y.outputs) and isinstance(x, Scope) and isinstance(y, Scope):
                self._pair(x.outputs, y.outputs)
        for x, y in pairs:
            ours, theirs = (tuple(filter(is_flowing, place.inputs)) for place in (x, y))
            if len(ours) == len(theirs):
                self._pair(ours, theirs)
        self._distances: dict[Value, Distance | None] = {}
        self._take_fused()

    def _take_fused(self) -> None:
        """Where a call took in another that followed it, what it makes is what that one made, if that is nearer. Where
        one was split, what the second makes is what the one made, and what is between was not there.
        """
        for y in list(self.alignment.back):
            if isinstance(y, Node) and len(y.outputs) == 1:
                (w,) = y.outputs
                v = self._taken_in(w)
                one, other = self.distance(w), None if v is None else distance(v, w)
                if v is not None and one is not None and other is not None and other.relative < one.relative:
                    self.of[w], self._distances[w] = v, other
                elif one is not None and one.relative:
                    self._split(w, one)

    def _split(self, w: Value, off: Distance) -> None:
        users = {user for user, _ in w.uses}
        if len(users) == 1 and w in self.of:
            (user,) = users
            before = self.alignment.back.get(user)
            gone = before is None or (before.op_type == "Identity" != user.op_type)
            if gone and len(user.outputs) == 1:
                other = distance(self.of[w], user.outputs[0])
                if other is not None and other.relative < off.relative:
                    self.of[user.outputs[0]], self._distances[user.outputs[0]] = self.of.pop(w), other
                    self._distances[w] = None

    def _taken_in(self, w: Value) -> Value | None:
        """What all that use a tensor were given instead by a call that is gone, or that became an `Identity`."""
        found: set[Value] = set()
        for user, at in w.uses:
            before = self.alignment.back.get(user)
            if not isinstance(before, Node) or len(before.inputs) <= at:
                return None
            if user.op_type == "Identity" != before.op_type:
                found.update(before.outputs)
            elif before.inputs[at].producer in self.alignment.pairs:
                return None
            else:
                found.add(before.inputs[at])
        return found.pop() if len(found) == 1 else None

    def distance(self, w: Value) -> Distance | None:
        """How far a tensor of the graph after is from its counterpart; None if that is not known."""
        if w not in self._distances:
            v = self.of.get(w)
            self._distances[w] = None if v is None else distance(v, w)
        return self._distances[w]

    def way_to(self, w: Value) -> Way:
        """What a tensor was made of, as far back as it takes to come to what can be compared."""
        calls: dict[Node, None] = {}
        sources: dict[Value, Distance] = {}
        unmeasured: dict[Value, None] = {}
        stack = [] if w.producer is None else [w.producer]
        while stack and len(calls) < FARTHEST:
            node = stack.pop()
            if node in calls:
                continue
            calls[node] = None
            for at, value in enumerate(node.inputs):
                if not is_flowing(value):
                    continue
                told = self.distance(value) if str(at) not in node.meta.get("given", {}) else None
                if told is not None:
                    sources[value] = told
                elif value.producer is not None:
                    stack.append(value.producer)
                else:
                    unmeasured[value] = None
        return Way(tuple(calls), _between(calls, sources), tuple(sources.items()), tuple(unmeasured))

    def around(self, calls: tuple[Node, ...]) -> Place | None:
        """The innermost call of a module that holds all of these, and that both recordings have; None if none does."""
        common: list[Scope] | None = None
        for node in calls:
            outer = [] if node.scope is None else list(node.scope.ancestors())
            common = outer if common is None else [scope for scope in common if scope in set(outer)]
        return next((scope for scope in common or () if scope in self.alignment.back), None)

    def unaligned(self) -> Iterator[tuple[str, Place]]:
        """The outermost places that one of the two has not: ``"a"`` or ``"b"``, which one has it."""
        sides = (("a", self.alignment.a, self.alignment.pairs), ("b", self.alignment.b, self.alignment.back))
        for side, outline, paired in sides:
            places: list[Place] = [*outline.scopes(), *outline.nodes]
            for place in places:
                outer = around(place)
                if place not in paired and (outer is None or outer in paired):
                    yield side, place

    def _pair(self, ours: tuple[Value, ...], theirs: tuple[Value, ...]) -> None:
        for v, w in zip(ours, theirs):
            self.of.setdefault(w, v)


def _between(calls: Iterable[Node], sources: Iterable[Value]) -> tuple[Node, ...]:
    """The calls that tensors of numbers lead through; all of them if none does."""
    there = set(calls)
    found: dict[Node, None] = {}
    stack = [user for value in sources if not is_discrete(value) for user, _ in value.uses]
    while stack:
        node = stack.pop()
        if node in there and node not in found:
            found[node] = None
            stack += [user for value in node.outputs for user, _ in value.uses]
    return tuple(found) or tuple(there)
