"""Autograd nodes that only accumulate a parameter's gradient, and drawings without them."""

from collections.abc import Iterable
from dataclasses import dataclass

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.views.copies import Copies
from recorder.views.steps import derived

__all__ = ["without_accumulation"]


def without_accumulation(graph: Graph) -> Graph:
    """Leave out the autograd nodes that only accumulate a parameter's gradient: what used such a node uses the
    parameter itself. They outnumber all other autograd nodes, and say nothing that the parameter's name does not.

    Scopes in which nothing is left are not shown either.

    Args:
        graph: any graph, views too. One that has no such node is returned as it is.
    """
    return derived(graph, _WithoutAccumulation()) if _parameters(graph) else graph


@dataclass(frozen=True, slots=True)
class _WithoutAccumulation:
    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        instead = _parameters(graph)
        copies = Copies(lambda value: instead.get(value, value))
        kept = [node for node in graph.nodes if not any(value in instead for value in node.outputs)]
        left = _scopes_around(graph.nodes) - _scopes_around(kept)
        return copies.graph(graph, list(map(copies.node, kept)), (scope for scope in graph.scopes if scope not in left))


def _parameters(graph: Graph) -> dict[Value, Value]:
    """For what such a node returned, its parameter."""
    returned = set(graph.outputs)
    found: dict[Value, Value] = {}
    for node in graph.nodes:
        if node.kind == "autograd" and node.op_type == "AccumulateGrad" and len(node.inputs) == 1:
            used = any(value.uses for value in node.outputs)
            if node.inputs[0].role == "parameter" and used and returned.isdisjoint(node.outputs):
                found |= dict.fromkeys(node.outputs, node.inputs[0])
    return found


def _scopes_around(nodes: Iterable[Node]) -> set[Scope]:
    return {scope for node in nodes if node.scope is not None for scope in node.scope.ancestors()}
