"""The table: module calls in execution order, indented as they are nested."""

from io import StringIO
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from recorder.graph import Graph, Node, Scope, Value
from recorder.limits import LARGEST
from recorder.terminal import harmless, in_one_line

__all__ = ["Row", "Summary"]


_INDENTED = 16
"""Levels that are shown by indentation: deeper ones would be wider than the table."""


class Row(NamedTuple):
    """One module call. ``parameters`` counts elements, those of a tensor that is used twice once; durations are in
    nanoseconds, None where nothing was measured.
    """

    depth: int
    name: str
    op_type: str
    outputs: tuple[Value, ...]
    parameters: int
    duration_ns: int | None
    backward_ns: int | None
    error: str | None


class Summary:
    """What ``print(r.summary())`` shows.

    Args:
        graph: any graph.
        depth: show calls down to this depth alone; all if None.
    """

    def __init__(self, graph: Graph, depth: int | None = None) -> None:
        self.title = graph.name
        self.rows = [row for row in _rows(graph) if depth is None or row.depth <= depth]
        self.parameters = sum(_elements(v) for v in graph.initializers if v.role == "parameter")
        self.trainable = sum(_elements(v) for v in graph.initializers if v.role == "parameter" and v.requires_grad)

    def __rich__(self) -> Table:
        table = Table(
            title=Text(in_one_line(self.title)), caption=f"{self.parameters:,} parameters, {self.trainable:,} trainable"
        )
        for header in ("module", "type", "output"):
            table.add_column(header, overflow="fold")
        for header in ("parameters", "forward", "backward"):
            table.add_column(header, justify="right", no_wrap=True)
        for row in self.rows:
            shapes = ", ".join(str(list(v.shape)) for v in row.outputs)
            table.add_row(
                Text("  " * min(row.depth, _INDENTED) + in_one_line(row.name)),
                Text(in_one_line(row.op_type)),
                Text(harmless(row.error) if row.error else shapes),
                f"{row.parameters:,}" if row.parameters else "",
                _milliseconds(row.duration_ns),
                _milliseconds(row.backward_ns),
                style="red" if row.error else None,
            )
        return table

    def __str__(self) -> str:
        text = StringIO()
        Console(file=text, width=120, color_system=None).print(self)
        return text.getvalue()


def _rows(graph: Graph) -> list[Row]:
    """Scopes before what is in them, in execution order."""
    inside: dict[int, list[Node]] = {}
    order: list[Scope | Node] = []
    opened: set[int] = set()
    for node in graph.nodes:
        around = [] if node.scope is None else [*node.scope.ancestors()]
        for scope in reversed(around):
            if id(scope) not in opened:
                opened.add(id(scope))
                order.append(scope)
            inside.setdefault(id(scope), []).append(node)
        if node.kind == "module":
            order.append(node)
    returned = {id(value) for value in graph.outputs}
    return [_row(item, inside.get(id(item), [item] if isinstance(item, Node) else []), returned) for item in order]


def _row(item: Scope | Node, nodes: list[Node], returned: set[int]) -> Row:
    members = {id(node) for node in nodes}
    outputs = [
        value
        for node in nodes
        for value in node.outputs
        if isinstance(item, Node) or id(value) in returned or any(id(user) not in members for user, _ in value.uses)
    ]
    parameters = {id(v): v for node in nodes for v in node.inputs if v.role == "parameter"}
    parent = item.scope if isinstance(item, Node) else item.parent
    return Row(
        depth=0 if parent is None else sum(1 for _ in parent.ancestors()),
        name=item.name,
        op_type=item.op_type,
        outputs=tuple(outputs),
        parameters=sum(map(_elements, parameters.values())),
        duration_ns=item.duration_ns,
        backward_ns=item.backward_ns,
        error=item.error,
    )


def _elements(value: Value) -> int:
    """How many elements a tensor has; 0 where its shape does not tell, or tells what no tensor can have."""
    total = 1
    for size in value.shape:
        total *= size
        if not 0 < total <= LARGEST:
            return 0
    return total


def _milliseconds(duration_ns: int | None) -> str:
    if duration_ns is None:
        return ""
    return f"{duration_ns / 1e6:.2f} ms" if abs(duration_ns) <= LARGEST else "?"
