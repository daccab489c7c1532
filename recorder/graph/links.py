"""What ties the ranks of a job to each other: an operation that several of them issued together.

A link is no edge. Ranks stand beside each other, and an operation is a node of each; one node for all would put nodes
of many scopes into one, and pipelines into circles.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from recorder.graph.core import Node

__all__ = ["Link", "Members"]


class Members(Mapping[int, "Node"]):
    """The node of each rank. Ranks that did the same share one, so a thousand of them take little memory.

    Args:
        parts: nodes with the ranks that each stands for.
    """

    __slots__ = ("parts",)

    def __init__(self, parts: Iterable[tuple[Sequence[int], "Node"]]) -> None:
        self.parts = tuple(parts)

    def __getitem__(self, rank: int) -> "Node":
        for ranks, node in self.parts:
            if rank in ranks:
                return node
        raise KeyError(rank)

    def __iter__(self) -> Iterator[int]:
        return iter(sorted(rank for ranks, _ in self.parts for rank in ranks))

    def __len__(self) -> int:
        return sum(len(ranks) for ranks, _ in self.parts)

    def __repr__(self) -> str:
        return f"<Members {', '.join(node.name for _, node in self.parts)}>"


@dataclass(frozen=True, slots=True, eq=False)
class Link:
    """One operation that several ranks issued together.

    ``op_type`` is ``all_reduce`` and the like, and ``send`` for what one rank sends and another receives. ``group`` is
    the name of the process group, ``ranks`` are those that take part, ``number`` is the how-manieth it was in the group
    or between the two, from 0. ``members`` has each rank's node. Where groups are alike, as the stages of many
    pipelines are, one link stands for the operations of all of them: then ``group`` names the first.
    """

    op_type: str
    group: str
    ranks: tuple[int, ...]
    number: int
    phase: Literal["forward", "backward"]
    members: Members

    def nodes(self) -> "list[Node]":
        """Its nodes, each once, those that send first."""
        return list(dict.fromkeys(node for _, node in self.members.parts))

    def shown(self, place: "Callable[[Node], Node | None]") -> "Link | None":
        """The link between the nodes that stand for its own in a view; None if there are none."""
        parts = [(ranks, shown) for ranks, node in self.members.parts if (shown := place(node)) is not None]
        if not parts:
            return None
        ranks = self.ranks if len(parts) == len(self.members.parts) else tuple(sorted(r for rs, _ in parts for r in rs))
        return Link(self.op_type, self.group, ranks, self.number, self.phase, Members(parts))

    def __repr__(self) -> str:
        return f"<Link {self.op_type} {self.number} of group {self.group}: {len(self.ranks)} ranks>"
