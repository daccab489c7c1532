"""fold() shows what repeats once. Which node stands for which is worked out here from what the view says of itself, by
counting nodes; then every edge of the original has to be an edge of the view, and the other way round.
"""

from collections.abc import Callable
from itertools import count
from typing import NamedTuple

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from support import strategies

from recorder import Graph, Node, Scope, assemble, collapse, dumps, fold, loads, readable, unfold
from recorder.testing import StreamBuilder, chain, sample_graphs
from recorder.views.matching import is_group


class Run(NamedTuple):
    """What repeats: ``repeats`` times ``size`` nodes of the original, from number ``start`` on."""

    start: int
    size: int
    repeats: int


def runs_of(view: Graph, original: Graph) -> list[Run]:
    """The runs of a view, outer ones before inner ones. Places of a view are as large as what is in them says."""
    number = {node.name: i for i, node in enumerate(original.nodes)}
    sizes: dict[int, int] = {}
    first: dict[int, int] = {}
    found = []
    inside: dict[int, list[Node | Scope]] = {}
    seen = set()
    for node in view.nodes:
        place: Node | Scope | None = node
        while place is not None and id(place) not in seen:
            seen.add(id(place))
            around = place.scope if isinstance(place, Node) else place.parent
            inside.setdefault(id(around), []).append(place)
            place = around
    for place in (*view.nodes, *reversed(view.scopes)):
        children = inside.get(id(place), [])
        if isinstance(place, Scope) and not children:
            continue
        size = 1 if isinstance(place, Node) else sum(sizes[id(child)] for child in children)
        start = first[id(place)] = number[place.name] if isinstance(place, Node) else first[id(children[0])]
        repeats = place.meta.get("repeats", 1)
        sizes[id(place)] = size * repeats
        if repeats > 1:
            found.append(Run(start, size, repeats))
            check_names(place, Run(start, size, repeats), original)
    assert sum(sizes[id(place)] for place in inside.get(id(None), [])) == len(original.nodes)
    return sorted(found, key=lambda run: (run.start, -run.size * run.repeats))


def check_names(place: Node | Scope, run: Run, original: Graph) -> None:
    """Of one block that repeats, each name is the one of the place that begins there."""
    names = place.meta["repeated"]
    if len(names) == run.repeats:
        for repetition, name in enumerate(names):
            node = original.nodes[run.start + repetition * run.size]
            around = [] if node.scope is None else [scope.name for scope in node.scope.ancestors()]
            assert name in (node.name, *around)
    assert len(names) % run.repeats == 0


def address(number: int, runs: list[Run]) -> tuple[list[tuple[Run, int]], int]:
    """In which repetition of which runs a node is, and the number of the one that stands for it."""
    path = []
    for run in runs:
        if run.start <= number < run.start + run.size * run.repeats:
            repetition, offset = divmod(number - run.start, run.size)
            path.append((run, repetition))
            number = run.start + offset
    return path, number


def check(graph: Graph, view: Graph) -> None:
    view.lint()
    runs = runs_of(view, graph)
    number = {id(node): i for i, node in enumerate(graph.nodes)}
    at = [address(i, runs) for i in range(len(graph.nodes))]
    assert [node.name for node in view.nodes] == [graph.nodes[i].name for i, (_, shown) in enumerate(at) if shown == i]
    for node, (_, shown) in zip(graph.nodes, at, strict=True):
        alike = graph.nodes[shown]
        for fact in ("kind", "op_type", "target", "attributes", "error"):
            assert getattr(node, fact) == getattr(alike, fact)
        assert [(v.shape, v.dtype) for v in node.outputs] == [(v.shape, v.dtype) for v in alike.outputs]
    expected = set()
    leaving: dict[tuple[Run, str, str], set[int]] = {}
    for edge in graph.edges():
        source, target = number[id(edge.source)], number[id(edge.target)]
        (from_, shown), (to, user) = at[source], at[target]
        names = graph.nodes[shown].name, graph.nodes[user].name
        apart = next(((a, b) for a, b in zip(from_, to) if a != b), None)
        if apart is not None and apart[0][0] == apart[1][0]:
            assert apart[1][1] == apart[0][1] + 1, "only from one repetition to the next"
            continue
        expected.add(names)
        for run, repetition in from_:
            if run not in [other for other, _ in to]:
                leaving.setdefault((run, *names), set()).add(repetition)
    assert {(edge.source.name, edge.target.name) for edge in view.edges()} == expected
    for (run, *_), repetitions in leaving.items():
        assert repetitions in ({run.repeats - 1}, set(range(run.repeats))), "nothing leaves a run half-way"
    assert [v.name for v in view.initializers] == [v.name for v in graph.initializers]


any_graph = st.one_of(strategies.graphs(), strategies.streams().map(assemble), strategies.repetitive())


@pytest.mark.slow
@settings(deadline=None, max_examples=300)
@given(any_graph)
def test_dataflow_is_kept(graph: Graph) -> None:
    before = dumps(graph, timing=True)
    view = fold(graph)
    check(graph, view)
    assert dumps(graph, timing=True) == before
    assert unfold(view) == graph
    assert fold(view) == view
    assert loads(dumps(view)) == view
    if not any("repeats" in place.meta for place in (*view.nodes, *view.scopes)):
        assert view == graph


@pytest.mark.slow
@settings(deadline=None, max_examples=100)
@given(strategies.repetitive(), st.integers(0, 3))
def test_views_compose(graph: Graph, depth: int) -> None:
    """Folded and collapsed, in either order, nothing is lost in counting; and each is undone without the other."""
    for view in (collapse(fold(graph), depth), fold(collapse(graph, depth)), readable(graph, 5)):
        view.lint()
        assert represented(view) == len(graph.nodes)
    assert unfold(collapse(fold(graph), depth)) == collapse(graph, depth)
    assert unfold(fold(collapse(graph, depth))) == collapse(graph, depth)


def represented(view: Graph) -> int:
    total = 0
    for node in view.nodes:
        stands_for = node.meta.get("collapsed", 1) * node.meta.get("repeats", 1)
        for scope in node.scope.ancestors() if node.scope is not None else ():
            stands_for *= scope.meta.get("repeats", 1)
        total += stands_for
    return total


@pytest.mark.slow
def test_the_strategy_makes_what_has_to_be_tried() -> None:
    # Whether there is one is all that is asked, so no time goes into making it smaller.
    found_as_it_is = settings(max_examples=2_000, database=None, phases=[Phase.generate])

    def has(condition: Callable[[Graph], bool]) -> bool:
        find(strategies.repetitive(), condition, settings=found_as_it_is)
        return True  # else it raises

    def runs(graph: Graph) -> list[Run]:
        return runs_of(fold(graph), graph)

    assert has(lambda graph: any(run.repeats == 5 for run in runs(graph)))
    assert has(lambda graph: any(is_group(scope) for scope in fold(graph).scopes))
    assert has(lambda graph: len({run.start for run in runs(graph)}) < len(runs(graph)))  # a run in a run


# Written down


class Builder:
    """Blocks in a net, by what they use."""

    def __init__(self) -> None:
        self.build = StreamBuilder("Net")
        self.x = self.build.tensor((2, 4))
        self.numbers = count()

    def block(self, *inputs: object, op: str = "relu") -> object:
        name = f"blocks.{next(self.numbers)}"
        with self.build.call(name, "Block", list(inputs)) as block:
            h = self.build.op(f"{name}.fc", "Linear", list(inputs), (2, 4), weight=(4, 4))
            y = self.build.op(None, op, [h], (2, 4))
            block.outputs = [y]
        return y


def told(view: Graph) -> list[tuple[str, int]]:
    return [(place.name, place.meta["repeats"]) for place in (*view.scopes, *view.nodes) if "repeats" in place.meta]


def test_a_chain() -> None:
    b = Builder()
    with b.build.call("", "Net", [b.x]) as net:
        y = b.x
        for _ in range(12):
            y = b.block(y)
        net.outputs = [b.build.op(None, "sum", [y], ())]
    graph = assemble(b.build.stream)
    view = fold(graph)
    check(graph, view)
    assert [node.name for node in view.nodes] == ["blocks.0.fc", "blocks.0.relu", "sum"]
    scope = view.nodes[0].scope
    assert scope is not None
    assert scope.meta == {"repeats": 12, "repeated": [f"blocks.{i}" for i in range(12)]}
    assert [v.name for v in view.nodes[2].inputs] == ["blocks.0.relu:0"]
    assert len(view.initializers) == 12
    assert unfold(view, fqn="blocks.5").nodes[2].name == "blocks.5.fc"
    assert told(unfold(view, fqn="blocks.5")) == [("blocks.0", 5), ("blocks.6", 6)]
    assert told(unfold(view, op_type="Block")) == []


def test_a_tensor_that_leaves_half_way_parts_the_run() -> None:
    b = Builder()
    with b.build.call("", "Net", [b.x]) as net:
        y, taken = b.x, None
        for number in range(6):
            y = b.block(y)
            taken = y if number == 2 else taken
        net.outputs = [b.build.op(None, "cat", [y, taken], (4, 4))]
    graph = assemble(b.build.stream)
    check(graph, fold(graph))
    assert told(fold(graph)) == [("blocks.0", 3), ("blocks.3", 3)]


def test_what_all_give_is_given_once() -> None:
    """As hidden states that are all returned, or stacked."""
    b = Builder()
    with b.build.call("", "Net", [b.x]) as net:
        states = [b.x]
        for _ in range(4):
            states.append(b.block(states[-1]))
        net.outputs = [b.build.op(None, "stack", states[1:], (4, 2, 4)), *states[1:]]
    graph = assemble(b.build.stream)
    view = fold(graph)
    check(graph, view)
    assert told(view) == [("blocks.0", 4)]
    assert [v.name for v in view.nodes[-1].inputs] == ["blocks.0.relu:0"]
    assert [(v.name, v.meta) for v in view.outputs] == [("stack:0", {}), ("blocks.0.relu:0", {"repeats": 4})]


def test_the_last_one_has_to_be_used_as_the_others_are() -> None:
    b = Builder()
    with b.build.call("", "Net", [b.x]) as net:
        states = [b.x]
        for _ in range(5):
            states.append(b.block(states[-1]))
        net.outputs = [b.build.op(None, "stack", states[1:-1], (4, 2, 4)), states[-1]]
    graph = assemble(b.build.stream)
    check(graph, fold(graph))
    assert told(fold(graph)) == [("blocks.0", 4)]


def test_branches_of_the_pieces_of_a_tensor() -> None:
    build = StreamBuilder("Net")
    x = build.tensor((2, 12))
    with build.call("", "Net", [x]) as net:
        first = build.op(None, "chunk", [x], *[(2, 4)] * 3)
        made = []
        for number in range(3):
            with build.call(f"{number}", "Head", [first + number]) as head:
                made.append(build.op(f"{number}.fc", "Linear", [first + number], (2, 4), weight=(4, 4)))
                head.outputs = made[-1:]
        net.outputs = [build.op(None, "cat", made, (2, 12))]
    graph = assemble(build.stream)
    view = fold(graph)
    check(graph, view)
    assert told(view) == [("0", 3)]
    assert [v.name for v in view.nodes[1].inputs] == ["chunk:0", "0.fc.weight"]


@pytest.mark.parametrize(("merge", "folded"), [("cat", [("blocks.0", 3)]), ("attention", [])])
def test_branches_beside_each_other(merge: str, folded: list[tuple[str, int]]) -> None:
    """They are a repetition where it does not matter which is which."""
    b = Builder()
    with b.build.call("", "Net", [b.x]) as net:
        net.outputs = [b.build.op(None, merge, [b.block(b.x) for _ in range(3)], (6, 4))]
    graph = assemble(b.build.stream)
    check(graph, fold(graph))
    assert told(fold(graph)) == folded


def test_two_that_take_turns_are_a_pair() -> None:
    b = Builder()
    with b.build.call("", "Net", [b.x]) as net:
        y = b.x
        for number in range(6):
            y = b.block(y, op="relu" if number % 2 else "tanh")
        net.outputs = [y]
    graph = assemble(b.build.stream)
    view = fold(graph)
    check(graph, view)
    group = view.scopes[1]
    assert (group.op_type, group.fqn, group.name) == ("", "", "blocks.0 … blocks.5")
    assert group.meta == {"repeats": 3, "repeated": [f"blocks.{i}" for i in range(6)]}
    assert [scope.parent for scope in view.scopes[2:]] == [group, group]
    assert [node.name for node in collapse(view, 1).nodes] == ["blocks.0", "blocks.1"]  # a group is no level
    (net_node,) = collapse(view, 0).nodes
    assert net_node.meta == {"collapsed": 12}


def test_a_shared_input_and_one_of_each_block() -> None:
    """A mask goes into all; a cache goes into each, and is an input of the graph."""
    b = Builder()
    mask, caches = b.build.tensor((2, 4)), [b.build.tensor((2, 4)) for _ in range(3)]
    with b.build.call("", "Net", [b.x, mask, *caches]) as net:
        y = b.x
        for cache in caches:
            y = b.block(y, mask, cache)
        net.outputs = [y]
    graph = assemble(b.build.stream)
    view = fold(graph)
    check(graph, view)
    assert told(view) == [("blocks.0", 3)]
    assert len(graph.inputs) == 5
    assert [v.meta for v in view.inputs] == [{}, {}, {"repeats": 3}]


def steps(number: int, *wiring: tuple[int, ...]) -> Callable[[StreamBuilder, int, int], int]:
    """Operations of which each uses some of the tensors before, by their numbers: 0 what comes in, 1 what all share."""

    def run(build: StreamBuilder, y: int, shared: int) -> int:
        known = [y, shared]
        for used in wiring:
            known.append(build.op(None, "add", [known[i] for i in used], (2, 4)))
        return build.op(f"fc{number}", "Linear", [known[-1]], (2, 4), weight=(4, 4))

    return run


@pytest.mark.parametrize(
    "wirings",
    [
        [((0, 1),), ((0, 0),)],
        [((0, 1), (2, 2)), ((0, 1), (2, 0))],
        [((0, 1), (0, 1), (2, 3)), ((0, 1), (0, 1), (3, 3))],
        [((0, 1), (2, 0)), ((0, 1), (0, 2))],
        [((0, 0, 1),), ((0, 1, 1),)],
        [((0, 1), (0, 1), (2, 0)), ((0, 1), (0, 1), (3, 0))],
    ],
    ids=["an operand", "inside", "how many", "order", "which operand", "which inside"],
)
@pytest.mark.parametrize("in_scopes", [True, False])
def test_what_is_wired_in_another_way_is_not_folded(wirings: list, in_scopes: bool) -> None:
    for pair, folded in ((wirings, False), (wirings[:1] * 2, True)):
        build = StreamBuilder("Net")
        x, shared = build.tensor((2, 4)), build.tensor((2, 4))
        with build.call("", "Net", [x, shared]) as net:
            y = x
            for number, wiring in enumerate(3 * pair[:1] + pair[1:] if folded else pair[:1] + 3 * pair[1:]):
                if in_scopes:
                    with build.call(f"{number}", "Block", [y, shared]) as block:
                        y = steps(number, *wiring)(build, y, shared)
                        block.outputs = [y]
                else:
                    y = steps(number, *wiring)(build, y, shared)
            net.outputs = [y]
        graph = assemble(build.stream)
        view = fold(graph)
        check(graph, view)
        repeats = [place.meta["repeats"] for place in (*view.scopes, *view.nodes) if "repeats" in place.meta]
        assert repeats == [4 if folded else 3]


@pytest.mark.parametrize("other", ["shape", "argument", "error", "skip"])
def test_what_differs_is_not_folded(other: str) -> None:
    build = StreamBuilder("Net")
    x = build.tensor((2, 4))
    with build.call("", "Net", [x]) as net:
        y = x
        for number in range(2):
            with build.call(f"{number}", "Block", [y]) as block:
                shape = (2, 8) if other == "shape" and number else (2, 4)
                h = build.op(f"{number}.fc", "Linear", [y], shape, weight=(4, 4))
                used = [h, x] if other == "skip" else [h, y]
                y = build.op(None, "add", used, shape, attributes={"alpha": number if other == "argument" else 1})
                block.outputs = [y]
        net.outputs = [y]
    graph = assemble(build.stream)
    if other == "error":
        graph.nodes[-1].error = "ValueError: no"
    check(graph, fold(graph))
    assert told(fold(graph)) == []


def test_calls_of_the_same_model() -> None:
    """The blocks' parameters are used again in the next call, and are each block's own all the same."""
    b = Builder()
    y = b.x
    for _ in range(5):
        b.numbers = count()
        with b.build.call("", "Net", [y]) as net:
            for _ in range(3):
                y = b.block(y)
            net.outputs = [y]
    graph = assemble(b.build.stream)
    view = fold(graph)
    check(graph, view)
    assert told(view) == [("Net", 5), ("blocks.0", 3)]
    assert represented(view) == 30


def test_a_parameter_of_two_blocks_is_no_blocks_own() -> None:
    build = StreamBuilder("Net")
    x, weights = build.tensor((2, 4)), [build.tensor((4, 4), name=f"w{i}") for i in range(3)]
    with build.call("", "Net", [x]) as net:
        y = x
        for number in range(4):
            with build.call(f"{number}", "Block", [y]) as block:
                y = build.op(
                    f"{number}.relu", "ReLU", [build.op(None, "linear", [y, weights[number // 2]], (2, 4))], (2, 4)
                )
                block.outputs = [y]
        net.outputs = [y]
    graph = assemble(build.stream)
    check(graph, fold(graph))
    assert told(fold(graph)) == [("0", 2), ("2", 2)]


def test_what_was_folded_is_like_nothing_else() -> None:
    """How its repetitions were wired is not in the view any more."""
    build = StreamBuilder("Net")

    def block(fqn: str, x: int) -> int:
        with build.call(fqn, "Block", [x]) as call:
            call.outputs = [build.op(None, "add", [x, x], (2,))]
        return call.outputs[0]

    x = build.tensor((2,))
    with build.call("", "Net", [x]) as net:
        y = build.op(None, "cat", [x], (2,))
        beside = build.op(None, "cat", [block("a.0", y), block("a.1", y)], (2,))
        net.outputs = [block("b.1", block("b.0", beside))]
    view = fold(assemble(build.stream))
    assert told(view) == [("a.0", 2), ("b.0", 2)]
    assert fold(view) == view


def test_a_large_graph() -> None:
    graph = chain(20_000, blocks=1_000)
    view = fold(graph)
    assert len(view.nodes) < 50
    assert represented(view) == 20_000


@pytest.mark.parametrize("name", sample_graphs())
def test_samples(name: str) -> None:
    graph = sample_graphs()[name]
    check(graph, fold(graph))


@pytest.mark.parametrize("turns", [0, 1])
def test_blocks_with_one_shared_and_one_own_layer(turns: int) -> None:
    """What is shared is one layer, called again; what is each block's own is not shown as if it were, too."""
    build = StreamBuilder("Net")
    y = build.tensor((2, 4))
    with build.call("", "Net", [y]) as net:
        for number in range(4):
            with build.call(f"{number}", "Block", [y]) as block:
                fqns = ["shared", f"{number}.own"]
                for fqn in fqns[turns:] + fqns[:turns]:
                    y = build.op(fqn, "Linear", [y], (2, 4), weight=(4, 4))
                block.outputs = [y]
        net.outputs = [y]
    graph = assemble(build.stream)
    view = fold(graph)
    check(graph, view)
    assert told(view) == [("0", 4)]
    assert [value.name for value in view.initializers] == [value.name for value in graph.initializers]
    shared, own = (next(v for v in view.initializers if v.name == name) for name in ("shared.weight", "0.own.weight"))
    assert "repeats" not in shared.meta
    assert own.meta["repeats"] == 4
    assert unfold(view) == graph
