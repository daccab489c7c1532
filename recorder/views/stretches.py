"""Stretches of a row: siblings of one type that follow each other, or types that take turns, though no two are alike.

`fold` draws once what is alike. What only looks the same from afar, as sixty linear layers of sixty widths, is no
repetition; but where there is no room for all of it, its first and its last are enough, and how many there are.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from recorder.graph.core import Node
from recorder.views.contraction import Place

__all__ = ["Stretch", "stretches"]

LONGEST = 32
"""Siblings in a sequence that takes turns."""

FEWEST = 4
"""How often it has to be there: less is no row."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """The siblings from ``start`` to before ``end``, of which every ``period`` make one turn."""

    start: int
    end: int
    period: int

    @property
    def turns(self) -> int:
        return (self.end - self.start) // self.period

    def between(self, ends: int) -> tuple[int, int] | None:
        """What is left when about so many siblings at either end are taken away, a whole number of turns and at least
        one; None if that is less than two turns.
        """
        kept = max(1, ends // self.period)
        return (
            None
            if self.turns - 2 * kept < 2
            else (self.start + kept * self.period, self.start + (self.turns - kept) * self.period)
        )


def stretches(row: Sequence[Place]) -> Iterator[Stretch]:
    """Those of a row, from its beginning; of several that begin at one sibling, the one that reaches farthest."""
    kinds = [_kind(place) for place in row]
    start = 0
    while start < len(row):
        found = max(
            (_from(kinds, start, period) for period in range(1, min(LONGEST, (len(row) - start) // FEWEST) + 1)),
            key=lambda stretch: (stretch.end, -stretch.period),
            default=None,
        )
        if found is None or found.turns < FEWEST:
            start += 1
        else:
            yield found
            start = found.end


def _kind(place: Place) -> tuple[str, bool]:
    """A function is never of the kind of a module, whatever the two are called."""
    return place.op_type, isinstance(place, Node) and place.kind == "function"


def _from(kinds: Sequence[tuple[str, bool]], start: int, period: int) -> Stretch:
    at = start + period
    while at < len(kinds) and kinds[at] == kinds[at - period]:
        at += 1
    turns = (at - start) // period
    return Stretch(start, start + (turns * period if turns >= FEWEST else 0), period)
