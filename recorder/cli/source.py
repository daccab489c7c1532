"""What was recorded before, read from a file."""

from pathlib import Path

import click

from recorder.assembly.assembler import assemble
from recorder.events.stream import EventStream
from recorder.graph.core import Graph
from recorder.graph.document import loads
from recorder.plugins.manager import installed

__all__ = ["GRAPH_SUFFIX", "load", "source_argument"]

GRAPH_SUFFIX = ".json"
"""A file with this ending holds a whole graph, and any other a recording."""

source_argument = click.argument("source", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def load(source: Path) -> tuple[Graph, EventStream]:
    """The graph in a file, and the stream that it was assembled from; an empty one for a file that holds a graph.

    Raises:
        StreamError: the file cannot be read.
    """
    if source.suffix == GRAPH_SUFFIX:
        return loads(source.read_bytes()), EventStream()
    stream = EventStream.load(source)
    graph = assemble(stream)
    installed().annotate(graph)
    return graph, stream
