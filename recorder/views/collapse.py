"""Module calls as single nodes: `collapse`, and back again, `expand`."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope
from recorder.graph.names import Namespace
from recorder.graph.regions import handed_out, taken
from recorder.views.copies import Copies
from recorder.views.matching import Patterns, Where, any_of, is_module, levels
from recorder.views.steps import Step, derived, repeated

__all__ = ["collapse", "collapse_to_fit", "expand", "too_negative"]


def collapse(
    graph: Graph,
    depth: int | None = None,
    *,
    fqn: Patterns | None = None,
    op_type: Patterns | None = None,
    where: Where | None = None,
) -> Graph:
    """Show module calls as one node each: those below a depth, and those that are named.

    Dataflow is kept: there is an edge between two nodes of the view exactly if there was one between nodes that they
    stand for. A collapsed node is of kind "module"; its inputs are the values that were used in the scope, its outputs
    those that the call returned or that were used outside, both in the order of the call, and ``meta["collapsed"]``
    counts the nodes inside.

    Args:
        graph: any graph.
        depth: how many levels of scopes stay open. 0 shows each outermost call as one node, 1 opens it, and so on.
        fqn: patterns of qualified names, such as ``"layer[34].*"`` or ``["*.attn", "*.mlp"]``.
        op_type: patterns of types, such as ``"Bottleneck"`` or ``"transformers.*Attention"``.
        where: a function that says of a scope whether to close it. Of scopes in each other the outermost counts.

    Raises:
        ValueError: the depth is negative, or nothing was said of what to collapse.
    """
    return derived(graph, _Collapse(_asked(depth, fqn, op_type, where, "collapse")))


def expand(
    view: Graph,
    depth: int | None = None,
    *,
    fqn: Patterns | None = None,
    op_type: Patterns | None = None,
    where: Where | None = None,
) -> Graph:
    """Open module calls of a view again, and what is around them; whatever else is closed stays closed, inside too.

    Args:
        view: what `collapse` made, or any view of that. A graph in which nothing was collapsed stays as it is, and so
            does what was collapsed before a graph was saved.
        depth: how many levels of scopes to open at least.
        fqn: patterns of qualified names, as for `collapse`.
        op_type: patterns of types.
        where: a function that says of a scope whether to open it.

    Raises:
        ValueError: the depth is negative, or nothing was said of what to expand.
    """
    asked = _asked(depth, fqn, op_type, where, "expand")

    def with_open(step: Step) -> Step:
        return replace(step, kept_open=(*step.kept_open, asked)) if isinstance(step, _Collapse) else step

    return repeated(view, with_open)


def collapse_to_fit(graph: Graph, fits: Callable[[Graph], bool]) -> tuple[Graph, int | None]:
    """A view that fits, as deep as possible, and the depth at which it was cut: None if the whole graph fits. If
    nothing does, the view of depth 0.

    The depth is found by bisection, as if a shallower view of one that fits always fitted too.
    """
    if fits(graph):
        return graph, None
    best, best_depth = collapse(graph, 0), 0
    too_deep = 1 + max(levels(graph.scopes).values(), default=-1)
    while best_depth + 1 < too_deep:
        depth = (best_depth + too_deep) // 2
        view = collapse(graph, depth)
        if fits(view):
            best, best_depth = view, depth
        else:
            too_deep = depth
    return best, best_depth


def too_negative(depth: int) -> str:
    """What is wrong with a negative depth."""
    return f"depth is {depth}: it counts the levels of scopes that stay open, from 0"


@dataclass(frozen=True, slots=True)
class _Asked:
    """Which scopes a call means. ``below`` is for `collapse`, which means those from a depth on, not those above."""

    depth: int | None
    named: Callable[[Scope], bool]
    below: bool

    def means(self, scope: Scope, level: int) -> bool:
        return (self.depth is not None and (level >= self.depth) == self.below) or self.named(scope)


def _asked(depth: int | None, fqn: Patterns | None, op_type: Patterns | None, where: Where | None, verb: str) -> _Asked:
    if depth is None and fqn is None and op_type is None and where is None:
        raise ValueError(f"say what to {verb}: depth=2, fqn='encoder.*', op_type='Block', or where=a function")
    if depth is not None and depth < 0:
        raise ValueError(too_negative(depth))
    named = any_of(fqn, op_type)
    function = where
    return _Asked(
        depth, named if function is None else lambda scope: named(scope) or function(scope), below=verb == "collapse"
    )


@dataclass(frozen=True, slots=True)
class _Collapse:
    """Close what is asked for, but not what is kept open."""

    asked: _Asked
    kept_open: tuple[_Asked, ...] = ()

    def __call__(self, graph: Graph) -> Graph:
        level = levels(graph.scopes)
        held: set[int] = set()  # open, or around an open one
        for scope in reversed(graph.scopes):
            at = level[id(scope)]
            if id(scope) in held or any(asked.means(scope, at) for asked in self.kept_open):
                held |= {id(scope), id(scope.parent)}
        closed = {
            id(scope)
            for scope in graph.scopes
            if is_module(scope) and id(scope) not in held and self.asked.means(scope, level[id(scope)])
        }
        return _contract(graph, closed)


@collector_held_back()
def _contract(graph: Graph, closed: set[int]) -> Graph:
    """Replace each outermost of the closed scopes by one node.

    A module call is contiguous in time, so replacing it by one node at its first node's place keeps the order
    topological and makes no cycle.
    """
    kept: list[Scope] = []
    home: dict[int, Scope] = {}  # a scope at or below a closed one -> the closed one
    times: dict[int, int] = {}  # how often what is in it ran in one run of the closed one
    for scope in graph.scopes:
        parent = scope.parent
        if parent is not None and id(parent) in home:
            home[id(scope)] = home[id(parent)]
            times[id(scope)] = times[id(parent)] * _repeats(scope)
        elif id(scope) in closed:
            home[id(scope)], times[id(scope)] = scope, 1
        else:
            kept.append(scope)

    def closed_around(node: Node) -> Scope | None:
        return None if node.scope is None else home.get(id(node.scope))

    groups: dict[int, list[Node]] = {}
    names = Namespace()  # a scope may have the name of a node, and now becomes one
    for node in graph.nodes:
        scope_or_node = closed_around(node) or node
        groups.setdefault(id(scope_or_node), []).append(node)
        if scope_or_node is node:
            names.unique(node.name)

    copies = Copies()
    returned = {id(value) for value in graph.outputs}
    nodes = []
    for members in groups.values():
        around = closed_around(members[0])
        if around is None:
            nodes.append(copies.node(members[0]))
            continue
        view = copies.collapsed(around, names.unique(around.name))
        view.meta["collapsed"] = sum(
            node.meta.get("collapsed", 1) * _repeats(node) * times[id(node.scope)] for node in members
        )
        inputs, outputs = taken(around, members), handed_out(around, members, returned)
        view.inputs, view.input_names = copies.values(v for v, _ in inputs), tuple(name for _, name in inputs)
        view.outputs, view.output_names = copies.values(v for v, _ in outputs), tuple(name for _, name in outputs)
        nodes.append(view)
    return copies.graph(graph, nodes, kept)


def _repeats(place: Node | Scope) -> int:
    repeats = place.meta.get("repeats", 1)
    return repeats if isinstance(repeats, int) else 1
