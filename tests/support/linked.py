"""A job of two ranks as a graph, made by hand: both reduce something, and one sends what the other receives."""

from typing import Any

from recorder import Graph, Link, Node, Scope, Value
from recorder.graph.links import Members

__all__ = ["linked", "one_rank"]


def linked(reductions: int = 1) -> Graph:
    """Two ranks with so many links called ``all_reduce`` between them, and one called ``send``."""
    scopes = [Scope("", rank, "Rank", None, f"rank {rank}") for rank in range(2)]
    nodes: list[Node] = []
    by_rank: dict[tuple[int, str], list[Node]] = {}
    for rank, scope in enumerate(scopes):
        for op_type in [*["all_reduce"] * reductions, "recv" if rank else "send"]:
            number = len(by_rank.setdefault((rank, op_type), []))
            facts: dict[str, Any] = {
                "op_type": op_type, "group": "world", "ranks": "0-1", "rank": rank, "number": number,
                "phase": "forward", "dtype": "float32", "inputs": [[4, 2]], "outputs": [[4, 2]],
            }  # fmt: skip
            facts |= {"peer": 1 - rank} if op_type != "all_reduce" else {}
            name = f"rank {rank}.{op_type}_{number}"
            made = Value(f"{name}.out", (4, 2), "float32", "cpu")
            nodes.append(Node(name, "function", op_type, f"torch.distributed.{op_type}", outputs=[made], scope=scope))
            nodes[-1].meta["collective"] = facts
            by_rank[rank, op_type].append(nodes[-1])
    links = [
        Link("all_reduce", "world", (0, 1), number, "forward", Members([((0,), one), ((1,), other)]))
        for number, (one, other) in enumerate(zip(by_rank[0, "all_reduce"], by_rank[1, "all_reduce"]))
    ]
    sent, received = by_rank[0, "send"][0], by_rank[1, "recv"][0]
    links.append(Link("send", "world", (0, 1), 0, "forward", Members([((0,), sent), ((1,), received)])))
    graph = Graph(nodes, scopes=scopes, name="Job", links=links)
    graph.lint()
    return graph


def one_rank(rank: int) -> Graph:
    """One of the two by itself: it reduces, then sends or receives."""
    nodes = [node for node in linked().nodes if node.meta["collective"]["rank"] == rank]
    for node in nodes:
        node.scope = None
    return Graph(nodes, name="Job", meta={"rank": rank, "world_size": 2})
