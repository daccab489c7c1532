"""How a graph shows itself: in a notebook as a picture if it is small, as the interactive page if it is not, or if
there is no Graphviz to draw the picture with; elsewhere as the page in the browser.

What it shows is asked of the exporters by name, so that this file knows no format's inside; where none is installed,
or one fails, the notebook shows what `repr` says. A display never raises.
"""

import html
import os
import sys
import tempfile
import warnings
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recorder.errors import RecorderError
from recorder.plugins.exporting import export, save

if TYPE_CHECKING:
    from recorder.graph.core import Graph

__all__ = ["mimebundle", "open_in_browser", "show"]

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


def show(graph: "Graph", text: str, options: Mapping[str, Any]) -> Path | None:
    """Show a graph to whoever is there: in a notebook as an output, else as a page in the browser; where there is none,
    say where the page is. Returns the page's file, or None in a notebook.
    """
    if not options and _in_notebook():
        from IPython.display import display

        display(mimebundle(graph, text), raw=True)  # type: ignore[no-untyped-call]
        return None
    page = Path(tempfile.mkdtemp(prefix="recorder-")) / "graph.html"
    save(graph, page, **options)
    if not open_in_browser(page):
        print(f"there is no browser to open it in: the page is {page}")
    return page


def _in_notebook() -> bool:
    """Whether what is displayed is shown below a cell."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def open_in_browser(page: Path) -> bool:
    """Show a file in the user's browser. False if there is none, or none with a window: a browser of letters would
    take the terminal, and could not show the page.
    """
    on_a_desktop = sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    )
    try:
        return on_a_desktop and webbrowser.open(page.resolve().as_uri())
    except webbrowser.Error:
        return False
