"""Which blocks of a graph are built alike, and what goes into them and comes out of them.

A block is one node, one scope, or several of them that follow each other. Two are isomorphic if they do the same
operations with the same arguments on tensors of the same shapes, wired in the same way inside; names do not matter, nor
does what was measured. Each scope is looked at once, with what is in it as so many numbers, so the time is linear.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.regions import Ranges

__all__ = ["Block", "Blocks", "Wiring"]

Key = tuple[int, int]
"""A value by where it is made: the node's place in its block, or in the graph, and the number of the output."""


@dataclass(frozen=True, slots=True)
class Wiring:
    """How blocks that follow each other are wired: ``pattern`` is equal for those that are wired alike, ``entries`` are
    the tensors that come from elsewhere, each once, in the order of first use.
    """

    pattern: Hashable
    entries: tuple[Value, ...]


@dataclass(slots=True)
class Block:
    """A node or scope among its siblings.

    ``symbol`` is equal for isomorphic ones. ``start`` and ``end`` are its range in the graph's nodes, repetitions that
    were folded included. ``exits`` are the values made in it that are used outside of it or returned. ``is_module``
    says whether it is more than a function, and ``is_nested`` whether there is something inside.
    """

    place: Node | Scope
    symbol: int
    start: int
    end: int
    entries: tuple[Value, ...]
    exits: list[Value]
    is_module: bool
    is_nested: bool
    repeats: int = 1


class Blocks:
    """The blocks of one graph, and which node stands for which."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.stand_in = list(range(len(graph.nodes)))
        self.ranges = Ranges(graph)
        self._symbols: dict[Hashable, int] = {}

    # Where values come from and go to

    def made(self, value: Value) -> Key | None:
        """The node that shows it, by its number, and which of its outputs it is."""
        key = self.ranges.made(value)
        return None if key is None else (self.shown(key[0]), key[1])

    def shown(self, number: int) -> int:
        """The number of the node that stands for that one, itself if it is there."""
        while self.stand_in[number] != number:
            number = self.stand_in[number]
        return number

    def users(self, value: Value, start: int, end: int) -> set[int]:
        """The nodes that use a value, without those in a range; by the numbers of those that stand for them."""
        return set(map(self.shown, self.ranges.users_outside(value, start, end)))

    # Blocks

    def wiring(self, parts: Sequence[tuple[Iterable[Value], Hashable]], start: int, end: int) -> Wiring:
        """How parts are wired that together are the nodes from ``start`` to ``end``.

        A part is what goes into it, and whatever else it is compared by.
        """
        pattern: list[Hashable] = []
        entries: dict[int, tuple[int, Value]] = {}
        own: dict[int, int] = {}
        for inputs, rest in parts:
            pattern.append(rest)
            for value in inputs:
                if start <= self.ranges.made_at(value) < end:
                    number, output = self.made(value) or (0, 0)
                    pattern.append((number - start, output))
                elif value.role in ("parameter", "buffer") and self.ranges.is_private(value, start, end):
                    number = own.setdefault(id(value), len(own))
                    pattern.append(("own", number, value.role, value.shape, value.dtype, value.requires_grad))
                else:
                    number, _ = entries.setdefault(id(value), (len(entries), value))
                    pattern.append(("from", number, value.shape, value.dtype))
        return Wiring(tuple(pattern), tuple(value for _, value in entries.values()))

    def symbol(self, *what: Hashable) -> int:
        """A number that is the same for the same things."""
        return self._symbols.setdefault(what, len(self._symbols))

    def node(self, node: Node) -> Block:
        number = self.ranges.number(node)
        wiring = self.wiring([(node.inputs, None)], number, number + 1)
        made = tuple((value.shape, value.dtype) for value in node.outputs)
        symbol = self.symbol(node.kind, *_told(node), made, wiring.pattern)
        exits = self.ranges.leaving(node.outputs, number + 1)
        collapsed = "collapsed" in node.meta
        return Block(node, symbol, number, number + 1, wiring.entries, exits, node.kind == "module", collapsed)

    def scope(self, scope: Scope, inside: Sequence[Block]) -> Block:
        """A scope from what is in it, repetitions folded."""
        start, end = inside[0].start, inside[-1].end
        wiring = self.together(inside)
        exits = self.ranges.leaving((value for block in inside for value in block.exits), end)
        symbol = self.symbol("scope", *_told(scope), wiring.pattern)
        return Block(scope, symbol, start, end, wiring.entries, exits, True, True)

    def together(self, blocks: Sequence[Block]) -> Wiring:
        """How blocks that follow each other are wired."""
        return self.wiring(
            [(block.entries, (block.symbol, block.repeats)) for block in blocks], blocks[0].start, blocks[-1].end
        )


def _told(place: Node | Scope) -> Iterator[Hashable]:
    """What a node or scope says of itself, but for its names and what was measured. One that was folded before is like
    no other: how its repetitions were wired is not in the view any more.
    """
    yield from (place.op_type, place.target, place.error, repr(place.attributes) if place.attributes else "")
    yield from (repr(place.meta.get(key)) for key in ("collapsed", "repeated", "diff"))
