"""Tensors that come or go side by side as one: `bundled`, for two hundred inputs of one node, or as many outputs.

Each has a box of its own in a drawing, and all these boxes say the same.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from recorder.gc_pause import collector_held_back
from recorder.graph.core import Graph, Value
from recorder.views.copies import Copies
from recorder.views.steps import derived

__all__ = ["bundled"]

FEW = 8
"""So many are shown one by one. What leaves an ellipsis never is: there is nothing to tell its tensors apart by."""

Bundle = list[Value]


def bundled(graph: Graph) -> Graph:
    """A view in which inputs that the same nodes use, and outputs that the same node made and no other uses, are one
    tensor each if they are many; and what goes from one node to an ellipsis, or from an ellipsis to the same nodes,
    always. It is the first of them, whose
    ``meta["repeats"]`` says how many there are. A size in which they differ is -1; those of other dtypes or other
    numbers of dimensions stay apart. The graph itself if there are none.
    """
    return derived(graph, _Bundle()) if any(_bundles(graph)) else graph


@dataclass(frozen=True, slots=True)
class _Bundle:
    @collector_held_back()
    def __call__(self, graph: Graph) -> Graph:
        bundles = list(_bundles(graph))
        first = {id(value): bundle[0] for bundle in bundles for value in bundle}
        gone = {id(value) for bundle in bundles for value in bundle[1:]}
        copies = Copies(lambda value: first.get(id(value), value))
        nodes = []
        for node in graph.nodes:
            copy = copies.node(node)
            copies.narrowed(copy, node, (i for i, value in enumerate(node.inputs) if id(value) not in gone))
            made = [i for i, value in enumerate(node.outputs) if id(value) not in gone]
            copy.outputs = copies.values(node.outputs[i] for i in made)
            copy.output_names = tuple(node.output_names[i] for i in made) if node.output_names else ()
            nodes.append(copy)
        view = copies.graph(
            graph,
            nodes,
            graph.scopes,
            (value for value in graph.inputs if id(value) not in gone),
            (value for value in graph.outputs if id(value) not in gone),
        )
        names = {id(value): value.name for bundle in bundles for value in bundle} | _names(graph)
        for bundle in bundles:
            one, called = copies.value(bundle[0]), _called([names[id(value)] for value in bundle])
            one.meta["repeats"] = sum(int(value.meta.get("repeats", 1)) for value in bundle)
            sizes = zip(*(value.shape for value in bundle))
            one.shape = tuple(size[0] if len(set(size)) == 1 else -1 for size in sizes)
            if one.producer is None:
                one.name = called
            for values, words in ((view.inputs, view.input_names), (view.outputs, view.output_names)):
                for i, value in enumerate(values):
                    if value is one:
                        words[i] = called  # type: ignore[index]
        return view


def _bundles(graph: Graph) -> Iterator[Bundle]:
    """Each with its first value first."""
    given: dict[Hashable, Bundle] = {}
    for value in graph.inputs:
        users = frozenset(id(node) for node, _ in value.uses)
        given.setdefault((users, value.role, *_kind(value)), []).append(value)
    yield from (values for values in given.values() if len(values) > FEW)
    returned = {id(value) for value in graph.outputs}
    for node in graph.nodes:
        if len(node.outputs) < 2:
            continue
        made: dict[tuple[frozenset[int], bool, str, int], Bundle] = {}
        for value in node.outputs:
            users = frozenset(id(user) for user, _ in value.uses)
            made.setdefault((users, id(value) in returned, *_kind(value)), []).append(value)
        for (users, is_returned, *_), values in made.items():
            at_ellipsis = any("between" in place.meta for place in (node, *(user for user, _ in values[0].uses)))
            if len(values) > (1 if at_ellipsis else FEW if is_returned and not users else len(values)):
                yield values


def _kind(value: Value) -> tuple[str, int]:
    return value.dtype, len(value.shape)


def _names(graph: Graph) -> dict[int, str]:
    """What each input and each output is called, outputs without a name by their number."""
    found = {
        id(value): name or str(number) for number, (value, name) in enumerate(zip(graph.outputs, graph.output_names))
    }
    return found | {id(value): name for value, name in zip(graph.inputs, graph.input_names)}


def _called(names: list[str]) -> str:
    return f"{names[0]} … {names[-1]}"
