"""The ends of long rows, with an ellipsis between: `abridged`, for where nothing else makes a graph small."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope
from recorder.views.contraction import Group, Place, contracted
from recorder.views.repeats import children_of
from recorder.views.steps import derived
from recorder.views.stretches import Stretch, stretches

__all__ = ["abridged"]


KINDS = 3
"""Of what is hidden, so many types are named."""


def abridged(graph: Graph, nodes: int, rows: bool = True) -> Graph:
    """A view of at most so many nodes, if the first and the last of each row are so few.

    Where siblings of one type follow each other, or types take turns, the first and the last are shown, and those
    between are one node; of half as many nodes, if it can be, since what is hidden is more of the same. If that is not
    enough, nor whatever else is in a row is all shown, but only its ends, unless ``rows`` is False.
    """
    return derived(graph, _Abridge(nodes, rows))


@dataclass(frozen=True, slots=True)
class _Abridge:
    nodes: int
    rows: bool

    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        rows = {key: _Row(places, tuple(stretches(places))) for key, places in children_of(graph).items()}
        longest = max((len(row.places) for row in rows.values()), default=0)
        kept = _most(longest, lambda ends: _shown(rows, ends, longest) <= max(1, self.nodes // 2))
        ends = longest
        if self.rows and _shown(rows, kept, longest) > self.nodes:
            ends = _most(longest, lambda ends: _shown(rows, kept, ends) <= self.nodes)
        hidden = (part for part in _parts(rows, kept, ends) if isinstance(part, _Hidden))
        return contracted(graph, [Group(part.places, partial(_in_words, part)) for part in hidden])


def _most(longest: int, fits: Callable[[int], bool]) -> int:
    """The most from 1 to half of the longest that fits; 1 if nothing does."""
    low, high = 1, max(1, longest // 2)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@dataclass(frozen=True, slots=True)
class _Hidden:
    """What one node stands for: siblings that follow each other; those of a stretch, or any."""

    places: Sequence[Place]
    stretch: Stretch | None


@dataclass(frozen=True, slots=True)
class _Row:
    """Siblings in execution order."""

    places: Sequence[Place]
    stretches: Sequence[Stretch]

    def parts(self, kept: int, ends: int) -> list[Place | _Hidden]:
        """With about ``kept`` siblings at either end of each stretch, and ``ends`` of such parts at either end of the
        row; all of them if only one would be hidden.
        """
        parts: list[Place | _Hidden] = []
        at = 0
        for stretch in self.stretches:
            between = stretch.between(kept)
            if between is not None:
                start, end = between
                parts += [*self.places[at:start], _Hidden(self.places[start:end], stretch)]
                at = end
        parts += self.places[at:]
        if len(parts) <= 2 * ends + 1:
            return parts
        hidden = [
            place for part in parts[ends:-ends] for place in (part.places if isinstance(part, _Hidden) else [part])
        ]
        return [*parts[:ends], _Hidden(hidden, None), *parts[-ends:]]


def _parts(rows: dict[int, _Row], kept: int, ends: int) -> Iterator[Place | _Hidden]:
    """All that is shown, scopes too."""
    waiting = [id(None)]
    while waiting:
        row = rows.get(waiting.pop())
        for part in row.parts(kept, ends) if row is not None else ():
            yield part
            if isinstance(part, Scope):
                waiting.append(id(part))


def _shown(rows: dict[int, _Row], kept: int, ends: int) -> int:
    return sum(not isinstance(part, Scope) for part in _parts(rows, kept, ends))


def _in_words(hidden: _Hidden, members: Sequence[Node]) -> str:
    """``Linear, ReLU × 56, unlike`` for turns of a stretch, ``… getitem, Sequential, mul …`` for anything else: the
    first few types, modules before functions.
    """
    stretch = hidden.stretch
    turn = hidden.places if stretch is None else hidden.places[: stretch.period]
    modules = [place.op_type for place in turn if isinstance(place, Scope) or place.kind == "module"]
    kinds = list(dict.fromkeys(kind or "…" for kind in [*modules, *(place.op_type for place in turn)]))
    if stretch is None:
        return f"… {', '.join(kinds[:KINDS])} …"
    named = ", ".join([*kinds[:KINDS], *(["…"] if len(kinds) > KINDS else [])])
    turns = len(hidden.places) // stretch.period
    if stretch.period == 1:
        turns = sum(int(place.meta.get("repeats", 1)) for place in hidden.places)
    return f"{named} × {turns}{'' if _are_alike(members, len(hidden.places) // stretch.period) else ', unlike'}"


def _are_alike(members: Sequence[Node], turns: int) -> bool:
    """Whether each turn does the same with tensors of the same shapes, however it is wired to others."""
    size, rest = divmod(len(members), turns)
    looks = [_look(node) for node in members]
    return rest == 0 and all(looks[at] == looks[at - size] for at in range(size, len(looks)))


def _look(node: Node) -> Hashable:
    shapes = tuple(value.shape for values in (node.inputs, node.outputs) for value in values)
    return node.op_type, repr(node.attributes), shapes, node.meta.get("collapsed"), node.meta.get("repeats")
