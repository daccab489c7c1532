"""Where blocks repeat: runs of isomorphic siblings, and sequences that do.

Siblings are looked at in execution order, the innermost first. Where isomorphic blocks follow each other, each wired to
the one before in the same way, or all to the same neighbours, the first is to stand for all. Sequences repeat, too: two
blocks that take turns are one pair of them, "× 3".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.names import Namespace
from recorder.views.isomorphism import Block, Blocks, Key

__all__ = ["Repetition", "Runs", "children_of", "repetitions"]

LONGEST = 8
"""Blocks in a sequence that is looked for."""

FEWEST, FEWEST_SINGLE = 2, 3
"""How often blocks have to stand there, and blocks without anything inside: of two layers it is clearer to see both."""

MERGES = frozenset({
    "add", "cat", "concat", "concatenate", "dstack", "hstack", "index_add_", "maximum", "mul", "stack", "sum", "vstack",
})  # fmt: skip
"""Functions to which it does not matter, or is plain to see, which of several branches is which. Query, key and value
are made by three isomorphic branches as well, but they are no repetition."""


class Repetition(NamedTuple):
    """A place that stands for several, or a new scope around a sequence of places that does.

    Attributes:
        repeats: how often it was there.
        names: of all that were there, in order.
        first: the number of its first node in ``graph.nodes``, from which those of all repetitions follow each other.
        size: how many nodes one of them has.
        places: what one of them is: a node or scope, or the sequence. What repeated in turn is there as its new scope.
        place: what stands for all: the one place, or the new scope.
    """

    repeats: int
    names: list[str]
    first: int
    size: int
    places: tuple[Node | Scope, ...]
    place: Node | Scope


def repetitions(graph: Graph) -> list[Repetition]:
    """All that `fold` would show once, the innermost first: for what folds and opens by itself, as the page does."""
    return list(Runs(graph, lambda place: False).told.values())


class _Run(NamedTuple):
    """``links`` says how tensors come into each repetition but the first."""

    length: int
    links: tuple[Key | str | None, ...] = ()


@dataclass(slots=True)
class Runs:
    """Everything in a graph that repeats.

    Attributes:
        blocks: knows, for each node, which one stands for it.
        told: by the id of a place that is kept, what it stands for.
        groups: by the id of a place in a sequence that repeats, the new scope around the sequence.
    """

    graph: Graph
    is_apart: Callable[[Scope | Node], bool]
    blocks: Blocks = field(init=False)
    told: dict[int, Repetition] = field(default_factory=dict, init=False)
    groups: dict[int, Scope] = field(default_factory=dict, init=False)
    _names: Namespace = field(default_factory=Namespace, init=False)

    def __post_init__(self) -> None:
        self.blocks = Blocks(self.graph)
        for scope in self.graph.scopes:
            self._names.unique(scope.name)
        children = children_of(self.graph)
        done: dict[int, Block] = {}

        def siblings(scope: Scope | None) -> list[Block]:
            inside = children.pop(id(scope), [])
            found = [done.pop(id(place)) if isinstance(place, Scope) else self.blocks.node(place) for place in inside]
            return self._folded(found, scope)

        for scope in reversed(self.graph.scopes):
            if id(scope) in children:
                done[id(scope)] = self.blocks.scope(scope, siblings(scope))
        siblings(None)

    def shown(self, value: Value) -> Value:
        """The value that stands for one."""
        key = self.blocks.made(value)
        return value if key is None else self.graph.nodes[key[0]].outputs[key[1]]

    def around(self, place: Node | Scope) -> Scope | None:
        """The scope around a place, new ones too."""
        return self.groups.get(id(place)) or (place.scope if isinstance(place, Node) else place.parent)

    def _folded(self, siblings: list[Block], around: Scope | None) -> list[Block]:
        """The siblings with all that repeats folded."""
        period, changed = 1, True
        while changed:  # what was folded may repeat in turn
            changed = False
            while 2 * period <= min(2 * LONGEST, len(siblings)):
                shorter = self._with_runs(siblings, period, around)
                changed |= period > 1 and len(shorter) < len(siblings)
                siblings, period = shorter, period + 1
            period = 2
        return siblings

    def _with_runs(self, siblings: list[Block], period: int, around: Scope | None) -> list[Block]:
        """With each run of a sequence of that length as one block."""
        result: list[Block] = []
        start = 0
        while start < len(siblings):
            run = self._run(siblings, start, period)
            nested = any(block.is_nested for block in siblings[start : start + period])
            if run.length >= (FEWEST if nested else FEWEST_SINGLE):
                end = start + run.length * period
                result.append(self._merged(siblings[start:end], period, run, around))
                start = end
            else:
                result.append(siblings[start])
                start += 1
        return result

    def _run(self, siblings: list[Block], start: int, period: int) -> _Run:
        """How often the sequence that begins there stands there."""
        blocks = self.blocks
        first, second = siblings[start : start + period], siblings[start + period : start + 2 * period]
        if (
            len(second) < period
            or any(one.symbol != other.symbol for one, other in zip(first, second))
            or _repeats_in_itself([block.symbol for block in first])
            or not any(block.is_module for block in first)
            or (period == 1 and (first[0].repeats > 1 or "repeats" in first[0].place.meta))
            or any(self.is_apart(block.place) for block in first)
        ):
            return _Run(1)
        among = siblings[0].start, siblings[-1].end
        wired = blocks.together(first)
        links: tuple[Key | str | None, ...] = ()
        leaving: set[tuple[Key, int]] = set()
        last = first
        count = 1
        for at in range(start + period, len(siblings) - period + 1, period):
            block = siblings[at : at + period]
            if any(one.symbol != other.symbol or self.is_apart(other.place) for one, other in zip(first, block)):
                break
            wiring = blocks.together(block)
            if wiring.pattern != wired.pattern:
                break
            found = tuple(
                self._link(value, once, block, last, first, among) for value, once in zip(wiring.entries, wired.entries)
            )
            beyond = self._leaving(last, block[-1].end)
            if count == 1:
                links, leaving = found, beyond
                if None in links or not all(self._may_merge(user) for _, user in leaving):
                    break
            elif found != links or beyond != leaving:
                break
            last, count = block, count + 1
        # The last one may be used by more, but it has to be used as the others are.
        if count > 1 and not leaving <= self._leaving(last, last[-1].end):
            count -= 1
        return _Run(count, links)

    def _link(
        self,
        value: Value,
        once: Value,
        block: Sequence[Block],
        last: Sequence[Block],
        first: Sequence[Block],
        among: tuple[int, int],
    ) -> Key | str | None:
        """How a tensor comes into a repetition: from the one before, as which of its values; or from what is before the
        first, where it is the same tensor for all, or another one of the same node; or from nowhere, and none of the
        siblings ``among`` which the block is uses it as well. None if it does neither.
        """
        made = self.blocks.ranges.made_at(value)
        if last[0].start <= made < last[-1].end:
            number, output = self.blocks.made(value) or (0, 0)
            return number - last[0].start, output
        if value is once:
            return "same"
        if 0 <= made < first[0].start and made == self.blocks.ranges.made_at(once):
            return "split"
        own = value.role == once.role and self.blocks.ranges.is_private(value, block[0].start, block[-1].end, among)
        return "own" if own and self.blocks.ranges.is_private(once, first[0].start, first[-1].end, among) else None

    def _leaving(self, sequence: Sequence[Block], end: int) -> set[tuple[Key, int]]:
        """What is used from ``end`` on, or returned: which of a sequence's values, and by which node, -1 for nobody."""
        start = sequence[0].start
        found: set[tuple[Key, int]] = set()
        for block in sequence:
            for value in block.exits:
                number, output = self.blocks.made(value) or (0, 0)
                key = (number - start, output)
                found |= {(key, user) for user in self.blocks.users(value, start, end)}
                if self.blocks.ranges.is_returned(value):
                    found.add((key, -1))
        return found

    def _may_merge(self, user: int) -> bool:
        return user < 0 or self.graph.nodes[user].op_type in MERGES

    def _merged(self, run: list[Block], period: int, how: _Run, around: Scope | None) -> Block:
        """A run as its first repetition, which stands for all."""
        blocks = self.blocks
        first, names = run[:period], [block.place.name for block in run]
        start, end = first[0].start, first[-1].end
        wiring = blocks.together(first)
        for number in range(end, run[-1].end):
            blocks.stand_in[number] = start + (number - start) % (end - start)
        place = first[0].place
        if period > 1:
            fqn, call = ("", 0) if around is None else (around.fqn, around.call)
            place = Scope(fqn, call, "", around, self._names.unique(f"{names[0]} … {names[-1]}"))
            self.groups |= {id(block.place): place for block in first}
        places = tuple(block.place for block in first)
        self.told[id(place)] = Repetition(how.length, names, start, end - start, places, place)
        symbol = blocks.symbol("run", wiring.pattern, how)
        exits = blocks.ranges.leaving((value for block in run for value in block.exits), run[-1].end)
        return Block(place, symbol, start, run[-1].end, wiring.entries, exits, True, True, how.length)


def _repeats_in_itself(symbols: list[int]) -> bool:
    """Whether a sequence is a shorter one several times: then that one is what may repeat."""
    length = len(symbols)
    return any(length % part == 0 and symbols[part:] == symbols[:-part] for part in range(1, length // 2 + 1))


def children_of(graph: Graph) -> dict[int, list[Node | Scope]]:
    """What stands directly in each scope, by its id, and outside of all, by the id of None; in execution order."""
    children: dict[int, list[Node | Scope]] = {}
    placed: set[int] = set()
    for node in graph.nodes:
        place: Node | Scope | None = node
        while place is not None and id(place) not in placed:
            placed.add(id(place))
            parent = place.scope if isinstance(place, Node) else place.parent
            children.setdefault(id(parent), []).append(place)
            place = parent
    return children
