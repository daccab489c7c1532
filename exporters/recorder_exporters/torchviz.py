"""The drawing of `recorder.make_dot`: torchviz's colours, sizes and labels, statement by statement.

The core walks the autograd graph and says what is there; here that becomes a ``Digraph`` of the graphviz package. A
leaf tensor that is saved as well, which torchviz draws as one or the other, has a double border.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

from recorder import ExportError

if TYPE_CHECKING:
    from graphviz import Digraph

__all__ = ["TorchvizDrawing"]

NODE = {
    "style": "filled",
    "shape": "box",
    "align": "left",
    "fontsize": "10",
    "ranksep": "0.1",
    "height": "0.2",
    "fontname": "monospace",
}
COLOURS = {"leaf": "lightblue", "saved": "orange", "output": "darkolivegreen1", "base": "darkolivegreen3"}
ARROWS = {"uses": {}, "keeps": {"dir": "none"}, "shows": {"style": "dotted"}}

SMALLEST, PER_STATEMENT = 12, 0.15
"""The size of a drawing in inches, at least and for each node or edge."""


class _Box(NamedTuple):
    key: str
    label: str
    attributes: dict[str, str]


class _Arrow(NamedTuple):
    tail: str
    head: str
    attributes: dict[str, str]


class TorchvizDrawing:
    """Takes one statement after another; of two about one thing, the later wins. Things are told apart by numbers.

    Args:
        width: so many characters of what a node has kept are shown.

    Raises:
        ExportError: the ``graphviz`` package is not installed.
    """

    def __init__(self, width: int) -> None:
        try:
            from graphviz import Digraph
        except ModuleNotFoundError as error:
            raise ExportError(
                "make_dot returns a drawing of the graphviz package, which is not installed: "
                "pip install 'graph-recorder[torchviz]', or draw autograd_graph(...) with recorder.save"
            ) from error
        self._dot: Digraph = Digraph(node_attr=NODE)
        self._width = width
        self._statements: list[_Box | _Arrow] = []
        self._roles: dict[str, set[str]] = {}

    def node(self, number: int, name: str, kept: Sequence[tuple[str, str]]) -> None:
        """An autograd node, with what it has kept in words, by name."""
        self._statements.append(_Box(_key(number), _table(name, kept, self._width), {}))

    def tensor(
        self, number: int, role: Literal["leaf", "saved", "output", "base"], name: str, description: str
    ) -> None:
        """A tensor, with its shape, or why it cannot be had."""
        self._roles.setdefault(_key(number), set()).add(role)
        self._statements.append(_Box(_key(number), f"{name}\n {description}", {"fillcolor": COLOURS[role]}))

    def arrow(self, tail: int, head: int, role: Literal["uses", "keeps", "shows"]) -> None:
        """Between what a node uses or keeps and the node, or a tensor and one that shows the same elements."""
        self._statements.append(_Arrow(_key(tail), _key(head), ARROWS[role]))

    def digraph(self) -> "Digraph":
        """All that was said; asked for once."""
        size = max(SMALLEST, len(self._statements) * PER_STATEMENT)
        self._dot.graph_attr["size"] = f"{size},{size}"
        for statement in self._statements:
            if isinstance(statement, _Arrow):
                self._dot.edge(statement.tail, statement.head, **statement.attributes)
            else:
                both = self._roles.get(statement.key, set()) >= {"leaf", "saved"}
                double = {"peripheries": "2"} if both else {}
                self._dot.node(statement.key, statement.label, **statement.attributes, **double)
        return self._dot


def _key(number: int) -> str:
    return f"n{number}"


def _table(title: str, kept: Sequence[tuple[str, str]], width: int) -> str:
    """A label with what a node has kept in two aligned columns, the second at most ``width`` characters wide."""
    if not kept:
        return title
    left = max(len(name) for name, _ in kept)
    right = min(max(len(value) for _, value in kept), width)
    rule = "-" * max(left + right + 2, len(title))
    shown = [(name, value if len(value) <= right else value[: right - 3] + "...") for name, value in kept]
    return "\n".join([title, rule, *(f"{name:<{left}}: {value:>{right}}" for name, value in shown)])
