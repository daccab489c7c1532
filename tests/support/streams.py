"""Streams written down, and graphs in words."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

import recorder
from recorder import Graph
from recorder.testing import StreamBuilder
from recorder.testing.stream_builder import OpenCall

__all__ = ["edges", "names", "net", "of"]


def net(inputs: Sequence[int] = (), *, build: StreamBuilder) -> AbstractContextManager[OpenCall]:
    return build.call("", "Net", inputs)


def edges(graph: Graph) -> list[str]:
    return [f"{edge.source.name} -> {edge.target.name}" for edge in graph.edges()]


def of(graph: Graph, name: str) -> recorder.Node:
    return next(node for node in graph.nodes if node.name == name)


def names(values: Sequence[recorder.Value]) -> list[str]:
    return [value.name for value in values]
