"""A divergence in words: one sentence on the first place, and a table of what is around it."""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from recorder.graph.core import Node, Scope, Value
from recorder.graph.outline import Place
from recorder.relations.differences import what_changed
from recorder.relations.divergence_rows import Row
from recorder.terminal import in_one_line

if TYPE_CHECKING:
    from recorder.relations.divergence import Divergence

__all__ = ["as_markdown", "as_table", "why"]

RANDOM = ("dropout", "bernoulli", "rand", "multinomial", "normal_", "uniform_", "exponential_", "stochasticdepth",
          "stochastic_depth", "droppath")  # fmt: skip
"""What has these in its name draws random numbers."""

ESCAPED, ESCAPE = r"([\\`*_\[\]<>|#~])", r"\\\1"
"""What Markdown would take for something else."""

BEFORE, UNALIGNED = 4, 3
TF32 = 2.0**-11
WIDEST = 48


def why(divergence: "Divergence") -> str:
    """One sentence, or a few."""
    row = next((row for row in divergence.rows if row.first), None)
    told = _of_none(divergence) if row is None else _of_first(divergence, row)
    if divergence.given:
        names = [f"{given.name or 'the input'} ({_number(given.off.relative)})" for given in divergence.given]
        told += f"; the models were given different inputs: {', '.join(names[:3])}"
    other = _other_shapes(divergence)
    if other:
        told += f"; the models were given inputs of other shapes: {', '.join(other[:3])}"
    began = _backward_began_otherwise(divergence)
    if began is not None:
        where = f"at {divergence.name(began.b)} by {_number(began.given)}"
        told += f"; backward was given other gradients, as by another loss: {where}"
    return in_one_line(told)


def _other_shapes(divergence: "Divergence") -> list[str]:
    """The inputs of which nothing can be said, as there are not as many elements."""
    pairs = divergence.alignment.given.items()
    names = dict(zip(divergence.b.inputs, divergence.b.input_names))
    return [
        f"{names.get(w) or 'the input'} ({list(v.shape)} and {list(w.shape)})" for v, w in pairs if v.shape != w.shape
    ]


def _backward_began_otherwise(divergence: "Divergence") -> Row | None:
    """The first place that backward reached, if what arrived there is off by much more than all of forward before."""
    worst = 0.0
    for row in divergence.rows:
        if row.phase == "backward":
            return row if not row.found and row.given > max(row.expected, 100 * worst) else None
        worst = max(worst, row.made)
    return None


def _of_none(divergence: "Divergence") -> str:
    if not divergence.rows:
        return "nothing could be compared: no call that both recordings have was measured in both"
    if all(row.same for row in divergence.rows):
        told = "all bits of all results that were compared are the same"
        few = divergence.unmeasured
        return f"{told}, but {few} {'call was' if few == 1 else 'calls were'} not compared" if few else told
    if divergence.tolerance == 0:
        return "no call made other bits of inputs whose bits are the same"
    worst = max(divergence.rows, key=lambda row: row.made)
    what = "results" if worst.phase == "forward" else "gradients"
    return (
        f"no call adds more than expected; the {what} of {divergence.name(worst.b)} differ most, by "
        f"{_number(worst.made)}, which is carried"
    )


def _of_first(divergence: "Divergence", row: Row) -> str:
    place, exact = divergence.name(row.b), divergence.tolerance == 0
    what = ("results", "its inputs") if row.phase == "forward" else ("gradients that it hands on", "those that arrived")
    if exact:
        told = f"{place}: bits of its {what[0]} differ, by {_number(row.made)}, and {what[1]} are the same to the bit"
    else:
        told = (
            f"{place}: its {what[0]} differ by {_number(row.made)} where {what[1]} differ by {_number(row.given)}; "
            f"{_number(row.expected)} {'is expected of rounding' if divergence.tolerance == 'dtype' else 'is allowed'}"
        )
    return told + "".join(f"; {remark}" for remark in _remarks(divergence, row, place))


def _remarks(divergence: "Divergence", row: Row, place: str) -> list[str]:
    """What else is known of the cause."""
    found = []
    if math.isinf(row.made):
        found.append("one has NaN or Inf where the other has not")
    if row.rewired:
        found.append(f"it is given something else as {', '.join(row.rewired[:3])}")
    if len(row.calls) > 1:
        inside = [divergence.name(call) for call in row.calls[:3]]
        more = f" and {len(row.calls) - 3} more" if len(row.calls) > 3 else ""
        found.append(f"the two do not call the same there: what made it was {', '.join(inside)}{more}")
    called = _called_otherwise(row)
    if called:
        found.append(f"it is called otherwise: {', '.join(called[:3])}")
    elif isinstance(row.b, Node) and any(part in row.b.op_type.lower() for part in RANDOM):
        found.append(
            "it draws random numbers: with another seed, or in another order, or only one of the two is training"
        )
    elif row.phase == "forward" and len(row.calls) == 1 and _has_modes(row.b):
        found.append("its parameters or statistics differ, or how it computes, or only one of the two is training")
    elif row.phase == "forward" and len(row.calls) == 1 and any(v.role == "parameter" for v in row.calls[0].inputs):
        found.append("its parameters differ, or how it computes")
    devices = {v.device.partition(":")[0] for place in (row.a, row.b) if place is not None for v in place.outputs}
    if "cuda" in devices and row.made < 4 * TF32 and all(v.dtype == "float32" for v in row.b.outputs):
        found.append("as much as TF32 is off, see torch.backends.cuda.matmul.allow_tf32 and torch.backends.cudnn")
    if row.value is not None and _is_underflow(row.value):
        found.append(f"its results are so small that {row.value.dtype} has few bits for them")
    if row.unmeasured:
        names = ", ".join(value.name for value in row.unmeasured[:3])
        found.append(f"of what it was given, {names} could not be compared")
    return found


def _called_otherwise(row: Row) -> list[str]:
    """The hyper-parameters and arguments that differ, where one call is compared with one."""
    if row.a is None or len(row.calls) != 1 or row.phase == "backward":
        return []
    what = what_changed(row.a, row.b).items()
    tensors = (".shape", ".dtype")
    return [f"{name} {one} → {other}" for name, (one, other) in what if not name.endswith(tensors)]


def _has_modes(place: Place) -> bool:
    """Whether it computes something else in training."""
    return "batchnorm" in place.op_type.lower().replace("_", "") or "track_running_stats" in place.attributes


def _is_underflow(value: Value) -> bool:
    """Whether most of a tensor is below the normal numbers of its dtype."""
    elements = max(math.prod(value.shape), 1)
    return value.dtype == "float16" and value.meta["stats"]["norm"] < 2.0**-14 * math.sqrt(elements)


def as_table(divergence: "Divergence", lines: int | None) -> str:
    """The sentence, then places in order, then what was not compared."""
    head = f"{_title(divergence)}\n{divergence.why}"
    rows = _shown(divergence.rows, lines)
    if not rows:
        return "\n".join([head, *_left_out(divergence)])
    heads = ["", "place", "type", "inputs", "results", "added", "expected"]
    cells = [_cells(divergence, row) for row in rows]
    widths = [max(len(row[column]) for row in [heads, *cells]) for column in range(len(heads))]
    table = [_line(row, widths) for row in [heads, *cells]]
    more = len(divergence.rows) - len(rows)
    note = [f"… and {more} places more that were compared"] if more else []
    return "\n".join([head, "", *table, *note, *_left_out(divergence)])


def as_markdown(divergence: "Divergence") -> str:
    """As GitHub draws it."""
    head, *table = as_table(divergence, 30).splitlines()
    body = "\n".join(table)
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", body)), default=0))
    return f"**{re.sub(ESCAPED, ESCAPE, head)}**\n\n{fence}\n{body}\n{fence}\n"


def _title(divergence: "Divergence") -> str:
    found = sum(row.found for row in divergence.rows)
    names = [graph.name for graph in (divergence.a, divergence.b)]
    name = names[1] if names[0] in ("", names[1]) else " → ".join(names)
    where = "nowhere" if divergence.first is None else f"first at {divergence.name(divergence.first)}"
    others = f", and at {found - 1} more" if found > 1 else ""
    return in_one_line(f"{name or 'graph'}: the numbers part {where}{others}")


def _shown(rows: Sequence[Row], lines: int | None) -> list[Row]:
    """The first finding with what is before and behind it, other findings, and the end."""
    if lines is None or len(rows) <= max(lines - 6, 1):
        return list(rows)
    room = max(lines - 6, 1)
    at = next((number for number, row in enumerate(rows) if row.first), None)
    if at is None:
        worst = max(range(len(rows)), key=lambda number: (rows[number].added, rows[number].made))
        at = worst
    chosen = {at}
    near = [*range(at - 1, max(at - 1 - BEFORE, -1), -1), *range(at + 1, min(at + 1 + BEFORE, len(rows)))]
    for number in [*near, *(n for n, row in enumerate(rows) if row.found), len(rows) - 1]:
        if len(chosen) < room:
            chosen.add(number)
    return [rows[number] for number in sorted(chosen)]


def _cells(divergence: "Divergence", row: Row) -> list[str]:
    name = in_one_line(divergence.name(row.b))
    name = name if len(name) <= WIDEST else f"…{name[1 - WIDEST :]}"
    return [
        ">" if row.first else "!" if row.found else "", name, _type(row),
        *map(_number, (row.given, row.made, row.added, row.expected)),
    ]  # fmt: skip


def _type(row: Row) -> str:
    return in_one_line(row.b.op_type) + (" (backward)" if row.phase == "backward" else "")


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    left = [cell.ljust(width) for cell, width in zip(cells[:3], widths)]
    right = [cell.rjust(width) for cell, width in zip(cells[3:], widths[3:])]
    return "  ".join([*left, *right]).rstrip()


def _left_out(divergence: "Divergence") -> list[str]:
    """What was not compared, and why."""
    found = []
    for side in ("a", "b"):
        places = [place for which, place in divergence.unaligned if which == side]
        if places:
            found.append(f"only in {side}: {_listed(divergence, places)}")
    if divergence.unmeasured:
        calls = "1 call whose" if divergence.unmeasured == 1 else f"{divergence.unmeasured} calls whose"
        found.append(f"not compared: {calls} results were not measured in both, or have other shapes")
    return found


def _listed(divergence: "Divergence", places: Sequence[Node | Scope] | Sequence[Place]) -> str:
    names = [f"{in_one_line(divergence.name(place))} ({in_one_line(place.op_type)})" for place in places[:UNALIGNED]]
    more = len(places) - UNALIGNED
    return ", ".join([*names, f"and {more} more"] if more > 0 else names)


def _number(relative: float) -> str:
    return "0" if relative == 0 else "NaN/Inf" if math.isinf(relative) else f"{relative:.2g}"
