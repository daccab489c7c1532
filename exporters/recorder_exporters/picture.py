"""Pictures: the DOT text rendered by Graphviz, or by graphviz-pure where no Graphviz is installed.

The two are programs with one command line, so what differs is which formats they write: graphviz-pure has no PDF.
"""

import inspect
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from recorder import ROOM, ExportError, Graph, OptionError
from recorder_exporters.dot import FONT, DotExporter

__all__ = ["PdfExporter", "PngExporter", "SvgExporter"]

INSTALL = 'install Graphviz (apt install graphviz), or pip install "graph-recorder[graphviz]"'

PURE = "graphviz-pure"

Export = TypeVar("Export", bound=Callable[..., str | bytes])


def _takes_what_dot_takes(export: Export) -> Export:
    """Write the options of `DotExporter.export` into the signature of a method that hands its ``**drawing`` on to it,
    so that they are listed and checked by name and type, and are spelt out in one place only.
    """
    own, dot = inspect.signature(export), inspect.signature(DotExporter.export)
    parameters = [p for p in own.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    parameters += [p for p in dot.parameters.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    export.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    export.__annotations__ |= {p.name: p.annotation for p in parameters if p.annotation is not inspect.Parameter.empty}
    return export


class SvgExporter:
    """Scalable picture, for the web and for vector editors; hovering shows the details.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "svg", (".svg",), "image/svg+xml"
    room = ROOM

    @_takes_what_dot_takes
    def export(self, graph: Graph, *, timeout: float = 600, **drawing: Any) -> str:
        """The graph as SVG text; the same for the same Graphviz and fonts.

        Raises:
            ExportError: no program to render with is installed, or it failed; says what to do.
        """
        return _render(DotExporter().export(graph, **drawing), "svg", timeout).decode()


class PngExporter:
    """Picture of pixels, for slides and issues.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        dpi: pixels per inch. Graphviz scales a picture of more than 32,767 pixels down.
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "png", (".png",), "image/png"
    room = ROOM

    @_takes_what_dot_takes
    def export(self, graph: Graph, *, dpi: int = 150, timeout: float = 600, **drawing: Any) -> bytes:
        """The graph as a PNG file.

        Raises:
            OptionError: ``dpi`` is not positive.
            ExportError: no program to render with is installed, or it failed; says what to do.
        """
        if dpi <= 0:
            raise OptionError(f"dpi is {dpi}: it counts pixels per inch, from 1")
        return _render(DotExporter().export(graph, **drawing), "png", timeout, f"-Gdpi={dpi}")


class PdfExporter:
    """Vector picture on one page of its own size, for papers.

    Options of `export`: those of `recorder_exporters.dot.DotExporter`, and
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "pdf", (".pdf",), "application/pdf"
    room = ROOM

    @_takes_what_dot_takes
    def export(self, graph: Graph, *, timeout: float = 600, **drawing: Any) -> bytes:
        """The graph as a PDF file.

        Raises:
            ExportError: Graphviz is not installed, or it failed; says what to do.
        """
        pdf = _render(DotExporter().export(graph, **drawing), "pdf", timeout)
        # The same graph gives the same bytes: the time of writing is overwritten, at its own length.
        return re.sub(rb"(?<=/CreationDate \(D:)\d{14}", b"19700101000000", pdf)


def _program(format: str) -> str:
    if found := shutil.which("dot"):
        return found
    # Next to this Python too: an environment that is used without being activated is not on PATH.
    pure = shutil.which(PURE) or shutil.which(PURE, path=sysconfig.get_path("scripts"))
    if pure is None:
        raise ExportError(f"no program to draw {format} with: there is no 'dot' on PATH; {INSTALL}")
    if format == "pdf":
        raise ExportError(f"{PURE} writes no pdf, and there is no 'dot' on PATH: apt install graphviz, or take svg")
    return pure


def _render(text: str, format: str, timeout: float, *arguments: str) -> bytes:
    program = _program(format)
    if Path(program).stem == PURE:
        # It knows how wide the letters of a font are by the font's name alone, not by the first of a list that it has.
        text = text.replace(f"fontname={FONT}", "fontname=Helvetica", 3)  # of the drawing, its nodes and its edges
    try:
        done = subprocess.run(
            [program, f"-T{format}", *arguments],
            input=text.encode(),
            capture_output=True,
            timeout=timeout,
            env={**os.environ, "SOURCE_DATE_EPOCH": "0"},  # newer ones write the time of writing into a PDF
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ExportError(
            f"{program} has not finished after {timeout:g} seconds; draw less (depth=1), lay out fast (fast=True), "
            "or give it more time (timeout=...)"
        ) from None
    except OSError as error:
        raise ExportError(f"{program} could not be started: {error}") from error
    if done.returncode or not done.stdout:
        complaint = done.stderr.decode(errors="replace").strip() or f"it ended with status {done.returncode}"
        raise ExportError(f"{program} could not draw the graph: {complaint}")
    return done.stdout
