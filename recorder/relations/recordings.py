"""A recording in whatever form it is at hand: as a graph, as events, or as a file of either, or of an architecture."""

import os
from typing import Protocol, TypeAlias

from recorder.assembly.assembler import assemble
from recorder.errors import StreamError
from recorder.events.stream import EventStream
from recorder.graph import architecture_reader, document
from recorder.graph.architecture import HEAD
from recorder.graph.core import Graph
from recorder.remote import as_place, name_of, opened

__all__ = ["Recorded", "graph_of", "load", "loads"]


class HasGraph(Protocol):
    """A `recorder.Recorder`."""

    @property
    def graph(self) -> Graph: ...


Recorded: TypeAlias = Graph | EventStream | HasGraph | str | os.PathLike[str]
"""All that a graph can be had from."""


def loads(data: bytes | str) -> Graph:
    """Read a graph from its JSON, as `recorder.dumps` writes it, or from the text of its architecture, as
    `recorder.architecture` does.

    Raises:
        StreamError: it is neither; the message says where.
        GraphError: it is one, and the graph in it contradicts itself.
    """
    head = data[: len(HEAD)]
    if head != (HEAD if isinstance(head, str) else HEAD.encode()):
        return document.loads(data)
    try:
        return architecture_reader.read(data if isinstance(data, str) else data.decode())
    except UnicodeDecodeError as error:
        raise StreamError(f"not the text of an architecture: {error}") from error


def load(path: str | os.PathLike[str]) -> Graph:
    """The graph in a file: a recording (``.jsonl``), a graph (``.json``), or an architecture (``.arch``). It may be
    elsewhere, as ``s3://bucket/run.jsonl``, with the extra ``remote``.

    Raises:
        StreamError: the file holds none of these; the message says where.
        GraphError: it holds one, and the graph in it contradicts itself.
        RecorderError: the address cannot be reached; says what to install.
        OSError: the file cannot be read.
    """
    place = as_place(path)
    if name_of(place).endswith((".json", ".arch")):
        with opened(place) as file:
            return loads(file.read())
    return assemble(EventStream.load(path))


def graph_of(recorded: Recorded) -> Graph:
    """The graph of a recording.

    Raises:
        TypeError: it is no recording.
        StreamError, GraphError, OSError: as for `load`.
    """
    if isinstance(recorded, Graph):
        return recorded
    if isinstance(recorded, EventStream):
        return assemble(recorded)
    if isinstance(recorded, str | os.PathLike):
        return load(recorded)
    graph = getattr(recorded, "graph", None)
    if isinstance(graph, Graph):
        return graph
    raise TypeError(f"a recording is a Graph, an EventStream, a Recorder or a path, and not {type(recorded).__name__}")
