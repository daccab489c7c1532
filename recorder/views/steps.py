"""How a view was made, so that a part of it can be undone.

A view remembers the graph that it comes from and the steps from there. To open one module again, `expand` repeats the
steps with an exception; nothing has to be put back into a graph from which it was taken.
"""

from collections.abc import Callable
from dataclasses import dataclass

from recorder.graph.core import Graph

__all__ = ["Origin", "Step", "derived", "repeated"]

Step = Callable[[Graph], Graph]
"""A pure function, and an object that can be compared and changed: a frozen dataclass."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The graph that a view was made of, and the steps that made it."""

    graph: Graph
    steps: tuple[Step, ...]


def derived(graph: Graph, step: Step) -> Graph:
    """What a step makes of a graph, which remembers it."""
    view = step(graph)
    before = graph._origin or Origin(graph, ())
    view._origin = Origin(before.graph, (*before.steps, step))
    return view


def repeated(view: Graph, change: Callable[[Step], Step | None]) -> Graph:
    """The view made anew, with each of its steps changed, or left out where ``change`` returns None."""
    if view._origin is None:
        return view
    graph = view._origin.graph
    for step in map(change, view._origin.steps):
        if step is not None:
            graph = derived(graph, step)
    return graph
