"""From a graph to text, bytes or a file: the exporters, reached by name or by suffix."""

import os
from pathlib import Path
from typing import Any

from recorder.files import utf8
from recorder.graph.core import Graph
from recorder.plugins.manager import Format, installed, options_of
from recorder.relations.diff import Diff
from recorder.relations.divergence import Divergence
from recorder.remote import as_place, name_of, write

__all__ = ["export", "formats", "save"]


def export(graph: Graph, format: str, **options: Any) -> str | bytes:
    """A graph in one format.

    Args:
        graph: what to export.
        format: the name of an installed exporter, for example ``"dot"``; `formats` lists them.
        options: what that exporter takes.

    Raises:
        FormatError: there is no such format; lists what there is.
        OptionError: the exporter has no such option, or it takes another type; lists what it takes.
        ExportError: the exporter could not do its work; says what to do next.
    """
    plugins = installed()
    return plugins.export(plugins.named(format), graph, options)


def save(
    graph: Graph | Diff | Divergence, path: str | os.PathLike[str], format: str | None = None, **options: Any
) -> Path | Any:
    """Write a graph into a file, and return the file's path.

    The suffix picks the exporter, unless ``format`` names one. An existing file is replaced in one step, so that a
    reader sees the old content or the new, and a failed export leaves the old. Folders are not created. Text is written
    as UTF-8, and half of a character, which that cannot hold, as its escape.

    Args:
        graph: what to export: a graph, or a `recorder.Diff`, as one picture of both, or a `recorder.Divergence`, as the
            graph of the second coloured by it; either as words in ``.md`` and ``.txt``.
        path: the file; also ``/dev/stdout``, a pipe, or the address of a file elsewhere, such as
            ``s3://bucket/net.svg``, for which the extra ``remote`` has to be installed; it is returned as it is.
        format: the name of an installed exporter, whatever the suffix.
        options: what that exporter takes.

    Raises:
        FormatError, OptionError, ExportError: as for `export`.
        RecorderError: the address cannot be reached; says what to install.
        OSError: the file cannot be written.
    """
    place = as_place(path)
    plugins = installed()
    name = name_of(place)
    if isinstance(graph, Diff | Divergence) and format is None and name.endswith((".md", ".txt")):
        words = graph.to_markdown() if name.endswith(".md") else f"{graph}\n"
        write(place, [utf8(words)])
        return place
    exporter = plugins.for_file(name) if format is None else plugins.named(format)
    if isinstance(graph, Divergence) and not {"colour_by", "color_by"} & set(options):
        options |= {option.name: "divergence" for option in options_of(exporter) if option.name == "colour_by"}
    if isinstance(graph, Diff | Divergence):
        graph = graph.graph()
    result = plugins.export(exporter, graph, options)
    write(place, [utf8(result) if isinstance(result, str) else result])
    return place


def formats() -> list[Format]:
    """What is installed: name, suffixes, media type, options, and the plugin that brought it."""
    return installed().formats()
