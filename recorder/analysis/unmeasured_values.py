"""Which values a recording knows nothing of, though values were measured: neither they nor their heirs were.

Nothing can be counted in what is sparse or nested, of a subclass, on the meta device, or inside a transform of
`torch.func`. What is computed of such a value usually can: if that is finite, so was what it was computed of, as far as
it mattered.
"""

from recorder.analysis.not_finite import FLOATING, is_uninitialized
from recorder.graph.core import Graph, Node, Value

__all__ = ["unmeasured"]


def unmeasured(graph: Graph) -> tuple[Node, ...]:
    """The nodes, in execution order, that made a floating-point value which was not measured, and of which nothing was
    computed that was: nobody knows what was in it.

    What nobody was seen to use went unseen, if anywhere, into what the calls around it returned.
    """
    returned = {id(value) for value in graph.outputs}
    told: set[int] = set()  # what has a measured value among its heirs
    found: list[Node] = []
    for node in reversed(graph.nodes):
        for value in filter(_unknown, node.outputs):
            heirs = [output for user, _ in value.uses for output in user.outputs]
            if not heirs and node.scope is not None:
                heirs = [output for scope in node.scope.ancestors() for output in scope.outputs]
            if any("stats" in heir.meta or id(heir) in told for heir in heirs) and id(value) not in returned:
                told.add(id(value))
            elif node.error is None and not is_uninitialized(node) and node not in found[-1:]:
                found.append(node)
    return tuple(reversed(found))


def _unknown(value: Value) -> bool:
    return value.dtype.startswith(FLOATING) and "stats" not in value.meta and 0 not in value.shape
