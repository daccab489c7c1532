"""Text as Graphviz reads it: HTML-like labels, which alone allow two sizes of type in one label, and tooltips.

A name may hold any characters. What is meant to be read passes `legible` first, then the escapes.
"""

import textwrap
from collections.abc import Sequence

from recorder import Node
from recorder_exporters.drawing.scene import Box, Frame, Line, Part
from recorder_exporters.drawing.styles import Style
from recorder_exporters.drawing.words import legible, visible

__all__ = [
    "escaped",
    "heading",
    "is_prominent",
    "label_at_the_right",
    "label_of_arrow",
    "label_of_box",
    "label_of_frame",
    "tooltip",
]

LABEL_LIMIT = 48
"""Characters of a name that are drawn; the tooltip has all of them."""


WIDEST_TITLE = 170
"""Points of a title beside which room is kept."""

NAMES = ("operation", "tensor", "name", "member", "dtype")
"""What may be long, or empty."""

SMALLEST = ("shape", "member", "more")
"""The lines that begin so matter least."""


def label_of_box(box: Box, faint: str) -> str:
    """The lines of a box, a dtype in a fainter colour. The name of a module's call is bold, and so is that of a tensor
    which does not just lie in the model.
    """
    made = box.subject.kind == "module" if isinstance(box.subject, Node) else is_prominent(box)
    lines = [_first(box.lines[0], bold=made), *(text for line in box.lines[1:] for text in _further(line, faint))]
    return f"<{'<br/>'.join(lines)}>"


def is_prominent(box: Box) -> bool:
    """Whether a tensor's box is as large as an operation's."""
    return box.look in ("input", "output", "activation")


def label_of_frame(frame: Frame, nameless: bool) -> str:
    """The lines of a cluster, at its right side, without its heading if that is said elsewhere."""
    heading, *others = frame.lines
    lines = [] if nameless else ["  ".join(map(_in_heading, heading))]
    lines += [text for line in others for text in _further(line, "")]
    return "<" + "".join(f'{line}<br align="left"/>' for line in lines) + ">" if lines else '""'


def label_at_the_right(label: str, text: str) -> str:
    """The label of a cluster at its right side, with as much room at the left: the cluster is as wide as that, and an
    arrow that enters it in the middle does not run through the title. ``text`` is its longest line; where that is
    wider than most clusters, they would only grow.
    """
    width = 4.5 * len(text)
    if not 0 < width <= WIDEST_TITLE:
        return label
    cells = f'<td fixedsize="true" width="{width + 20:.0f}" height="4"></td><td align="left">{label[1:-1]}</td>'
    return f'<<table border="0" cellborder="0" cellspacing="0" cellpadding="0"><tr>{cells}</tr></table>>'


def label_of_arrow(words: Line, faint: str, apart: str = "&#160;", flat: bool = False) -> str:
    """The words on an edge, one below the other or in one line, with spaces around that keep them off it."""
    parts = [f"{apart}{_part(part, faint)}{apart}" for part in words]
    return f"<{' '.join(parts)}>" if flat else "<" + "".join(f'{part}<br align="left"/>' for part in parts) + ">"


def _first(line: Line, bold: bool) -> str:
    markup = ""
    for part in line:
        if part.role == "times":
            markup += f"  <b>{escaped(part.text)}</b>"
        elif part.role == "arguments":
            markup += small(f"  {escaped(part.text)}")
        elif part.role in NAMES:
            markup += f"<b>{line_of(part.text)}</b>" if bold else line_of(part.text)
    return markup


def _in_heading(part: Part) -> str:
    if part.role == "times":
        return f"<b>{small(escaped(part.text), 12)}</b>"
    return f"<b>{line_of(part.text)}</b>" if part.role == "name" else line_of(part.text)


def _further(line: Line, faint: str) -> list[str]:
    """Any line but the first, as one of markup, or as some."""
    kind = line[0].role
    if kind == "error":
        return _wrapped(line[0].text)
    between = " · " if kind in ("name", "size") else " "
    return [small(between.join(_part(part, faint) for part in line), 8 if kind in SMALLEST else 9)]


def _part(part: Part, faint: str) -> str:
    markup = line_of(part.text) if part.role in NAMES else escaped(part.text)
    return f'<font color="{faint}">{markup}</font>' if part.role == "dtype" else markup


def small(markup: str, size: int = 9) -> str:
    """Markup in a smaller type, of so many points."""
    return f'<font point-size="{size}">{markup}</font>'


def heading(title: str, kinds: Sequence[Style], columns: int, scale: Sequence[Style | str] = (), less: str = "") -> str:
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


def _wrapped(error: str) -> list[str]:
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
