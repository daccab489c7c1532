"""A region is some of a graph's nodes: those in a scope, those that a view shows. What enters one, what leaves it, and
which scopes stand around it, is said here, for whoever shows a region as one row or one box, or alone.

The functions take any nodes. `Ranges` answers for nodes that follow each other, without a look at each of them.
"""

from bisect import bisect_left
from collections.abc import Container, Iterable, Iterator, Sequence

from recorder.graph.core import Graph, Node, Scope, Value

__all__ = ["Ranges", "entering", "handed_out", "holders", "leaving", "taken"]


def entering(nodes: Sequence[Node]) -> list[Value]:
    """The values that nodes use and none of them made, each once, in the order of first use: also parameters, buffers
    and constants.
    """
    inside = {id(node) for node in nodes}
    used = {
        id(value): value
        for node in nodes
        for value in node.inputs
        if value.producer is None or id(value.producer) not in inside
    }
    return list(used.values())


def leaving(nodes: Sequence[Node], returned: Container[int]) -> Iterator[Value]:
    """The values that nodes made and others use, or that the graph returns; in the order in which they were made.
    ``returned`` holds the ids of the graph's outputs.
    """
    inside = {id(node) for node in nodes}
    for node in nodes:
        for value in node.outputs:
            if id(value) in returned or any(id(user) not in inside for user, _ in value.uses):
                yield value


def taken(scope: Scope, nodes: Sequence[Node]) -> list[tuple[Value, str]]:
    """What a scope's nodes use and none of them made, with its name in the call: in the order of the call, then what
    the call was not given, such as its parameters, in the order of first use. What it was given for nothing is left
    out.
    """
    used = {id(value): value for value in entering(nodes)}
    named = {id(v): (v, name) for v, name in zip(reversed(scope.inputs), reversed(scope.input_names)) if id(v) in used}
    given = dict(reversed(named.items()))
    prefix = f"{scope.fqn}." if scope.fqn else ""
    rest = (
        (v, v.name.removeprefix(prefix) if v.role in ("parameter", "buffer") else "")
        for key, v in used.items()
        if key not in given
    )
    return [*given.values(), *rest]


def handed_out(scope: Scope, nodes: Sequence[Node], returned: Container[int]) -> list[tuple[Value, str]]:
    """What a scope's nodes made and the call returned, used or not, in its order and with its names; then what else
    others use of it.
    """
    inside = {id(node) for node in nodes}
    out: dict[int, tuple[Value, str]] = {}
    for value, name in zip(scope.outputs, scope.output_names):
        if id(value.producer) in inside:
            out.setdefault(id(value), (value, name))
    for value in leaving(nodes, returned):
        out.setdefault(id(value), (value, ""))
    return list(out.values())


def holders(graph: Graph, nodes: Iterable[Node]) -> Iterator[Scope]:
    """The scopes that hold some of the nodes, parents before children."""
    held: set[int] = set()
    for node in nodes:
        scope = node.scope
        while scope is not None and id(scope) not in held:
            held.add(id(scope))
            scope = scope.parent
    return (scope for scope in graph.scopes if id(scope) in held)


class Ranges:
    """Regions of nodes that follow each other in execution order, from the number ``start`` to before ``end``. What is
    asked takes the same time for a long range as for a short one: regions inside regions are looked at in linear time.
    """

    def __init__(self, graph: Graph) -> None:
        self._number = {id(node): i for i, node in enumerate(graph.nodes)}
        self._made = {id(v): (i, k) for i, node in enumerate(graph.nodes) for k, v in enumerate(node.outputs)}
        self._returned = {id(value) for value in graph.outputs}
        self._users: dict[int, list[int]] = {}  # of a value, the numbers of the nodes that use it, in order
        for i, node in enumerate(graph.nodes):
            for value in node.inputs:
                self._users.setdefault(id(value), []).append(i)

    def number(self, node: Node) -> int:
        """Where a node stands in execution order."""
        return self._number[id(node)]

    def made(self, value: Value) -> tuple[int, int] | None:
        """The number of the node that made a value, and which of its outputs it is; None if no node did."""
        return self._made.get(id(value))

    def made_at(self, value: Value) -> int:
        """The number of the node that made it, -1 if none did."""
        return self._made.get(id(value), (-1, 0))[0]

    def is_returned(self, value: Value) -> bool:
        return id(value) in self._returned

    def users_outside(self, value: Value, start: int, end: int) -> Iterator[int]:
        """The numbers of the nodes that use a value, without those in a range; twice of one that uses it twice."""
        return (number for number in self._users.get(id(value), []) if not start <= number < end)

    def leaving(self, values: Iterable[Value], end: int) -> list[Value]:
        """Those of the values, made in a range that ends there, that are used from then on, or returned."""
        return [v for v in values if id(v) in self._returned or self._users.get(id(v), [-1])[-1] >= end]

    def is_private(self, value: Value, start: int, end: int, among: tuple[int, int] | None = None) -> bool:
        """Whether a range of nodes alone uses a value that no node made: a parameter of its own, say. Another call of
        the same module uses that again; so ``among`` may say in which larger range nobody else may use it.
        """
        if id(value) in self._made or id(value) in self._returned:
            return False
        users = self._users[id(value)]
        before, after = (0, len(users)) if among is None else (bisect_left(users, at) for at in among)
        return before < after and start <= users[before] and users[after - 1] < end
