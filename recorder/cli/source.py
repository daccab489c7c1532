"""What was recorded before, read from a file."""

from pathlib import Path

import click

from recorder.assembly.assembler import assemble
from recorder.cli.outputs import STREAM_SUFFIX
from recorder.cli.progress import waiting
from recorder.cli.run_model import HowToRun, run_model
from recorder.events.stream import EventStream
from recorder.graph.core import Graph
from recorder.plugins.manager import installed
from recorder.relations.recordings import loads

__all__ = ["GRAPH_SUFFIX", "load", "load_or_run"]

GRAPH_SUFFIX, TEXT_SUFFIX = ".json", ".arch"
"""A file with these endings holds a whole graph, or the text of its architecture, and any other a recording."""


def load(source: Path) -> tuple[Graph, EventStream]:
    """The graph in a file, and the stream that it was assembled from; an empty one for a file that holds a graph.

    Raises:
        StreamError: the file cannot be read.
    """
    with waiting(f"reading {source}"):
        if source.suffix in (GRAPH_SUFFIX, TEXT_SUFFIX):
            return loads(source.read_bytes()), EventStream()
        stream = EventStream.load(source)
        graph = assemble(stream)
        installed().annotate(graph)
        return graph, stream


def load_or_run(source: str, how: HowToRun) -> tuple[Graph, str | None]:
    """The graph in a file, or that of a model that is run once, and what went wrong with that.

    Raises:
        click.UsageError: there is no such file or model.
        StreamError: the file cannot be read.
    """
    if source.endswith(".py") or not (
        source.endswith((STREAM_SUFFIX, GRAPH_SUFFIX, TEXT_SUFFIX)) or Path(source).is_file()
    ):
        run, failure = run_model(source, how)
        return run.graph, failure
    if how.measures:
        raise click.UsageError(
            f"{source} is recorded already: --gradients and --values are for a model that is to be run"
        )
    if how.inputs:
        raise click.UsageError(f"{source} is recorded already: --input is for a model that is to be run")
    if not Path(source).is_file():
        raise click.UsageError(f"there is no file {source}")
    return load(Path(source))[0], None
