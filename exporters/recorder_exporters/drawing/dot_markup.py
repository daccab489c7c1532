"""Text as Graphviz reads it: HTML-like labels, which alone allow two sizes of type in one label, and tooltips.

A name may hold any characters. What is meant to be read passes `legible` first, then the escapes.
"""

import textwrap
from collections.abc import Sequence

from recorder import Value
from recorder_exporters.drawing.words import Style, legible, shape_of, visible

__all__ = ["escaped", "heading", "line_of", "shape_and_dtype", "shape_over_dtype", "small", "tooltip", "wrapped"]

LABEL_LIMIT = 48
"""Characters of a name that are drawn; the tooltip has all of them."""


def shape_and_dtype(value: Value, faint: str) -> str:
    """Markup for a tensor on one line, the dtype in a fainter colour."""
    return f"{escaped(shape_of(value))} {_dtype(value, faint)}"


def shape_over_dtype(value: Value, shape: bool, dtype: bool, faint: str) -> str:
    """The same on two lines, or the one that is wanted, with spaces around that keep it off an edge."""
    lines = [*([escaped(shape_of(value))] if shape else []), *([_dtype(value, faint)] if dtype else [])]
    return "".join(f'&#160;{line}&#160;<br align="left"/>' for line in lines)


def _dtype(value: Value, faint: str) -> str:
    return f'<font color="{faint}">{line_of(value.dtype)}</font>'


def small(markup: str, size: int = 9) -> str:
    """Markup in a smaller type, of so many points."""
    return f'<font point-size="{size}">{markup}</font>'


def heading(title: str, kinds: list[Style], columns: int, scale: Sequence[Style | str] = (), less: str = "") -> str:
    """A label of title and legend, any part of which may be empty. ``scale`` has colours and words in order; ``less``
    says what is not drawn.
    """
    rows = [f"<tr><td><b>{line_of(title)}</b></td></tr>"] if title else []
    if kinds:
        # The row of a scale is the wider one, and pulls cells apart: swatch and words have to be in one.
        entry = _marked if scale else _entry
        items = list(map(entry, kinds))
        grid = "".join(f"<tr>{''.join(items[i : i + columns])}</tr>" for i in range(0, len(items), columns))
        rows.append(f"<tr><td>{_table(grid, 3)}</td></tr>")
    if scale:
        cells = "".join(f"<td>{small(i)}</td>" if isinstance(i, str) else _swatch(i) for i in scale)
        rows.append(f"<tr><td>{_table(f'<tr>{cells}</tr>', 1)}</td></tr>")
    if less:
        rows.append(f"<tr><td>{small(escaped(less))}</td></tr>")
    rows.append('<tr><td height="6"></td></tr>')
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="2">{"".join(rows)}</table>>'


def _table(rows: str, spacing: int) -> str:
    return f'<table border="0" cellborder="0" cellpadding="1" cellspacing="{spacing}">{rows}</table>'


def _entry(style: Style) -> str:
    """Two cells for a kind: one that looks like what it stands for, and its name."""
    mark = _swatch(style)
    if style.meaning == "gradient":
        mark = f'<td><font color="{style.line}" point-size="9"><b>- - -</b></font></td>'
    return f'{mark}<td align="left">{small(style.meaning)}</td>'


def _marked(style: Style) -> str:
    """One cell for a kind: a sign in the colour of its line, and its name."""
    sign = "- - -" if style.meaning == "gradient" else "■"
    return f'<td>{small(f"""<font color="{style.line}">{sign}</font>&#160;{style.meaning}""")}</td>'


def _swatch(style: Style) -> str:
    """A cell that looks like a box."""
    return f'<td width="14" height="9" fixedsize="true" border="1" color="{style.line}" bgcolor="{style.fill}"></td>'


def wrapped(error: str) -> list[str]:
    """The beginning of an error's words, in a few short lines of markup."""
    lines = textwrap.wrap(visible(" ".join(error[:1_000].split())), 44, max_lines=4, placeholder=" …")
    return [small(escaped(line)) for line in lines]


def line_of(text: str) -> str:
    """One line of markup for a name of any characters, shortened."""
    return escaped(legible(text, LABEL_LIMIT)) or "<i>unnamed</i>"


_MARKUP = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", "]": "&#93;", "\\": 2 * "\\"})


def escaped(text: str) -> str:
    """Markup for a text. Graphviz reads backslash escapes even there, and chokes on a ``]`` before a tag."""
    return text.translate(_MARKUP)


def tooltip(lines: list[str]) -> str:
    """A quoted string of several lines. Graphviz decodes entities in it once and backslash escapes twice."""
    shown = [legible(line, 200) for line in lines if line]
    if len(shown) > 24:
        shown = [*shown[:23], f"… and {len(shown) - 23} more"]
    text = "\n".join(shown).replace("\\", 4 * "\\").replace("&", "&amp;").replace('"', "&quot;")
    return '"' + text.replace("\n", "\\n") + '"'
