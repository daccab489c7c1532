"""The links between ranks: which operations belong together, worked out for classes of ranks that did the same."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from recorder.events.channels import Channel
from recorder.events.ranks import PEER_OPS
from recorder.graph.core import Graph, Node
from recorder.graph.links import Link, Members
from recorder.relations.rank_files import RankFile

__all__ = ["Class", "links_between"]


class Class(NamedTuple):
    """Ranks that did the same, and the graph of the first of them."""

    ranks: tuple[int, ...]
    graph: Graph


_Key = tuple[str, str, int, int]
_Part = tuple[int, int]
"""The number of a class, and the place of a channel among those of each of its ranks."""


def links_between(classes: Sequence[Class], files: Mapping[int, RankFile]) -> list[Link]:
    """The links between the nodes of these classes.

    Ranks of a class use as many channels, in the same order, so what one of them issued in its third one is what each
    of them did. Channels that the same classes share in the same way have one link for each number.
    """
    nodes = [_by_channel(one.graph, files[one.ranks[0]]) for one in classes]
    shared: dict[_Key, dict[_Part, list[int]]] = {}
    for number, one in enumerate(classes):
        for rank in one.ranks:
            for place, channel in enumerate(_channels(files[rank])):
                if not channel.op_type or channel.peer is not None:
                    parts = shared.setdefault(files[rank].key(channel), {})
                    parts.setdefault((number, place), []).append(rank)
    patterns: dict[tuple[_Part, ...], tuple[_Key, dict[_Part, list[int]]]] = {}
    for key, parts in shared.items():
        _, ranks = patterns.setdefault(tuple(parts), (key, {}))
        for part, members in parts.items():
            ranks.setdefault(part, []).extend(members)
    return [
        link
        for key, parts in patterns.values()
        for link in _links(key, [(sorted(ranks), nodes[part[0]][part[1]]) for part, ranks in parts.items()])
    ]


def _channels(file: RankFile) -> list[Channel]:
    if file.summary is not None:
        return [Channel(issued.group, issued.op_type, issued.peer) for issued in file.summary.issued]
    return list(file.calls)


def _by_channel(graph: Graph, file: RankFile) -> list[list[Node]]:
    """The nodes of a rank's operations, in order, for each of its channels."""
    numbers = {(group.name, group.ranks): number for number, group in file.groups.items()}
    found: dict[Channel, list[Node]] = {channel: [] for channel in _channels(file)}
    for node in graph.nodes:
        facts: dict[str, Any] | None = node.meta.get("collective")
        if facts is not None:
            group = numbers[facts["group"], facts["ranks"]]
            paired = facts["op_type"] in PEER_OPS
            channel = Channel(group, facts["op_type"], facts.get("peer")) if paired else Channel(group)
            found.setdefault(channel, []).append(node)
    return [sorted(nodes, key=lambda node: int(node.meta["collective"]["number"])) for nodes in found.values()]


def _links(key: _Key, parts: list[tuple[list[int], list[Node]]]) -> Iterator[Link]:
    """One link for each number that several ranks have. What they do not agree on is not linked."""
    name, _, source, _ = key
    if source >= 0:
        parts = sorted(parts, key=lambda part: part[1][0].op_type != "send")
    ranks = [tuple(members) for members, _ in parts]
    all_of: dict[tuple[int, ...], tuple[int, ...]] = {}  # ranks that take part, which are as many each time
    for number in range(max(len(nodes) for _, nodes in parts)):
        by_type: dict[str, list[tuple[tuple[int, ...], Node]]] = {}
        for members, (_, nodes) in zip(ranks, parts):
            if number < len(nodes):
                node = nodes[number]
                by_type.setdefault("send" if source >= 0 else node.op_type, []).append((members, node))
        for op_type, together in by_type.items():
            which = tuple([id(members) for members, _ in together])
            taking = all_of.get(which)
            if taking is None:
                taking = all_of[which] = tuple(sorted(rank for members, _ in together for rank in members))
            if len(taking) > 1:
                phase = together[0][1].meta["collective"]["phase"]
                yield Link(op_type, name, taking, number, phase, Members(together))
