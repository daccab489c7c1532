"""Where a network ends: the calls that backward came to first, each on its way from the loss."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from recorder.analysis.gradient_places import Place, told_of
from recorder.graph.core import Graph, Node, Scope, Value

__all__ = ["starts_of"]


def starts_of(
    graph: Graph, places: Sequence[Place], norm_of: Callable[[Place], float | None]
) -> dict[int, tuple[int, float]]:
    """For each backward pass: the order of the first of the network's heads that was reached, and the largest norm of
    the gradients at them. A head is a call of a module with a norm that hands on to no other such call; what functions
    do after it is the loss. Where no module was called, functions are taken for that.

    Of several heads, as of several tasks, one may count little in the loss, or nothing: what the others begin with is
    not to be judged by that.
    """
    norms = {id(place): norm for place in places if (norm := norm_of(place)) is not None}
    found: dict[int, list[Place]] = defaultdict(list)
    modules = {told_of(place)["pass"] for place in places if id(place) in norms and not _is_function(place)}
    for place in places:
        if id(place) in norms and not (_is_function(place) and told_of(place)["pass"] in modules):
            found[told_of(place)["pass"]].append(place)
    after = _After(graph, [place for those in found.values() for place in those])
    starts: dict[int, tuple[int, float]] = {}
    for number, those in found.items():
        heads = [place for place in those if number not in after.of(place)] or those[:1]
        starts[number] = (
            min(told_of(place)["order"] for place in heads), max(norms[id(place)] for place in heads)
        )  # fmt: skip
    return starts


class _After:
    """In which passes backward reached one of some places before it came to a value."""

    def __init__(self, graph: Graph, places: Iterable[Place]) -> None:
        self._at_node = {id(place): told_of(place)["pass"] for place in places if isinstance(place, Node)}
        self._at_value: defaultdict[int, set[int]] = defaultdict(set)
        for place in places:
            if isinstance(place, Scope):
                for value in place.outputs:
                    self._at_value[id(value)].add(told_of(place)["pass"])
        self._of_node: dict[int, frozenset[int]] = {}
        for node in reversed(graph.nodes):
            found = {
                number for value in node.outputs for number in (*self._of_value(value), *self._at_value[id(value)])
            }
            self._of_node[id(node)] = frozenset(found)

    def of(self, place: Place) -> set[int] | frozenset[int]:
        """Those after a place."""
        if isinstance(place, Node):
            return self._of_node[id(place)]
        within = {id(node) for value in place.outputs for node, _ in value.uses if _is_in(node, place)}
        return {number for value in place.outputs for number in self._of_value(value, within)}

    def _of_value(self, value: Value, without: Iterable[int] = ()) -> set[int]:
        found: set[int] = set()
        for user, _ in value.uses if value.requires_grad else ():
            if id(user) not in without and id(user) in self._of_node:
                found |= self._of_node[id(user)]
                if id(user) in self._at_node:
                    found.add(self._at_node[id(user)])
        return found


def _is_in(node: Node, scope: Scope) -> bool:
    return node.scope is not None and any(around is scope for around in node.scope.ancestors())


def _is_function(place: Place) -> bool:
    return isinstance(place, Node) and place.kind == "function"
