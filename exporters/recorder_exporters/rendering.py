"""Graphviz at work: a drawing laid out, its words put where there is room, and drawn.

Graphviz runs twice: dot lays out boxes and lines; then every title and label gets a place, and what has one is only
drawn. Where words find none, dot lays out once more with room for them. graphviz-pure, which cannot draw what is laid
out already, runs once.
"""

import os
import shutil
import subprocess
import sysconfig
import time
from pathlib import Path

from recorder import ExportError
from recorder_exporters.dot import FONT
from recorder_exporters.drawing.dot_drawing import Drawing, Places
from recorder_exporters.drawing.layout import layout_of
from recorder_exporters.drawing.placement import Placement, placement, roomier

__all__ = ["rendered"]

INSTALL = 'install Graphviz (apt install graphviz), or pip install "graph-recorder[graphviz]"'

PURE = "graphviz-pure"

ATTEMPTS = 3
"""Layouts that are tried to have room for all words. A large graph has one."""


def rendered(drawing: Drawing, format: str, timeout: float, *arguments: str) -> bytes:
    """A drawing as Graphviz writes it.

    Raises:
        ExportError: no program is installed, or it failed, or takes longer than so many seconds.
    """
    program = _Program(_found(format), timeout, time.monotonic() + timeout)
    if Path(program.path).stem == PURE:
        # It knows how wide the letters of a font are by the font's name alone, not by the first of a list that it has.
        text = drawing.text().replace(f"fontname={FONT}", "fontname=Helvetica", 3)  # the drawing, its nodes, its edges
        return program.run(text, f"-T{format}", *arguments)
    return program.run(*_arranged(drawing, program), f"-T{format}", *arguments)


def _found(format: str) -> str:
    if found := shutil.which("dot"):
        return found
    # Next to this Python too: an environment that is used without being activated is not on PATH.
    pure = shutil.which(PURE) or shutil.which(PURE, path=sysconfig.get_path("scripts"))
    if pure is None:
        raise ExportError(f"no program to draw {format} with: there is no 'dot' on PATH; {INSTALL}")
    if format in ("pdf", "eps"):
        raise ExportError(
            f"{PURE} writes no {format}, and there is no 'dot' on PATH: apt install graphviz, or take svg"
        )
    return pure


class _Program:
    """A program and the time it has."""

    def __init__(self, path: str, timeout: float, end: float) -> None:
        self.path, self._timeout, self._end = path, timeout, end

    def run(self, text: str, *arguments: str) -> bytes:
        """What it writes of a text."""
        try:
            done = subprocess.run(
                [self.path, *arguments],
                input=text.encode(),
                capture_output=True,
                timeout=max(0.0, self._end - time.monotonic()),
                env={**os.environ, "SOURCE_DATE_EPOCH": "0"},  # newer ones write the time of writing into a PDF
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ExportError(
                f"{self.path} has not finished after {self._timeout:g} seconds; draw less (depth=1), lay out fast "
                "(fast=True), or give it more time (timeout=...)"
            ) from None
        except OSError as error:
            raise ExportError(f"{self.path} could not be started: {error}") from error
        if done.returncode or not done.stdout:
            complaint = done.stderr.decode(errors="replace").strip() or f"it ended with status {done.returncode}"
            raise ExportError(f"{self.path} could not draw the graph: {complaint}")
        if b"too large for" in done.stderr:  # it has scaled the picture down, so that nobody can read it
            raise ExportError(
                "the picture has more than the 32,767 pixels that can be drawn one way; take svg or pdf, fewer pixels "
                "an inch (dpi=...), or draw less (depth=1)"
            )
        return done.stdout


def _arranged(drawing: Drawing, program: _Program) -> tuple[str, ...]:
    """The text of a drawing with the place of everything, and what the program has to be told of it."""
    note = "laid out fast" if drawing.fast else ""
    room = Places()
    best: tuple[Places, Placement] | None = None
    try:
        for _ in range(1 if drawing.fast else ATTEMPTS):
            found = _placed(drawing, program, room, note, None if best is None else best[1])
            if best is None or found.faults < best[1].faults:
                best = room, found
            if found.faults == (0, 0):
                break
            room = roomier(drawing, room, found)
        assert best is not None
        room, found = best
        if found.missing:
            told = " · ".join(filter(None, [note, found.in_words]))
            # The note takes a line of the heading, of which a layout has to know.
            found = found if note else _placed(drawing, program, room, told, found)
            note = told
    except ValueError:
        return (drawing.text(),)  # a layout that cannot be read
    return drawing.at(found.places, note), "-Kneato", "-n2"


def _placed(drawing: Drawing, program: _Program, room: Places, note: str, known: Placement | None) -> Placement:
    layout = layout_of(program.run(drawing.at(room, note, numbered=True), "-Tjson").decode(), drawing.wider)
    return placement(drawing, layout, None if known is None else known.letters)
