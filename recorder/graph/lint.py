"""What a graph says against itself: names that are not unique, calls without order, dataflow that goes in circles."""

from collections import defaultdict
from collections.abc import Iterator
from typing import get_args

from recorder.graph.core import Graph, Node, NodeKind, Role, Scope, Value

__all__ = ["problems_in"]


def problems_in(graph: Graph) -> list[str]:
    """Every contradiction in a graph, in words."""
    values = [*graph.values(), *graph.values_of_calls()]
    return [
        *_of_calls(graph),
        *_of_names(graph, values),
        *_of_scopes(graph),
        *_of_dataflow(graph, values),
        *_of_values(graph, values),
        *_of_links(graph),
    ]


def _of_names(graph: Graph, values: list[Value]) -> Iterator[str]:
    for kind, names in (
        ("nodes", [n.name for n in graph.nodes]),
        ("values", [v.name for v in values]),
        ("scopes", [s.name for s in graph.scopes]),
    ):
        if len(set(names)) == len(names):
            continue
        seen: set[str] = set()
        for name in names:
            if name in seen:
                yield f"two {kind} are named {name!r}"
            seen.add(name)
    kinds = get_args(NodeKind)
    for node in graph.nodes:
        if node.kind not in kinds:
            yield f"node {node.name!r} is of unknown kind {node.kind!r}"
        if node.kind == "module" and (node.fqn is None or node.call is None):
            yield f"module node {node.name!r} lacks fqn or call"
        if node.kind != "module" and (node.fqn is not None or node.call is not None):
            yield f"{node.kind} node {node.name!r} has the fqn or call of a module"


def _of_calls(graph: Graph) -> Iterator[str]:
    for kind, places in (("graph", [graph]), ("scope", graph.scopes), ("node", graph.nodes)):
        for place in places:
            if isinstance(place, Node) and place.kind != "module":
                if place.input_names or place.output_names:
                    yield f"{place.kind} node {place.name!r} has names of inputs or outputs, as only modules have"
                continue
            for what in ("inputs", "outputs"):
                values, names = getattr(place, what), getattr(place, f"{what[:-1]}_names")
                if len(values) != len(names) and (names or not isinstance(place, Node)):
                    yield f"{kind} {place.name!r} has {len(values)} {what} and {len(names)} names for them"


def _of_scopes(graph: Graph) -> Iterator[str]:
    seen: set[int] = set()
    for scope in graph.scopes:
        if scope.parent is not None and id(scope.parent) not in seen:
            yield f"scope {scope.name!r} does not stand after its parent {scope.parent.name!r}"
            return  # the parents may go in a circle, and what follows walks up
        seen.add(id(scope))
    left: set[int] = set()
    open_scopes: dict[int, Scope] = {}  # around the node before, the outermost first
    previous: Scope | None = None
    for node in graph.nodes:
        if node.scope is not None and id(node.scope) not in seen:
            yield f"node {node.name!r} is in scope {node.scope.name!r}, which the graph lacks"
        elif node.scope is not previous:
            previous = node.scope
            entered: list[Scope] = []
            common = node.scope
            while common is not None and id(common) not in open_scopes:
                entered.append(common)
                common = common.parent
            while open_scopes and (common is None or next(reversed(open_scopes)) != id(common)):
                left.add(open_scopes.popitem()[0])
            for scope in reversed(entered):
                if id(scope) in left:
                    yield f"scope {scope.name!r} goes on at node {node.name!r} after it was left"
                    left.discard(id(scope))  # said once
                open_scopes[id(scope)] = scope


def _of_dataflow(graph: Graph, values: list[Value]) -> Iterator[str]:
    # One pass in execution order shows both that the order is topological and that there is no cycle.
    order = {id(node): i for i, node in enumerate(graph.nodes)}
    outputs_of: dict[int, Node] = {}
    uses: defaultdict[int, list[tuple[Node, int]]] = defaultdict(list)
    for i, node in enumerate(graph.nodes):
        for position, value in enumerate(node.inputs):
            uses[id(value)].append((node, position))
            if value.producer is None:
                continue
            if id(value.producer) not in order:
                yield f"{node.name!r} uses {value.name!r}, whose producer {value.producer.name!r} is not in the graph"
            elif order[id(value.producer)] >= i:
                yield f"{node.name!r} uses {value.name!r} before {value.producer.name!r} has made it"
        for value in node.outputs:
            if id(value) in outputs_of:
                yield f"{value.name!r} is made twice, by {outputs_of[id(value)].name!r} and {node.name!r}"
            outputs_of[id(value)] = node
            if value.producer is not node:
                yield f"{node.name!r} makes {value.name!r}, whose producer says otherwise"

    def in_order(uses: list[tuple[Node, int]]) -> list[tuple[int, int]]:
        return sorted((order.get(id(node), -1), position) for node, position in uses)

    for value in values:
        found = uses.get(id(value), [])
        if value.uses != found and in_order(value.uses) != in_order(found):
            yield f"the uses of {value.name!r} are not the inputs that it is"
        if value.producer is not None and id(value) not in outputs_of:
            yield f"{value.name!r} names a producer that does not make it"


def _of_values(graph: Graph, values: list[Value]) -> Iterator[str]:
    roles = get_args(Role)
    for value in values:
        if value.role not in roles:
            yield f"value {value.name!r} has unknown role {value.role!r}"
        if not value.dtype or not value.device:
            yield f"value {value.name!r} lacks dtype or device"
        if not isinstance(value.shape, tuple) or not all(isinstance(size, int) and size >= -1 for size in value.shape):
            yield f"value {value.name!r} has the impossible shape {value.shape!r}"
        if value.producer is not None and value.role != "activation":
            yield f"{value.name!r} is made by {value.producer.name!r} and yet a {value.role}"
    for value in graph.inputs:
        if value.role not in ("input", "parameter", "buffer", "activation"):
            yield f"the graph's input {value.name!r} has the role {value.role}"
    for value in graph.initializers:
        if value.role not in ("parameter", "buffer"):
            yield f"the initializer {value.name!r} has the role {value.role}"


def _of_links(graph: Graph) -> Iterator[str]:
    nodes = set(map(id, graph.nodes))
    for link in graph.links:
        if any(id(node) not in nodes for node in link.nodes()):
            yield f"{link!r} has a node that is not in the graph"
        if tuple(link.members) != link.ranks:
            yield f"{link!r} has nodes of other ranks than it is of"
