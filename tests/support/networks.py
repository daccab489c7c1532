"""A graph as networkx has it, which judges what reaches what."""

import networkx as nx

from recorder import Graph

__all__ = ["network"]


def network(graph: Graph) -> "nx.DiGraph[str]":
    """Its nodes by name, and which of them uses what which of them made."""
    result: nx.DiGraph[str] = nx.DiGraph()
    result.add_nodes_from(node.name for node in graph.nodes)
    result.add_edges_from((edge.source.name, edge.target.name) for edge in graph.edges())
    return result
