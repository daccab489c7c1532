"""What only hands tensors on, left out: `hide`."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.graph.regions import holders
from recorder.graph.tensor_views import SAME_ELEMENTS
from recorder.views.copies import Copies
from recorder.views.matching import Patterns, any_of
from recorder.views.steps import derived

__all__ = ["Kind", "hide"]

Kind: TypeAlias = Literal["identities", "views", "constants"]
"""What may be hidden; see `hide`."""


def hide(
    graph: Graph,
    kinds: Kind | Iterable[Kind] | None = None,
    *,
    fqn: Patterns | None = None,
    op_type: Patterns | None = None,
) -> Graph:
    """Leave out nodes that only hand a tensor on: what used theirs uses the tensor that they were given.

    Paths between other nodes are neither added nor lost. So a node that joins tensors is never hidden, whatever was
    asked for, nor one that failed. Scopes in which nothing is left are not shown either.

    Args:
        graph: any graph, views too.
        kinds: some of ``"identities"``, what returned the very tensor that it was given, as Identity and Dropout in
            eval do; ``"views"``, what shows the same elements in another shape or order; ``"constants"``, what depends
            on no input, no parameter and no random number, such as ``arange``. Identities if nothing at all is asked
            for.
        fqn: patterns of the qualified names of other modules to hide.
        op_type: patterns of the types of other modules and functions.

    Raises:
        ValueError: there is no such kind.
    """
    nothing_said = kinds is None and fqn is None and op_type is None
    chosen = ("identities",) if nothing_said else (kinds,) if isinstance(kinds, str) else tuple(kinds or ())
    for kind in chosen:
        if kind not in get_args(Kind):
            raise ValueError(f"{kind!r} is none of the kinds that can be hidden: {', '.join(get_args(Kind))}")
    return derived(graph, _Hide(frozenset(chosen), any_of(fqn, op_type)))


@dataclass(frozen=True, slots=True)
class _Hide:
    kinds: frozenset[str]
    named: Callable[[Scope | Node], bool]

    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        returned = {id(value) for value in graph.outputs}
        constant: set[int] = set()  # values that depend on no input and no parameter
        instead: dict[int, Value] = {}  # for an output of a hidden node, what that was given
        gone: set[int] = set()
        without: set[int] = set()  # values of hidden nodes that were given nothing

        for node in graph.nodes:
            data = {id(v): v for v in node.inputs if v.role not in ("parameter", "buffer")}
            is_constant = (
                len(data) == len({id(v) for v in node.inputs})
                and all(v.role == "constant" or id(v) in constant for v in data.values())
                and not RANDOM(node.op_type)
            )
            if is_constant:
                constant |= {id(value) for value in node.outputs}
            if node.error is not None:
                continue
            begins = all(
                v.producer is None or id(v) in without for v in data.values()
            )  # what is before it is gone, too
            kept = any(id(v) in returned for v in node.outputs)
            if is_constant and begins and not kept and "constants" in self.kinds:
                gone.add(id(node))
                without |= {id(value) for value in node.outputs}
            elif len(data) == 1 and node.outputs and self._asked(node):
                (given,) = data.values()
                if id(given) in without:
                    continue
                gone.add(id(node))
                instead |= dict.fromkeys(map(id, node.outputs), instead.get(id(given), given))
        copies = Copies(lambda value: instead.get(id(value), value))
        nodes = []
        for node in graph.nodes:
            if id(node) not in gone:
                copy = copies.node(node)
                copies.narrowed(copy, node, (i for i, value in enumerate(node.inputs) if id(value) not in without))
                nodes.append(copy)
        left = (node for node in graph.nodes if id(node) not in gone)
        return copies.graph(graph, nodes, holders(graph, left))

    def _asked(self, node: Node) -> bool:
        return (
            ("identities" in self.kinds and _is_identity(node))
            or ("views" in self.kinds and node.op_type in SAME_ELEMENTS)
            or self.named(node)
        )


RANDOM = re.compile(
    "rand|normal|uniform|bernoulli|multinomial|poisson|exponential|geometric|cauchy|dropout", re.IGNORECASE
).search
"""What draws random numbers, in place or not."""


def _is_identity(node: Node) -> bool:
    """Whether a node returned the very tensor that it was given."""
    return node.op_type == "Identity" or bool(node.outputs and all(v.meta.get("handed_on") for v in node.outputs))
