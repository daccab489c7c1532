"""Graphviz at work: a drawing laid out, its words put where there is room, and drawn.

Graphviz runs twice: dot lays out boxes and lines; then every title and label gets a place, and what has one is only
drawn. Where words find none, dot lays out once more with room for them. graphviz-pure, which cannot draw what is laid
out already, runs once.
"""

from recorder import ExportError
from recorder_exporters.dot import FONT
from recorder_exporters.drawing.columns import in_columns
from recorder_exporters.drawing.dot_drawing import Drawing, Places
from recorder_exporters.drawing.layout import layout_of
from recorder_exporters.drawing.placement import Placement, placement, roomier
from recorder_exporters.graphviz import Graphviz, graphviz

__all__ = ["rendered"]

ATTEMPTS = 3
"""Layouts that are tried to have room for all words. A large graph has one."""


def rendered(drawing: Drawing, format: str, timeout: float, *arguments: str) -> bytes:
    """A drawing as Graphviz writes it.

    Raises:
        ExportError: no program is installed, or it failed, or takes longer than so many seconds.
    """
    program = graphviz(format, timeout)
    if program.is_pure:
        if drawing.columns > 1:
            raise ExportError("graphviz-pure breaks no chain into columns (wrap): apt install graphviz")
        # It knows how wide the letters of a font are by the font's name alone, not by the first of a list that it has.
        text = drawing.text().replace(f"fontname={FONT}", "fontname=Helvetica", 3)  # the drawing, its nodes, its edges
        return program.run(text, f"-T{format}", *arguments)
    return program.run(*_arranged(drawing, program), f"-T{format}", *arguments)


def _arranged(drawing: Drawing, program: Graphviz) -> tuple[str, ...]:
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


def _placed(drawing: Drawing, program: Graphviz, room: Places, note: str, known: Placement | None) -> Placement:
    layout = layout_of(program.run(drawing.at(room, note, numbered=True), "-Tjson").decode(), drawing.wider)
    if drawing.columns > 1:
        layout = in_columns(drawing, layout, drawing.columns, drawing.to_the_right)
    return placement(drawing, layout, None if known is None else known.letters)
