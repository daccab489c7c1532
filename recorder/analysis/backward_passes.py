"""Which gradients the passes of backward computed, as far as a recording tells.

`torch.autograd.grad` and ``backward(inputs=...)`` compute what leads to what is asked for, and nothing else. Each pass
computes anew, and where gradients are to be differentiated (``create_graph``), what that computes later is not seen.
"""

from dataclasses import dataclass

from recorder.graph.core import Graph, Node

__all__ = ["Computed", "Passes", "computed_of", "passes_of"]

Computed = tuple[tuple[bool, ...] | None, ...]
"""For each pass, whether each gradient that the autograd node of a call could hand on was computed; None where that was
not seen.
"""


def computed_of(node: Node) -> Computed:
    """What the passes that came to a node computed there; nothing if it does not tell."""
    told = node.meta.get("backward")
    if not told:
        return ()
    if "computed" in told:
        return tuple(None if flags is None else tuple(map(bool, flags)) for flags in told["computed"])
    left = told.get("left")
    return () if left is None else (tuple(gradient is not None for gradient in left),)


@dataclass(frozen=True)
class Passes:
    """Those of a graph: whether there was one for everything, whether any was for a part alone, and whether gradients
    require gradients themselves.
    """

    one: bool
    partial: bool
    differentiated: bool

    def can_be_judged(self, node: Node) -> bool:
        """Whether what a node tells, and what is around it, says what backward did there."""
        if not computed_of(node):
            return self.one
        return not self.partial or not node.meta["backward"].get("several")

    def may_go_on(self, node: Node) -> bool:
        """Whether what backward computed there may have been differentiated in its turn, which is not seen."""
        return self.differentiated and ("backward" not in node.meta or _is_differentiated(node))


def _is_differentiated(node: Node) -> bool:
    return bool(node.meta["backward"].get("differentiated"))


def passes_of(graph: Graph) -> Passes:
    """What the nodes of a graph tell together."""
    one, partial, differentiated = True, False, False
    for node in graph.nodes:
        computed = computed_of(node)
        one = one and len(computed) <= 1
        differentiated = differentiated or ("backward" in node.meta and _is_differentiated(node))
        if computed and not node.meta["backward"].get("several"):
            needed = sum(value.requires_grad for value in node.inputs)
            partial = partial or any(flags is not None and sum(flags) < needed for flags in computed)
    return Passes(one and not partial, partial, differentiated)
