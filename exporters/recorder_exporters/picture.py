"""Pictures: the DOT text rendered by Graphviz, or by graphviz-pure where no Graphviz is installed.

The two are programs with one command line, so what differs is which formats they write: graphviz-pure has no PDF
and no EPS.
"""

import re
from typing import Any

from recorder import ROOM, Graph, OptionError
from recorder_exporters.dot import drawing_of
from recorder_exporters.drawing.dot_drawing import Drawing
from recorder_exporters.drawing.signature import takes_options_of
from recorder_exporters.rendering import rendered

__all__ = ["EpsExporter", "JpgExporter", "PdfExporter", "PngExporter", "SvgExporter"]


class SvgExporter:
    """Scalable picture, for the web and for vector editors; hovering shows the details.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "svg", (".svg",), "image/svg+xml"
    room = ROOM

    @takes_options_of(drawing_of)
    def export(self, graph: Graph, *, timeout: float = 600, **drawing: Any) -> str:
        """The graph as SVG text; the same for the same Graphviz and fonts.

        Raises:
            ExportError: no program to render with is installed, or it failed; says what to do.
        """
        return rendered(drawing_of(graph, **drawing), "svg", timeout).decode()


class PngExporter:
    """Picture of pixels, for slides and issues.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        dpi: pixels per inch. A picture of more than 32,767 pixels one way cannot be drawn.
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "png", (".png",), "image/png"
    room = ROOM

    @takes_options_of(drawing_of)
    def export(self, graph: Graph, *, dpi: int = 150, timeout: float = 600, **drawing: Any) -> bytes:
        """The graph as a PNG file.

        Raises:
            OptionError: ``dpi`` is not positive.
            ExportError: no program to render with is installed, or it failed; says what to do.
        """
        return _pixels(drawing_of(graph, **drawing), "png", dpi, timeout)


class JpgExporter:
    """Picture of pixels for programs that take no other; letters are less sharp in it than in a PNG.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        dpi: pixels per inch. A picture of more than 32,767 pixels one way cannot be drawn.
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "jpg", (".jpg", ".jpeg"), "image/jpeg"
    room = ROOM

    @takes_options_of(drawing_of)
    def export(self, graph: Graph, *, dpi: int = 200, timeout: float = 600, **drawing: Any) -> bytes:
        """The graph as a JPEG file.

        Raises:
            OptionError: ``dpi`` is not positive.
            ExportError: no program to render with is installed, or it failed; says what to do.
        """
        return _pixels(drawing_of(graph, **drawing), "jpg", dpi, timeout)


def _pixels(drawing: Drawing, format: str, dpi: int, timeout: float) -> bytes:
    if dpi <= 0:
        raise OptionError(f"dpi is {dpi}: it counts pixels per inch, from 1")
    return rendered(drawing, format, timeout, f"-Gdpi={dpi}")


class PdfExporter:
    """Vector picture on one page of its own size, for papers.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "pdf", (".pdf",), "application/pdf"
    room = ROOM

    @takes_options_of(drawing_of)
    def export(self, graph: Graph, *, timeout: float = 600, **drawing: Any) -> bytes:
        """The graph as a PDF file.

        Raises:
            ExportError: Graphviz is not installed, or it failed; says what to do.
        """
        pdf = rendered(drawing_of(graph, **drawing), "pdf", timeout)
        # The same graph gives the same bytes: the time of writing is overwritten, at its own length.
        return re.sub(rb"(?<=/CreationDate \(D:)\d{14}", b"19700101000000", pdf)


class EpsExporter:
    """Vector picture for LaTeX without PDF, and for journals that ask for it.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "eps", (".eps",), "application/postscript"
    room = ROOM

    @takes_options_of(drawing_of)
    def export(self, graph: Graph, *, timeout: float = 600, **drawing: Any) -> bytes:
        """The graph as Encapsulated PostScript.

        Raises:
            ExportError: Graphviz is not installed, or it failed; says what to do.
        """
        eps = rendered(drawing_of(graph, **drawing), "eps", timeout)
        # The same graph gives the same bytes: the line with the time of writing is a comment.
        return re.sub(rb"(?m)^%%CreationDate:.*\n", b"", eps)
