"""The lines of a box, a title or an arrow: what of the scene's words stands in which size."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from recorder_exporters.scenes import Line, Part, legible
from recorder_tikz_text import latex, width

__all__ = ["LARGE", "SMALL", "TITLE", "Lines", "further", "heading", "owned", "phrase", "words"]

LARGE, SMALL, TITLE = 8.0, 6.0, 7.0
"""Sizes of type, in points: what ran; what is said of it, and of arrows; titles of frames."""

NAME_LIMIT = 40

BOLD = 1.14
"""How much wider bold type is."""


class Row(NamedTuple):
    """LaTeX of one line, and how large it is."""

    text: str
    width: float
    height: float


@dataclass(frozen=True)
class Lines:
    """Rows one below the other."""

    rows: Sequence[Row]

    def size(self, across: float = 0, up: float = 0) -> tuple[float, float]:
        """Width and height, with so much room at each side."""
        wide = max((row.width for row in self.rows), default=0.0)
        return wide + 2 * across, sum(row.height for row in self.rows) + 2 * up

    def latex(self) -> str:
        return r"\\".join(row.text for row in self.rows)


def _row(pieces: Sequence[tuple[str, str, float]]) -> Row:
    """Pieces of text with their command and size on one line."""
    text = "".join(f"{_type(size)}{command}{{{latex(piece)}}}" for piece, command, size in pieces)
    across = sum(width(piece, size) * (BOLD if command else 1) for piece, command, size in pieces)
    return Row(text, across, max(1.15 * size for _, _, size in pieces))


def _type(size: float) -> str:
    return rf"\fontsize{{{size:g}}}{{{1.2 * size:g}}}\selectfont"


def owned(text: str, size: float) -> Lines:
    """LaTeX of the user's, line by line. How wide it is, is guessed from what is no command."""
    rows = []
    for line in text.split(r"\\"):
        letters = re.sub(r"\\[A-Za-z]+\s*|[\\{}$^_]", "", line)
        rows.append(Row(f"{_type(size)} {line.strip()}", width(letters, size), 1.2 * size))
    return Lines(rows)


def phrase(line: Line, size: float, bold: bool) -> Row:
    """The first line of a box: what ran, or what the tensor is called, and how often."""
    pieces = []
    for part in line:
        gap = "  " if pieces else ""
        if part.role in ("arguments", "shape", "dtype", "number"):
            pieces.append((gap + part.text, "", SMALL))
        elif part.role == "times":
            pieces.append((gap + part.text, r"\textbf", size))
        else:
            pieces.append((gap + _name(part), r"\textbf" if bold else "", size))
    return _row(pieces)


def heading(line: Line) -> Row:
    """The title of a frame: its name, what it is, and how often."""
    pieces = []
    for part in line:
        gap = "  " if pieces else ""
        bold = part.role in ("name", "times")
        pieces.append((gap + _name(part), r"\textbf" if bold else "", TITLE))
    return _row(pieces)


def further(line: Line) -> list[Row]:
    """Any line but the first: an error in some short ones."""
    if line[0].role == "error":
        text = legible(" ".join(line[0].text[:1_000].split()), 1_000)
        wrapped = textwrap.wrap(text, 40, max_lines=3, placeholder=" …")
        return [_row([(row, "", SMALL)]) for row in wrapped]
    between = " · " if line[0].role in ("name", "size") else " "
    return [_row([(between.join(_name(part) for part in line if part.text), "", SMALL)])]


def words(line: Line) -> Lines:
    """What stands beside an arrow."""
    return Lines([_row([(part.text, "", SMALL)]) for part in line])


def _name(part: Part) -> str:
    return legible(part.text, NAME_LIMIT) or "unnamed"
