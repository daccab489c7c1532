"""A table as text, for rich, as Markdown and as CSV."""

import csv
import json
import math
import re
from collections.abc import Iterator
from io import StringIO
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from recorder.summary.columns import Column
from recorder.summary.rows import Row
from recorder.terminal import harmless, in_encoding, in_one_line

if TYPE_CHECKING:
    from recorder.summary import Summary

__all__ = ["as_csv", "as_json", "as_markdown", "as_table", "as_text"]

_INDENTED = 16
"""Levels that are shown by indentation: deeper ones would be wider than the table."""

_WIDEST, _A_COLUMN = 120, 16
"""Characters of a table that nobody limits: at most so many, or so many for each column if that is more."""


def as_table(summary: "Summary", encoding: str = "utf-8") -> Group:
    """For rich, which fits it into the terminal. It takes lines of its own from what the encoding has."""

    def shown(text: str) -> str:
        return in_encoding(in_one_line(text), encoding)

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for column in summary.columns:
        table.add_column(
            column.heading, justify="right" if column.number else "left", no_wrap=column.number, overflow="fold"
        )
    for row, cells in zip(summary.rows, _cells(summary, encoding=encoding), strict=True):
        table.add_row(*cells, style="red" if row.error else "dim" if row.kind == "function" else None)
    title: list[Text | str] = [Text(shown(summary.title), style="bold"), ""] if summary.title else []
    return Group(*title, table, "", *(Text(shown(line), style="dim") for line in summary.totals()))


def as_text(summary: "Summary", width: int | None, encoding: str = "utf-8") -> str:
    """In characters that an encoding has."""
    width = width or max(_WIDEST, _A_COLUMN * len(summary.columns))
    lines = _unfolded(summary, width, encoding)
    if lines is None:
        text = StringIO()
        Console(file=text, width=width, color_system=None, legacy_windows=False).print(as_table(summary, encoding))
        lines = text.getvalue().splitlines()
    return in_encoding("".join(f"{line.rstrip()}\n" for line in lines), encoding)


def _unfolded(summary: "Summary", width: int, encoding: str) -> list[str] | None:
    """The lines of a table in which nothing has to be folded, as most are; None if something has. It is what rich
    prints, of which 5,000 rows take it six seconds.
    """
    cells = _cells(summary, encoding=encoding)
    rows = [[column.heading for column in summary.columns], *([cell.plain for cell in row] for row in cells)]
    texts = [in_encoding(text, encoding) for text in (summary.title, *summary.totals())]
    if any("\n" in cell or "\t" in cell for row in rows for cell in row) or any(not t.isprintable() for t in texts):
        return None
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if max(sum(widths) + 2 * len(widths) - 2, *map(cell_len, texts)) > width:
        return None
    lines = []
    for row in rows:
        spaces = [" " * (wide - cell_len(cell)) for cell, wide in zip(row, widths, strict=True)]
        padded = zip(row, spaces, summary.columns, strict=True)
        lines.append("  ".join(space + cell if column.number else cell + space for cell, space, column in padded))
    lines.insert(1, "─" * (sum(widths) + 2 * len(widths) - 2))
    return [*([texts[0], ""] if summary.title else []), *lines, "", *texts[1:]]


def as_markdown(summary: "Summary") -> str:
    """A table in GitHub's manner, and the totals as a list."""
    headings = [column.heading for column in summary.columns]
    rules = ["---:" if column.number else "---" for column in summary.columns]
    lines = [f"**{_escaped(in_one_line(summary.title))}**", ""] if summary.title else []
    lines += [f"| {' | '.join(headings)} |", f"|{'|'.join(rules)}|"]
    for row, guide in zip(_cells(summary, guides=False), _guides(summary.rows), strict=True):
        cells = [_escaped(cell.plain) for cell in row]
        for number, column in enumerate(summary.columns):
            if column.name == "module":
                cells[number] = guide.replace(" ", "\N{NO-BREAK SPACE}") + cells[number]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {_escaped(line)}" for line in summary.totals())]) + "\n"


# What GitHub's Markdown could take for a link, a mention, emphasis, code, mathematics, HTML or the end of a cell.
_MARKUP = re.compile(r"[\\`*<>|~&$@]|\[(?![\d\]?])|(?<!\w)_|_(?!\w)|:(?=//)|(?<=[wW])\.")


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is, in one cell."""
    return _MARKUP.sub(lambda mark: f"&#{ord(mark[0])};", in_one_line(text))


def as_csv(summary: "Summary") -> str:
    """The values and not the words, for programs."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column.name for column in summary.columns])
    for record in summary.records():
        writer.writerow([_field(value) for value in record.values()])
    return text.getvalue()


def as_json(summary: "Summary") -> str:
    """The same with the totals, as one object."""
    unknown = None if summary.unknown is None else dict(summary.unknown)
    whole = {"model": summary.title, "rows": summary.records(), "total": dict(summary.total), "unknown": unknown}
    return json.dumps(_finite(whole), indent=2) + "\n"


def _finite(value: Any) -> Any:
    """A value that JSON can hold: it has no NaN, nor infinities, nor half of a character."""
    if isinstance(value, dict):
        return {harmless(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return harmless(value) if isinstance(value, str) else value


def _field(value: Any) -> Any:
    if value is None:
        return ""
    return harmless(value) if isinstance(value, str) else json.dumps(value)


def _cells(summary: "Summary", guides: bool = True, encoding: str = "utf-8") -> Iterator[list[Text]]:
    """What a reader sees, row by row, in characters that an encoding has: how wide they are must be known before they
    are put below each other.
    """
    for row, guide in zip(summary.rows, _guides(summary.rows), strict=True):
        cells = [_cell(column, row, guide if guides else "", summary) for column in summary.columns]
        yield [_in_encoding(cell, encoding) for cell in cells]


def _in_encoding(cell: Text, encoding: str) -> Text:
    if encoding == "utf-8" or cell.plain.isascii():
        return cell
    return Text(in_encoding(cell.plain, encoding))


def _cell(column: Column, row: Row, guide: str, summary: "Summary") -> Text:
    """An error stands where the call's results would."""
    value = column.value(row, summary.total)
    if column.name == "module":
        return Text.assemble((guide, "dim"), in_one_line(row.label), " (not registered)" if row.unregistered else "")
    if column.name == "outputs" and row.error:
        return Text(harmless(row.error))
    if value is None:
        return Text("")
    words = in_one_line(column.said(row, value))
    return Text(f"({words})" if column.name == "parameters" and row.shared else words)


def _guides(rows: list[Row]) -> Iterator[str]:
    """The lines of a tree before each row, as in a listing of folders."""
    goes_on: set[int] = set()  # depths at which a row further down hangs on the same branch
    guides = []
    for row in reversed(rows):
        depth = min(row.depth, _INDENTED)
        goes_on = {level for level in goes_on if level <= depth}
        stems = ["│  " if level in goes_on else "   " for level in range(1, depth)]
        guides.append("".join(stems) + ("" if depth == 0 else "├─ " if depth in goes_on else "└─ "))
        goes_on.add(depth)
    return reversed(guides)
