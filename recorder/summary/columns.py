"""What may be known of a call, one column for each: a value for programs, and words for readers."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from recorder.figures import (
    FIGURES,
    Figure,
    at_least,
    made_largest,
    made_norm,
    made_not_finite,
    made_zeros,
    share_in_words,
)  # fmt: skip
from recorder.graph.core import Metrics, Value
from recorder.summary.rows import Row

__all__ = ["COLUMNS", "DEFAULT", "Column"]

_SHAPES = 3
"""Tensors whose shapes are written in one cell."""


class Column(NamedTuple):
    """``value`` of a row, given the metrics of the whole graph, is a JSON value, or None for what is not known;
    ``words`` says it to a reader. ``needed`` columns are shown by default even if they are empty. ``figure`` is what
    the column is of, if that may be a lower bound.
    """

    name: str
    heading: str
    value: Callable[[Row, Metrics], Any]
    words: Callable[[Any], str] = str
    number: bool = False
    needed: bool = False
    figure: Figure | None = None

    def said(self, row: Row, value: Any) -> str:
        """A value of a row as a reader has it."""
        words = self.words(value)
        if self.figure is None:
            return words
        words = at_least(words) if self.figure.is_least(row.metrics) else words
        return self.figure.of_several(words) if self.figure.name in row.of_all else words


def _of(values: tuple[Value, ...]) -> list[list[int]] | None:
    return [list(value.shape) for value in values] or None


def _shapes(shapes: list[list[int]]) -> str:
    more = [f"… {len(shapes) - _SHAPES} more"] if len(shapes) > _SHAPES else []
    return ", ".join([*map(_sizes, shapes[:_SHAPES]), *more])


def _sizes(sizes: Any) -> str:
    """``[2, 3]``, with ``?`` for a size that is not single."""
    parts = sizes if isinstance(sizes, list) else [sizes]
    words = ["?" if part == -1 else str(part) for part in parts]
    return f"[{', '.join(words if len(words) <= 8 else [*words[:6], '…', words[-1]])}]"


def _attribute(name: str) -> Callable[[Row, Metrics], Any]:
    return lambda row, total: row.attributes.get(name)


def _figure(name: str, value: Callable[[Row, Metrics], Any] | None = None, column: str | None = None) -> Column:
    """The column of a figure: of the metric of that name, if no other value is given; of all that a row stands for,
    where that is not the same of each.
    """
    figure = FIGURES[name]
    of_one = value or (lambda row, total: row.metrics.get(name))

    def known(row: Row, total: Metrics) -> Any:
        return row.of_all[name] if name in row.of_all else of_one(row, total)

    return Column(column or name, figure.heading, known, figure.in_words, number=True, figure=figure)


def _parameters(row: Row, total: Metrics) -> int | None:
    return row.parameters or None


def _share(row: Row, total: Metrics) -> float | None:
    """Of all that were used or are the models'."""
    all_of_them = total.get("parameters", 0) + total.get("unregistered", 0)
    return row.parameters / all_of_them if row.parameters and all_of_them else None


def _trainable(row: Row, total: Metrics) -> str | None:
    """As torchinfo says it."""
    if not row.parameters:
        return None
    trainable = row.metrics["trainable"]
    return "yes" if trainable == row.parameters else "partly" if trainable else "no"


def _hyper_parameters(attributes: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in attributes.items())


def _facts(of: Callable[[Value], str]) -> Callable[[Row, Metrics], Any]:
    return lambda row, total: ", ".join(dict.fromkeys(map(of, row.outputs))) or None


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("module", "module", lambda row, total: row.name, needed=True),
        Column("type", "type", lambda row, total: row.op_type, needed=True),
        Column("inputs", "input", lambda row, total: _of(row.inputs), _shapes),
        Column("outputs", "output", lambda row, total: _of(row.outputs), _shapes, needed=True),
        Column("dtype", "dtype", _facts(lambda value: value.dtype)),
        Column("device", "device", _facts(lambda value: value.device)),
        Column("kernel", "kernel", _attribute("kernel_size"), _sizes),
        Column("stride", "stride", _attribute("stride"), _sizes),
        Column("groups", "groups", _attribute("groups"), number=True),
        Column("hyper_parameters", "hyper-parameters", lambda row, total: row.attributes or None, _hyper_parameters),
        _figure("parameters", _parameters)._replace(words="{:,}".format, needed=True),
        Column("parameters_share", "of all", _share, share_in_words, True),
        Column("trainable", FIGURES["trainable"].heading, _trainable),
        _figure("parameter_bytes"),
        _figure("activation_bytes"),
        _figure("saved_bytes"),
        _figure("macs"),
        _figure("flops"),
        _figure("flops_backward"),
        _figure("time", lambda row, total: row.duration_ns, "forward"),
        _figure("backward_time", lambda row, total: row.backward_ns, "backward"),
        _figure("time_share"),
        _figure("gradient", lambda row, total: row.gradient),
        _figure("value_norm", lambda row, total: made_norm(row)),
        _figure("value_largest", lambda row, total: made_largest(row)),
        _figure("not_finite", lambda row, total: made_not_finite(row)),
        _figure("zeros", lambda row, total: made_zeros(row)),
        Column("repeats", "times", lambda row, total: row.repeats if row.repeats > 1 else None, number=True),
    )
}
"""Every column by its name. In what programs read, times are in nanoseconds and sizes in bytes."""

DEFAULT = ("module", "type", "outputs", "parameters", "flops", "forward", "backward", "gradient", "value_norm")
