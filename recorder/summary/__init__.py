"""The table that ``print(r.summary())`` shows: one row for each module call, indented as they are nested.

`rows` says what the rows are, `columns` what may be known of one, `formats` how a table is written. This file is what
users touch.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from recorder.analysis.metrics import bytes_of, measured
from recorder.errors import ExportError, OptionError
from recorder.figures import FIGURES, bytes_in_words, count_in_words, time_in_words
from recorder.graph.core import Graph, Metrics
from recorder.graph.holdings import BESIDE, INSIDE, elements, remarks, unregistered
from recorder.summary.columns import COLUMNS, DEFAULT, Column
from recorder.summary.formats import as_csv, as_json, as_markdown, as_table, as_text
from recorder.summary.rows import Row, rows_of
from recorder.terminal import encoding_of
from recorder.views.fold import fold as folded

if TYPE_CHECKING:
    from pandas import DataFrame
    from rich.console import Console, ConsoleOptions, RenderResult

__all__ = ["Row", "Summary"]

_KINDS = 6
"""Types of operations without a formula that are named below the table."""


class Summary:
    """A table of module calls in execution order, with totals below. ``str()`` of it is text; rich prints it in colour,
    and a notebook shows it as Markdown.

    Args:
        graph: any graph, which is not changed.
        depth: show calls down to this depth alone, 0 for the outermost; all if None.
        columns: their names in order, or ``"all"``; see `COLUMNS`. If None, a few, without those that have nothing to
            say.
        functions: whether calls of functions have rows, too.
        fold: whether calls that repeat have one row, which says ``× 12`` and has the figures of each of them; those
            that differ, as times and norms, are the sum, ``in all``, or the largest, ``at most``. Rows around it and
            the totals count every one.

    Attributes:
        rows: what is shown, one `Row` for each call.
        total: metrics of the whole graph, as in `recorder.analysis.metrics`; every parameter of the recorded models is
            counted once, used or not, and no other. ``unregistered`` counts those that were used besides.
        remarks: what stands below the totals: what is not registered, and what was never called.
        unknown: how many operations of which type torch has no formula for; None without torch.
        input_bytes: what the graph was given.

    Raises:
        OptionError: there is no such column, or the depth is negative.
    """

    def __init__(
        self,
        graph: Graph,
        depth: int | None = None,
        *,
        columns: Sequence[str] | str | None = None,
        functions: bool = False,
        fold: bool = False,
    ) -> None:
        if depth is not None and depth < 0:
            raise OptionError(f"depth is {depth}: it counts the levels of calls that are shown, from 0")
        figures = measured(graph)
        self.title = graph.name
        self.total = _registered(graph, figures.total)
        self.unknown: Counter[str] | None = figures.unknown
        self.input_bytes = sum(map(bytes_of, graph.inputs))
        self.remarks = remarks(graph)
        self._why_unseen = ", between whose parts functions were not" if graph.meta.get("functions") is False else ""
        self.parameters = int(self.total.get("parameters", 0))
        self.trainable = int(self.total.get("trainable", 0))
        outermost = [row for row in rows_of(graph, figures, functions) if row.depth == 0] if fold else []
        shown = folded(graph) if fold else graph
        rows = rows_of(shown, measured(shown) if fold else figures, functions)
        self.rows: list[Row] = [row for row in rows if depth is None or row.depth <= depth]
        self._outermost = outermost if fold else [row for row in self.rows if row.depth == 0]
        self.columns: tuple[Column, ...] = self._chosen(columns)

    def _chosen(self, names: Sequence[str] | str | None) -> tuple[Column, ...]:
        if names is None:
            chosen = [COLUMNS[name] for name in DEFAULT]
            return tuple(
                c for c in chosen if c.needed or any(c.value(row, self.total) is not None for row in self.rows)
            )
        wanted = tuple(COLUMNS) if names == "all" else (names,) if isinstance(names, str) else tuple(names)
        for name in wanted:
            if name not in COLUMNS:
                raise OptionError(f"there is no column {name!r}; there are: {', '.join(COLUMNS)}")
        return tuple(COLUMNS[name] for name in wanted)

    def records(self) -> list[dict[str, Any]]:
        """The rows as numbers and text, by the names of the columns: times in nanoseconds, shapes as lists, None for
        what is not known.
        """
        return [{column.name: column.value(row, self.total) for column in self.columns} for row in self.rows]

    def totals(self) -> list[str]:
        """What stands below the table, line by line."""
        total = self.total
        size = bytes_in_words(total.get("parameter_bytes", 0))
        lines = [f"{self.parameters:,} parameters, {self.trainable:,} trainable" + (f", {size}" if total else "")]
        if self.unknown is not None and self._outermost:  # of nothing, nobody counts the work
            said = {
                name: FIGURES[name].in_words(total[name], total)
                for name in ("flops", "macs", "flops_backward")
                if name in total
            }
            back = f", {said['flops_backward']} backward" if total.get("flops_backward") else ""
            macs = count_in_words(total.get("macs", 0))
            forward = f"{said['flops']} FLOPs ({macs} multiply-adds)" if "flops" in said else "FLOPs are not known"
            lines.append(f"{forward}{back}")
            if self.unknown:
                kinds = [f"{number} {kind}" for kind, number in self.unknown.most_common(_KINDS)]
                kinds += ["…"] if len(self.unknown) > _KINDS else []
                lines.append(f"without a formula: {', '.join(kinds)}")
            if more := total.get("flops_backward_unknown"):
                lines.append(f"without a formula of backward: {more}")
        if more := total.get("unseen"):
            lines.append(f"did more than was recorded: {more} calls{self._why_unseen}")
        results = FIGURES["activation_bytes"].in_words(total.get("activation_bytes", 0), total)
        lines.append(f"{bytes_in_words(self.input_bytes)} inputs, {results} activations")
        for name, what in (("duration_ns", "forward"), ("backward_ns", "backward")):
            if times := [t for row in self._outermost if (t := getattr(row, name)) is not None]:
                lines[-1] += f" · {time_in_words(sum(times))} {what}"
        return [*lines, *self.remarks]

    def to_text(self, width: int | None = None) -> str:
        """The table in plain characters, ``width`` of them wide at most. If None: 120, or more for many columns."""
        return as_text(self, width)

    def to_markdown(self) -> str:
        """The table as GitHub and notebooks read it, with the totals as a list below."""
        return as_markdown(self)

    def to_csv(self) -> str:
        """`records` as comma-separated values, for programs: one header line, no totals."""
        return as_csv(self)

    def to_json(self) -> str:
        """`records` with the model's name and the totals, as JSON, for programs; NaN and infinities are null."""
        return as_json(self)

    def to_pandas(self) -> "DataFrame":
        """`records` as a data frame.

        Raises:
            ExportError: pandas is not installed.
        """
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise ExportError("a data frame takes pandas: pip install pandas") from error
        return DataFrame(self.records(), columns=[column.name for column in self.columns])

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        yield as_table(self, options.encoding)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def __str__(self) -> str:
        """As wide as the terminal that it is printed on, if it is one, and in characters that standard output has."""
        try:
            width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None
        except (OSError, ValueError, AttributeError):
            width = None
        return as_text(self, width, encoding_of(sys.stdout))

    def __repr__(self) -> str:
        return f"<Summary of {self.title}: {len(self.rows)} rows, {len(self.columns)} columns>"


def _registered(graph: Graph, total: Metrics) -> Metrics:
    """The same with the parameters of the recorded models alone; the others, which were used, by themselves."""
    others = [v for where in (INSIDE, BESIDE) for v in unregistered(graph, where) if v.role == "parameter"]
    if not others or "parameters" not in total:
        return total
    more = {
        "parameters": elements(others),
        "trainable": elements(v for v in others if v.requires_grad),
        "parameter_bytes": sum(map(bytes_of, others)),
    }
    return {**total, **{name: max(total[name] - n, 0) for name, n in more.items()}, "unregistered": more["parameters"]}
