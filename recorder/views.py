"""Views: pure functions from a graph to a graph that is easier to read. The original is never changed."""

from collections.abc import Callable
from dataclasses import replace

from recorder.collector import collector_held_back
from recorder.graph import Graph, Node, Scope, Value
from recorder.names import Namespace

__all__ = ["collapse", "collapse_to_fit"]


def collapse(graph: Graph, depth: int) -> Graph:
    """Show every module call below a depth as one node.

    Dataflow is kept: there is an edge between two nodes of the view exactly if there was one between nodes that they
    stand for. A collapsed node is of kind "module"; its inputs are the values that entered the scope, its outputs those
    that were used outside or returned, and ``meta["collapsed"]`` counts the nodes inside.

    Args:
        graph: any graph.
        depth: how many levels of scopes stay open. 0 shows each outermost call as one node, 1 opens it, and so on.

    Raises:
        ValueError: the depth is negative.
    """
    if depth < 0:
        raise ValueError(f"depth is {depth}: it counts the levels of scopes that stay open, from 0")
    levels: dict[int, int] = {}
    for scope in graph.scopes:
        levels[id(scope)] = 0 if scope.parent is None else levels[id(scope.parent)] + 1
    return _contract(graph, lambda scope: levels[id(scope)] >= depth)


def collapse_to_fit(graph: Graph, fits: Callable[[Graph], bool]) -> tuple[Graph, int | None]:
    """A view that fits, as deep as possible, and the depth at which it was cut: None if the whole graph fits. If
    nothing does, the view of depth 0.

    The depth is found by bisection, as if a shallower view of one that fits always fitted too.
    """
    if fits(graph):
        return graph, None
    best, best_depth = collapse(graph, 0), 0
    too_deep = max((sum(1 for _ in scope.ancestors()) for scope in graph.scopes), default=0)
    while best_depth + 1 < too_deep:
        depth = (best_depth + too_deep) // 2
        view = collapse(graph, depth)
        if fits(view):
            best, best_depth = view, depth
        else:
            too_deep = depth
    return best, best_depth


@collector_held_back()
def _contract(graph: Graph, closed: Callable[[Scope], bool]) -> Graph:
    """Replace each outermost scope for which ``closed`` holds by one node.

    A module call is contiguous in time, so replacing it by one node at its first node's place keeps the order
    topological and makes no cycle.
    """
    kept: dict[int, Scope] = {}
    home: dict[int, Scope] = {}  # a scope at or below a closed one -> the closed one
    for scope in graph.scopes:
        parent = scope.parent
        if parent is not None and id(parent) in home:
            home[id(scope)] = home[id(parent)]
        elif closed(scope):
            home[id(scope)] = scope
        else:
            kept[id(scope)] = replace(
                scope,
                parent=None if parent is None else kept[id(parent)],
                attributes=dict(scope.attributes),
                meta=dict(scope.meta),
            )

    groups: dict[int, list[Node]] = {}
    for node in graph.nodes:
        at = node if node.scope is None else home.get(id(node.scope), node)
        groups.setdefault(id(at), []).append(node)

    copies: dict[int, Value] = {}

    def copy(value: Value) -> Value:
        if id(value) not in copies:
            copies[id(value)] = replace(value, meta=dict(value.meta))
        return copies[id(value)]

    names = Namespace()  # a scope may have the name of a node, and now becomes one
    for node in graph.nodes:
        if node.scope is None or id(node.scope) not in home:
            names.unique(node.name)

    returned = {id(value) for value in graph.outputs}
    nodes = []
    for members in groups.values():
        around = members[0].scope
        if around is None or id(around) not in home:
            (node,) = members
            inputs, outputs = list(node.inputs), list(node.outputs)
            view = replace(
                node,
                scope=None if around is None else kept[id(around)],
                attributes=dict(node.attributes),
                meta=dict(node.meta),
            )
        else:
            view = _as_node(home[id(around)], kept)
            view.name = names.unique(view.name)
            view.meta["collapsed"] = sum(node.meta.get("collapsed", 1) for node in members)
            inside = {id(node) for node in members}
            inputs = [v for node in members for v in node.inputs if v.producer is None or id(v.producer) not in inside]
            inputs = list({id(v): v for v in inputs}.values())
            outputs = [
                v
                for node in members
                for v in node.outputs
                if id(v) in returned or any(id(user) not in inside for user, _ in v.uses)
            ]
        view.inputs = tuple(copy(v) for v in inputs)
        view.outputs = tuple(copy(v) for v in outputs)
        nodes.append(view)
    return Graph(
        nodes,
        inputs=[copy(v) for v in graph.inputs],
        outputs=[copy(v) for v in graph.outputs],
        initializers=[copy(v) for v in graph.initializers],
        scopes=list(kept.values()),
        name=graph.name,
        meta=dict(graph.meta),
    )


def _as_node(scope: Scope, kept: dict[int, Scope]) -> Node:
    return Node(
        name=scope.name,
        kind="module",
        op_type=scope.op_type,
        target=scope.target,
        fqn=scope.fqn,
        call=scope.call,
        scope=None if scope.parent is None else kept[id(scope.parent)],
        attributes=dict(scope.attributes),
        meta=dict(scope.meta),
        error=scope.error,
        duration_ns=scope.duration_ns,
        backward_ns=scope.backward_ns,
    )
