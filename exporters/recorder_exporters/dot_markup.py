"""Text as Graphviz reads it: HTML-like labels, which alone allow two sizes of type in one label, and tooltips.

A name may hold any characters. What is meant to be read passes `visible` and `shortened` first, then the escapes.
"""

import textwrap

from recorder import Value
from recorder_exporters.look import shape_of, shortened, visible

__all__ = ["escaped", "line_of", "shape_and_dtype", "shape_over_dtype", "small", "tooltip", "wrapped"]

LABEL_LIMIT = 48
"""Characters of a name that are drawn; the tooltip has all of them."""


def shape_and_dtype(value: Value) -> str:
    """Markup for a tensor on one line, the dtype paler."""
    return f"{escaped(shape_of(value))} {_dtype(value)}"


def shape_over_dtype(value: Value) -> str:
    """Markup for a tensor on two lines, with spaces around that keep it off an edge."""
    lines = (escaped(shape_of(value)), _dtype(value))
    return "".join(f'&#160;{line}&#160;<br align="left"/>' for line in lines)


def _dtype(value: Value) -> str:
    return f'<font color="#858d98">{line_of(value.dtype)}</font>'


def small(markup: str, size: int = 9) -> str:
    """Markup in a smaller type, of so many points."""
    return f'<font point-size="{size}">{markup}</font>'


def wrapped(error: str) -> list[str]:
    """The beginning of an error's words, in a few short lines of markup."""
    lines = textwrap.wrap(visible(" ".join(error.split())), 44, max_lines=4, placeholder=" …")
    return [small(escaped(line)) for line in lines]


def line_of(text: str) -> str:
    """One line of markup for a name of any characters, shortened."""
    return escaped(shortened(visible(text), LABEL_LIMIT)) or "<i>unnamed</i>"


_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "]": "&#93;", "\\": 2 * "\\"})


def escaped(text: str) -> str:
    """Markup for a text. Graphviz reads backslash escapes even there, and chokes on a ``]`` before a tag."""
    return text.translate(_MARKUP)


def tooltip(lines: list[str]) -> str:
    """A quoted string of several lines. Graphviz decodes entities in it once and backslash escapes twice."""
    shown = [shortened(visible(line), 200) for line in lines if line]
    if len(shown) > 24:
        shown = [*shown[:23], f"… and {len(shown) - 23} more"]
    text = "\n".join(shown).replace("\\", 4 * "\\").replace("&", "&amp;").replace('"', "&quot;")
    return '"' + text.replace("\n", "\\n") + '"'
