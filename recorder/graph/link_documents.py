"""Links as they stand in a graph's document."""

from collections.abc import Iterable, Sequence

from recorder.errors import GraphError
from recorder.events.rank_ranges import as_ranges, of_ranges
from recorder.graph.core import Graph, Node
from recorder.graph.links import Link, Members
from recorder.graph.schema import LinkDoc

__all__ = ["link_documents", "links_in"]


def link_documents(graph: Graph) -> list[LinkDoc]:
    """The links of a graph.

    Raises:
        GraphError: a link has a node that is not in the graph.
    """
    numbers = {id(node): number for number, node in enumerate(graph.nodes)}
    texts: dict[int, str] = {}
    documents: list[LinkDoc] = []
    for link in graph.links:
        members: list[tuple[str, int]] = []
        for ranks, node in link.members.parts:
            if id(node) not in numbers:
                raise GraphError([f"{link!r} has a node that is not in the graph"])
            text = texts.get(id(ranks)) or texts.setdefault(id(ranks), as_ranges(ranks))
            members.append((text, numbers[id(node)]))
        documents.append(LinkDoc(link.op_type, link.group, link.number, link.phase, tuple(members)))
    return documents


def links_in(documents: Iterable[LinkDoc], nodes: Sequence[Node]) -> list[Link]:
    """The links that a document tells of.

    Raises:
        GraphError: one points at what the document does not hold.
    """
    read: dict[str, tuple[int, ...]] = {}
    links: list[Link] = []
    for document in documents:
        parts: list[tuple[tuple[int, ...], Node]] = []
        for text, number in document.members:
            if number >= len(nodes):
                raise GraphError([f"a node of a link is number {number} of {len(nodes)}"])
            try:
                ranks = read.get(text) or read.setdefault(text, of_ranges(text))
            except ValueError as error:
                raise GraphError([f"the ranks of a link are {text[:40]!r}: {error}"]) from None
            parts.append((ranks, nodes[number]))
        taking = tuple(sorted(rank for ranks, _ in parts for rank in ranks))
        links.append(
            Link(document.op_type, document.group, taking, document.number, document.phase, Members(parts))
        )  # fmt: skip
    return links
