"""Both graphs of a diff as one, for pictures: all of the new one, and what was removed where it stood.

What differs says so in ``meta["diff"]``: ``{"mark": "changed", "sign": "~", "words": "stride: 1×1 → 2×2"}``. Calls
in which nothing does are closed, so that what changed is seen in its surroundings; so is a block that is new or
gone as a whole.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.names import Namespace
from recorder.graph.outline import Place, around
from recorder.relations.wording import SIGNS, is_told, lists, title, what_in_words
from recorder.views.collapse import collapse
from recorder.views.copies import Copies
from recorder.views.fold import fold

if TYPE_CHECKING:
    from recorder.relations.diff import Diff

__all__ = ["marked"]


def marked(diff: "Diff") -> Graph:
    """The graph that shows a diff."""
    merger = _Merger(diff)
    graph = merger.graph()
    return fold(collapse(graph, where=lambda scope: scope in merger.closed))


class _Merger:
    """``closed`` are the scopes of the merged graph in which there is nothing to see."""

    def __init__(self, diff: "Diff") -> None:
        self.diff, self.alignment = diff, diff.alignment
        self.closed: set[Scope] = set()
        self._copies = Copies(self._shown, self._around)
        self._names = {kind: Namespace() for kind in (Node, Scope, Value)}
        self._children = self._together()
        self._made: set[Value] = set()
        self._drawn: set[Value] = set()  # by what stands before
        self._marks = {change.b: ("rewired", change.what) for change in diff.rewired if not is_told(diff, change)}
        self._marks |= {change.b: ("changed", change.what) for change in diff.changed}

    def graph(self) -> Graph:
        b = self.diff.b
        self._made = set(b.values()) | set(b.values_of_calls())
        for value in self._made:
            self._names[Value].unique(value.name)
        places = list(self._flat())
        for place in places:
            if place in self.alignment.b.parts:
                self._names[type(place)].unique(place.name)
        inside: set[Scope | None] = set()
        marks = {place: mark for place in places if (mark := self._mark(place)) is not None}
        for place in marks:
            outer = self._around(place)
            while outer is not None and outer not in inside:
                inside.add(outer)
                outer = self._around(outer)
        nodes, scopes = [], []
        for place in places:
            if isinstance(place, Node):
                nodes.append(self._node(place))
            else:
                scopes.append(place)
        outermost = {place for place in (*self.diff.added, *self.diff.removed) if isinstance(place, Scope)}
        for place, copy in ((place, self._copies.scope(place)) for place in scopes):
            assert copy is not None
            if place not in self.alignment.b.parts:
                copy.name = self._names[Scope].unique(place.name)
            whole = place in outermost and place not in self._around_old
            if whole or (place not in inside and place not in marks):
                self.closed.add(copy)
        for place, (kind, words) in marks.items():
            copied = self._place_copies[place] if isinstance(place, Node) else self._copies.scope(place)
            assert copied is not None
            copied.meta["diff"] = {"mark": kind, "sign": SIGNS[kind], "words": words}
        for scope in inside - set(marks):
            copied = self._copies.scope(scope)
            if copied is not None:
                copied.meta["diff"] = {"mark": "changed", "sign": SIGNS["changed"], "words": "inside"}
        view = self._copies.graph(b, nodes, scopes)
        grown = lists(self.diff)
        view.name = grown[0] if len(grown) == 1 else title(self.diff)
        view._shown = None
        view.meta["diff"] = True
        return view

    @property
    def _place_copies(self) -> dict[Node, Node]:
        return self._of_nodes

    def _node(self, place: Node) -> Node:
        copy = self._copies.node(place)
        self._of_nodes[place] = copy
        if place in self.alignment.b.parts:
            gone = [v for v in self._lost_inputs(place) if v in self._drawn]
            if gone:
                copy.inputs += self._copies.values(gone)
                copy.input_names += ("",) * len(gone) if copy.input_names else ()
        else:
            copy.name = self._names[Node].unique(place.name)
            shown = list(map(self._shown, place.inputs))
            kept = [i for i, v in enumerate(shown) if v.producer is None or v in self._drawn]
            self._copies.narrowed(copy, place, kept)
            for value in (*(place.inputs[i] for i in kept), *place.outputs):
                self._own(value)
        self._drawn.update(place.outputs)
        return copy

    def _own(self, value: Value) -> None:
        """Name a tensor that is no other's but of the graph before."""
        if (shown := self._shown(value)) not in self._made:
            self._made.add(shown)
            self._copies.value(shown).name = self._names[Value].unique(shown.name)

    def _lost_inputs(self, place: Node) -> list[Value]:
        """What a node was given before by something that is gone."""
        before = self.alignment.back.get(place)
        if not isinstance(before, Node):
            return []
        return [v for v in before.inputs if v.producer is not None and v.producer not in self.alignment.pairs]

    def _mark(self, place: Place) -> "tuple[str, str] | None":
        if place in self._marks:
            kind, what = self._marks[place]
            return kind, what_in_words(what)
        if place not in self.alignment.b.parts:
            return "removed", ""
        return ("added", "") if place not in self.alignment.back else None

    def _shown(self, value: Value) -> Value:
        """The tensor of the new graph that one of the old is, itself if it is in none."""
        given = self.alignment.given.get(value)
        if given is not None:
            return given
        maker = value.producer
        other = None if maker is None else self.alignment.pairs.get(maker)
        if isinstance(other, Node) and maker is not None:
            number = next((i for i, made in enumerate(maker.outputs) if made is value), 0)
            return other.outputs[number] if number < len(other.outputs) else value
        return value

    def _around(self, place: Place) -> Scope | None:
        """The scope around a place: of what is gone, that which its scope is now."""
        scope = around(place)
        if scope is None or place in self.alignment.b.parts:
            return scope
        other = self.alignment.pairs.get(scope)
        return other if isinstance(other, Scope) else scope

    def _together(self) -> dict[Scope | None, list[Place]]:
        """The places of both in each scope: what is gone stands behind what it stood behind."""
        self._of_nodes: dict[Node, Node] = {}
        a, b, pairs = self.alignment.a, self.alignment.b, self.alignment.pairs
        found: dict[Scope | None, list[Place]] = {scope: list(places) for scope, places in b.children.items()}
        for scope, places in a.children.items():
            other = None if scope is None else pairs.get(scope, scope)
            if other is not None and not isinstance(other, Scope):
                other = scope
            beside = found.setdefault(other, [])
            at = 0
            for place in places:
                if place not in pairs:
                    beside.insert(at, place)
                    at += 1
                elif pairs[place] in beside:
                    at = beside.index(pairs[place]) + 1
        self._around_old = {
            outer
            for place in self.alignment.back
            for outer in ([] if around(place) is None else around(place).ancestors())  # type: ignore[union-attr]
            if outer not in self.alignment.back
        }
        return found

    def _flat(self) -> Iterator[Place]:
        """Every place that the picture has, in order, what is in a scope behind it."""
        stack = list(reversed(self._children[None]))
        while stack:
            place = stack.pop()
            if isinstance(place, Scope):
                inside = self._children.get(place, [])
                if not inside:
                    continue
                stack += reversed(inside)
            yield place
