"""How a graph shows itself in a notebook: as a picture if it is small, as the interactive page if it is not, or if
there is no Graphviz to draw the picture with.

What it shows is asked of the exporters by name, so that this file knows no format's inside; where none is installed,
or one fails, the notebook shows what `repr` says. A display never raises.
"""

import html
import warnings
from typing import TYPE_CHECKING, Any

from recorder.errors import RecorderError
from recorder.plugins.exporting import export

if TYPE_CHECKING:
    from recorder.graph.core import Graph

__all__ = ["mimebundle"]

LARGEST_PICTURE = 40
"""Nodes that a picture shows at a glance."""

HEIGHT = 640
"""Of the page, in CSS pixels."""


def mimebundle(graph: "Graph", text: str) -> dict[str, Any]:
    """What IPython asks for as ``_repr_mimebundle_``: content by media type, plain ``text`` always among it."""
    shown: dict[str, Any] = {"text/plain": text}
    if len(graph.nodes) <= LARGEST_PICTURE:
        picture = _exported(graph, "svg")
        if picture is not None:
            return shown | {"image/svg+xml": picture}
    page = _exported(graph, "html")
    return shown if page is None else shown | {"text/html": _framed(page)}


def _exported(graph: "Graph", format: str) -> str | None:
    try:
        result = export(graph, format)
    except RecorderError as error:
        if format == "html":
            warnings.warn(f"the graph cannot be shown: {error}", RuntimeWarning, stacklevel=4)
        return None
    return result if isinstance(result, str) else result.decode()


def _framed(page: str) -> str:
    """The page in a frame that may run its own script, and neither reach the notebook nor open anything."""
    return (
        f'<iframe sandbox="allow-scripts allow-downloads" srcdoc="{html.escape(page)}" width="100%" height="{HEIGHT}" '
        'style="border: 0" title="The graph of a recording"></iframe>'
    )
