"""The links between ranks as lines between boxes: one for all operations of a kind that tie the same two places."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from recorder import Graph, Link, Node
from recorder.events import ranks_in_words

if TYPE_CHECKING:
    from recorder_exporters.drawing.scene import Box

__all__ = ["LinkLine", "link_lines"]

_MANY = 12
"""So many boxes of one operation are tied to each other; of more, the first and the last ones are."""


@dataclass(slots=True, eq=False)
class LinkLine:
    """A line between two boxes of different ranks. ``directed``: the tail's rank sends, the head's receives. ``words``
    say what ties them, and how often.
    """

    tail: "Box"
    head: "Box"
    op_type: str
    words: str
    directed: bool
    details: list[str]


def link_lines(graph: Graph, boxes: Iterable["Box"]) -> Iterator[LinkLine]:
    """The lines of a graph. What several ranks issued is tied from each box to the next. What is within a single box is
    not drawn: what that stands for says it.
    """
    if not graph.links:
        return
    places = {box.subject: box for box in boxes if box.kind == "operation"}
    alike: dict[tuple[str, Node, Node], list[Link]] = {}
    for link in graph.links:
        nodes = [node for node in link.nodes() if node in places]
        if len(nodes) > _MANY:
            nodes = [*nodes[: _MANY // 2], *nodes[-_MANY // 2 :]]
        for tail, head in pairwise(nodes):
            alike.setdefault((link.op_type, tail, head), []).append(link)
    for (op_type, tail, head), links in alike.items():
        often = f" ×{len(links)}" if len(links) > 1 else ""
        yield LinkLine(places[tail], places[head], op_type, op_type + often, op_type == "send", _details(links))


def _details(links: list[Link]) -> list[str]:
    first = links[0]
    numbers = f"{first.number}" if len(links) == 1 else f"{first.number} … {links[-1].number}"
    return [f"{first.op_type} {numbers} of group {first.group}: {ranks_in_words(first.ranks)}"]
