"""What repeats, shown once: `fold`, and back again, `unfold`."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Node, Scope, Value
from recorder.views.alike import alike_in
from recorder.views.copies import Copies
from recorder.views.matching import Patterns, any_of
from recorder.views.repeats import Runs
from recorder.views.steps import Step, derived, repeated

__all__ = ["fold", "unfold"]


def fold(graph: Graph) -> Graph:
    """Show blocks that repeat once: runs of isomorphic siblings, and isomorphic branches beside each other.

    The first block stays and has ``meta["repeats"]`` and ``meta["repeated"]`` (see `recorder.views`). What used the
    last block's tensors uses the first one's, what used those of all of them uses the first one's once. The edges from
    one repetition to the next are gone. Blocks are folded only if those that stand between others are used by
    their neighbours alone, so that nothing that leaves the run half-way is hidden.

    Initializers all stay, though those of the other blocks have no uses. Inputs and outputs of the graph that belong to
    each block are there once, and their own ``meta["repeats"]`` says how often they were.

    Args:
        graph: any graph, views too. After `collapse`, blocks are alike if they look alike and hold as many nodes.
    """
    return derived(graph, _Fold())


def unfold(view: Graph, *, fqn: Patterns | None = None, op_type: Patterns | None = None) -> Graph:
    """Show what repeats as often as it was there.

    Args:
        view: what `fold` made, or any view of that. What was folded before a graph was saved stays as it is.
        fqn: patterns of the qualified names of blocks to unfold, of which one of a run is enough.
        op_type: patterns of their types. Without any pattern, all are unfolded.
    """
    if fqn is None and op_type is None:
        return repeated(view, lambda step: None if isinstance(step, _Fold) else step)
    named = any_of(fqn, op_type)

    def apart(step: Step) -> Step:
        return replace(step, apart=(*step.apart, named)) if isinstance(step, _Fold) else step

    return repeated(view, apart)


@dataclass(frozen=True, slots=True)
class _Fold:
    """``apart`` says which blocks are not folded."""

    apart: tuple[Callable[[Scope | Node], bool], ...] = ()

    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        runs = Runs(graph, lambda place: any(named(place) for named in self.apart))
        stand_in = runs.blocks.stand_in
        kept = [node for number, node in enumerate(graph.nodes) if stand_in[number] == number]
        numbers = {node: number for number, node in enumerate(graph.nodes)} if graph.links else {}
        copies = Copies(runs.shown, runs.around, lambda node: graph.nodes[runs.blocks.shown(numbers[node])])
        nodes = [copies.node(node) for node in kept]
        for node, copy in zip(kept, nodes):
            copies.narrowed(copy, node, _once(node.inputs, runs))
            _tell(node, copy, runs)
        scopes = list(_scopes(graph, kept, runs))
        for scope in scopes:
            _tell(scope, copies.scope(scope), runs)
        inputs = [_input(value, runs) for value in graph.inputs]
        for side in (inputs, [runs.shown(value) for value in dict.fromkeys(graph.outputs)]):
            for value, times in Counter(side).items():
                if times > 1:
                    copies.value(value).meta["repeats"] = times
        view = copies.graph(graph, nodes, scopes, dict.fromkeys(inputs), _outputs(graph.outputs, runs))
        assert view._shown is not None
        view._shown = view._shown._replace(alike=alike_in(graph, runs))
        return view


def _once(values: Sequence[Value], runs: Runs) -> Iterator[int]:
    """The positions of what a node of the view uses: of a value that stands for others just one."""
    there = {id(value) for value in values if runs.shown(value) is value}
    for position, value in enumerate(values):
        shown = runs.shown(value)
        if shown is value or id(shown) not in there:
            there.add(id(shown))
            yield position


def _input(value: Value, runs: Runs) -> Value:
    """The input of the graph that stands for one: what enters the block that stands for the block it enters."""
    if value.producer is not None or not value.uses:
        return value
    number, position = min((runs.blocks.ranges.number(node), position) for node, position in value.uses)
    stand_in = runs.graph.nodes[runs.blocks.shown(number)]
    return stand_in.inputs[position]


def _outputs(values: Iterable[Value], runs: Runs) -> Iterator[Value]:
    """Those that stand for these, each once; but twice for what was returned twice."""
    first: dict[int, Value] = {}
    for value in values:
        shown = runs.shown(value)
        if first.setdefault(id(shown), value) is value:
            yield shown


def _tell(place: Node | Scope, copy: Node | Scope | None, runs: Runs) -> None:
    told = runs.told.get(id(place))
    if told is not None and copy is not None:
        copy.meta |= {"repeats": told.repeats, "repeated": list(told.names)}


def _scopes(graph: Graph, kept: Iterable[Node], runs: Runs) -> Iterator[Scope]:
    """The scopes of the view, parents before children. Those that never held a node stay with what is around them."""
    held = {
        id(scope)
        for scope in _around(graph.nodes, lambda place: place.scope if isinstance(place, Node) else place.parent)
    }
    holding = {id(scope): scope for scope in _around(kept, runs.around)}
    emitted: set[int] = set()
    for scope in graph.scopes:
        empty = id(scope) not in held and (scope.parent is None or id(scope.parent) in emitted)
        if empty or id(scope) in holding:
            chain: list[Scope] = []
            at: Scope | None = scope
            while at is not None and id(at) not in emitted:
                chain.append(at)
                at = runs.around(at)
            emitted |= set(map(id, chain))
            yield from reversed(chain)
    yield from (scope for key, scope in holding.items() if key not in emitted)  # new ones around nodes alone


def _around(nodes: Iterable[Node], around: Callable[[Node | Scope], Scope | None]) -> Iterator[Scope]:
    """Every scope that holds one of the nodes, parents before children."""
    seen: set[int] = set()
    for node in nodes:
        chain: list[Scope] = []
        scope = around(node)
        while scope is not None and id(scope) not in seen:
            seen.add(id(scope))
            chain.append(scope)
            scope = around(scope)
        yield from reversed(chain)
