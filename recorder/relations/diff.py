"""What changed between two recordings of a model: `diff`, and what it finds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Scope
from recorder.graph.outline import Place, around, relative
from recorder.relations.alignment import Alignment
from recorder.relations.costs import Cost, costs_of
from recorder.relations.differences import (
    What,
    follows,
    of_ends,
    of_unused,
    place_name,
    rewiring,
    what_changed,
)
from recorder.relations.marks import marked
from recorder.relations.recordings import Recorded, graph_of
from recorder.relations.wording import as_markdown, as_text

__all__ = ["Change", "Diff", "diff"]


@collector_held_back()
def diff(a: Recorded, b: Recorded) -> "Diff":
    """What changed from one recording to another, as architecture: which calls were added, removed, changed, given
    other inputs, or renamed.

    Weights, times, devices, and whether it was trained, make no difference; nor does what happens outside of all calls
    of the model and leads to none, such as a loss.

    Args:
        a: the recording before: a `Graph`, an `EventStream`, a `Recorder`, or a file: a graph (``.json``), a recording
            (``.jsonl``), or an architecture (``.arch``).
        b: the recording after, likewise.

    Raises:
        StreamError: a file is none of these; the message says where.
        GraphError: what it holds contradicts itself.
    """
    return Diff(graph_of(a), graph_of(b))


@dataclass(frozen=True, eq=False)
class Change:
    """The same place in both recordings. ``what`` says what differs, by its name, before and after: ``{"kernel_size":
    ([3, 3], [5, 5])}``. None stands for what was not there.
    """

    a: Place
    b: Place
    what: What


class Diff:
    """What differs between two graphs; false if nothing does. ``str()`` says it in lines.

    ``added``: places of ``b`` that ``a`` has not, and ``removed``: places of ``a`` that ``b`` has not; of places in
    each other the outermost alone. One that is new around something that was there before, a wrapper, is in it as well.
    ``changed``: type, hyper-parameters, arguments, or shape or dtype of parameters and results differ.
    ``followed``: results differ in shape or dtype because what flows in does.
    ``rewired``: an input comes from another place; ``what`` has its name, and from where it came and comes.
    ``renamed``: modules with another name; those inside of one that was renamed are not told again.
    ``costs``: parameters, FLOPs and bytes of activations before and after.
    """

    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = a, b
        self.alignment = Alignment(a, b)
        changed, followed, rewired = self._compared()
        self.added: Sequence[Place] = self._outermost(b, self.alignment.back)
        self.removed: Sequence[Place] = self._outermost(a, self.alignment.pairs)
        self.changed: Sequence[Change] = changed
        self.followed: Sequence[Change] = followed
        self.rewired: Sequence[Change] = rewired
        self.renamed: Sequence[Change] = list(self._renamed())

    @cached_property
    def costs(self) -> Sequence[Cost]:
        """Parameters, FLOPs and bytes of activations, before and after."""
        return list(costs_of(self.alignment.a, self.alignment.b))

    def graph(self) -> Graph:
        """Both as one graph, for drawings: what was added, removed, changed or rewired says so in ``meta["diff"]``, and
        calls in which nothing did are single nodes.
        """
        return marked(self)

    def name(self, place: Place) -> str:
        """What a place of either graph is called: the name of a module; of a function its name in its scope."""
        alignment = self.alignment
        return place_name(alignment.b if place in alignment.b.parts else alignment.a, place)

    def to_text(self, lines: int | None = None) -> str:
        """In words, what weighs most first, in at most so many lines."""
        return as_text(self, lines)

    def to_markdown(self) -> str:
        """As GitHub and others draw it in a comment."""
        return as_markdown(self)

    def __bool__(self) -> bool:
        return any((self.added, self.removed, self.changed, self.followed, self.rewired, self.renamed))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        parts = ("added", "removed", "changed", "rewired", "renamed")
        found = [f"{len(getattr(self, part))} {part}" for part in parts if getattr(self, part)]
        return f"<Diff of {self.a.name} and {self.b.name}: {', '.join(found) or 'the same'}>"

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def _compared(self) -> tuple[list[Change], list[Change], list[Change]]:
        alignment = self.alignment
        wanted: dict[Place, What] = {}
        followed, rewired = [], []
        for x, y in sorted(alignment.pairs.items(), key=lambda pair: self._order[pair[1]]):
            what = what_changed(x, y)
            if what and follows(x, y, what):
                followed.append(Change(x, y, what))
            elif what:
                wanted[y] = what
            if not isinstance(x, Scope) and not isinstance(y, Scope) and (wires := rewiring(alignment, x, y)):
                rewired.append(Change(x, y, wires))
        for _, y, what in of_unused(alignment):
            wanted.setdefault(y, {}).update(what)
        top = next(((alignment.back[y], y) for y in self._order if y in alignment.back), None)
        if top is None:  # then nothing is the same, and all of it is added and removed
            return [], [], []
        ends, wires = of_ends(alignment)
        if around(top[0]) is not None or around(top[1]) is not None:  # a wrapper calls its inputs as it likes
            ends = {
                name: (old, new)
                for name, (old, new) in ends.items()
                if not name.startswith("input ") or not (old and new)
            }
        if ends:
            wanted[top[1]] = ends | wanted.get(top[1], {})
        if wires:
            rewired.append(Change(*top, wires))
        order = sorted(wanted, key=self._order.__getitem__)
        return [Change(alignment.back[y], y, wanted[y]) for y in order], followed, rewired

    @cached_property
    def _order(self) -> dict[Place, int]:
        """Where each place of ``b`` stands, those in a scope behind it."""
        found: dict[Place, int] = {}
        stack = list(reversed(self.alignment.b.children[None]))
        while stack:
            place = stack.pop()
            found[place] = len(found)
            if isinstance(place, Scope):
                stack += reversed(self.alignment.b.children[place])
        return found

    def _outermost(self, graph: Graph, paired: dict[Place, Place]) -> list[Place]:
        outline = self.alignment.b if paired is self.alignment.back else self.alignment.a
        found: list[Place] = []
        stack = list(reversed(outline.children[None]))
        while stack:
            place = stack.pop()
            if place not in paired:
                found.append(place)
            elif isinstance(place, Scope):
                stack += reversed(outline.children[place])
        return found

    def _renamed(self) -> Iterator[Change]:
        pairs, seen = self.alignment.pairs, set()
        for x, y in sorted(pairs.items(), key=lambda pair: self._order[pair[1]]):
            if x.fqn is None or y.fqn is None or x.fqn == y.fqn or (x.fqn, y.fqn) in seen:
                continue
            seen.add((x.fqn, y.fqn))
            outer, other = around(x), around(y)
            together = outer is other is None or (outer is not None and pairs.get(outer) is other)
            if not together or relative(x.fqn, outer) != relative(y.fqn, other):
                yield Change(x, y, {"name": (x.fqn, y.fqn)})
