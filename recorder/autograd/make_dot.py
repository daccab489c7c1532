"""torchviz's `make_dot`, for those who use it today: the same drawing, statement by statement.

Kept apart from `recorder.autograd_graph`, which says more and is drawn by every exporter: here nothing may differ from
torchviz 0.0.3 where that works. What fails there works here: nested outputs with None among them, graphs of any depth,
tensors that backward has freed. A leaf tensor that is saved as well, which torchviz draws as one or the other, has a
double border.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from recorder.autograd.graph import SAVED, Named, meta_of, named, some_tensors
from recorder.capture.autograd_nodes import in_order
from recorder.capture.tensor_facts import quietly
from recorder.errors import ExportError

if TYPE_CHECKING:
    from graphviz import Digraph

__all__ = ["make_dot"]

NODE = {
    "style": "filled",
    "shape": "box",
    "align": "left",
    "fontsize": "10",
    "ranksep": "0.1",
    "height": "0.2",
    "fontname": "monospace",
}
LEAF, SAVED_TENSOR, OUTPUT, BASE = "lightblue", "orange", "darkolivegreen1", "darkolivegreen3"

SMALLEST, PER_STATEMENT = 12, 0.15
"""The size of a drawing in inches, at least and for each node or edge."""


def make_dot(
    var: Any,
    params: Named | None = None,
    show_attrs: bool = False,
    show_saved: bool = False,
    max_attr_chars: int = 50,
) -> "Digraph":
    """Draw the autograd graph as torchviz does: change the import, and the drawing stays.

    A node without colour of its own is an autograd node; light blue is a leaf tensor, orange a tensor saved for
    backward (those of custom Functions are always drawn), light green an output, dark green the base of an output
    that is a view. A double border marks a leaf that is saved too. Where a saved tensor is gone, its node says why.

    Args:
        var: a tensor, or any nesting of lists, tuples, mappings and dataclasses with tensors in it.
        params: names for tensors: a dict, or pairs such as ``net.named_parameters()``.
        show_attrs: whether autograd nodes list what they have kept.
        show_saved: whether saved tensors are drawn. As in torchviz, hooks that have packed them run.
        max_attr_chars: so many characters of an attribute are shown, at least 3.

    Returns:
        The ``Digraph`` of the ``graphviz`` package: ``.source``, ``.render()``, ``.save()``, ``.view()``, ``.pipe()``,
        and a picture in a notebook.

    Raises:
        ExportError: the ``graphviz`` package is not installed.
        TypeError: there is no tensor in ``var``, or ``params`` are no named tensors.
    """
    try:
        from graphviz import Digraph
    except ModuleNotFoundError as error:
        raise ExportError(
            "make_dot returns a drawing of the graphviz package, which is not installed: "
            "pip install 'graph-recorder[torchviz]', or draw autograd_graph(...) with recorder.save"
        ) from error
    pairs = named(params)
    drawing = _Drawing({id(tensor): name for name, tensor in pairs}, show_attrs, show_saved, max(max_attr_chars, 3))
    tensors = some_tensors(var)
    with quietly():
        ends = [*tensors, *(tensor._base for tensor in tensors if tensor._is_view())]
        in_order(end.grad_fn for end in ends if end is not None and end.grad_fn is not None)  # safe to free after that
    for tensor in tensors:
        drawing.output(tensor, OUTPUT)

    size = max(SMALLEST, len(drawing.statements) * PER_STATEMENT)
    dot: Digraph = Digraph(node_attr=NODE, graph_attr={"size": f"{size},{size}"})
    both = drawing.leaves & drawing.saved
    for statement in drawing.statements:
        if isinstance(statement, _Arrow):
            dot.edge(statement.tail, statement.head, **statement.attributes)
        else:
            double = {"peripheries": "2"} if statement.key in both else {}
            dot.node(statement.key, statement.label, **statement.attributes, **double)
    return dot


class _Box(NamedTuple):
    key: str
    label: str
    attributes: dict[str, str]


class _Arrow(NamedTuple):
    tail: str
    head: str
    attributes: dict[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class _Gone:
    """In the place of a saved tensor that cannot be had."""

    why: str


class _Drawing:
    """What torchviz would write, in its order: a later statement about a node wins."""

    def __init__(self, names: dict[int, str], show_attrs: bool, show_saved: bool, width: int) -> None:
        self.statements: list[_Box | _Arrow] = []
        self.leaves: set[str] = set()
        self.saved: set[str] = set()
        self._names = names
        self._show_attrs = show_attrs
        self._show_saved = show_saved
        self._width = width
        # Saved tensors are made anew on each access, so what has an id here is kept until the drawing is done.
        self._ids: dict[int, tuple[str, Any]] = {}
        self._seen: set[int] = set()

    def output(self, tensor: Tensor, colour: str) -> None:
        """Draw a tensor with all that leads to it, unless that was done."""
        if id(tensor) in self._seen:
            return
        self._node(tensor, self._caption(tensor), colour)
        with quietly():
            fn, base = tensor.grad_fn, tensor._base if tensor._is_view() else None
        if fn is not None:
            self._all_before(fn)
            self._edge(fn, tensor)
        if base is not None:
            self.output(base, BASE)  # which is no view itself
            self._edge(base, tensor, style="dotted")

    def _all_before(self, fn: Any) -> None:
        """Draw an autograd node and what it leads to, depth first: a stack of visits in the place of recursion."""
        visits = [self._visit(fn)]
        while visits:
            after = next(visits[-1], None)
            if after is None:
                visits.pop()
            else:
                visits.append(self._visit(after))

    def _visit(self, fn: Any) -> Iterator[Any]:
        """Draw one autograd node, and yield those that are to be drawn before it is finished."""
        if id(fn) in self._seen:
            return
        kept = list(_kept(fn)) if self._show_attrs or self._show_saved else []
        if self._show_saved:
            for name, value in kept:
                if isinstance(value, tuple):
                    for i, item in enumerate(value):
                        self._saved_tensor(fn, item, f"{name}[{i}]", done=False)
                else:
                    self._saved_tensor(fn, value, name)
        leaf = getattr(fn, "variable", None)
        if isinstance(leaf, Tensor):
            self.leaves.add(self._node(leaf, self._caption(leaf), LEAF))
            self._edge(leaf, fn)
        self._node(fn, _table(type(fn).__name__, kept, self._width) if self._show_attrs else type(fn).__name__)
        for after, _ in fn.next_functions:
            if after is not None:
                self._edge(after, fn)
                yield after
        for tensor in _of_custom_function(fn):
            if tensor is not None:
                self._edge(tensor, fn, dir="none")
                caption = self._caption(tensor, "saved tensors, if any" if isinstance(tensor, _Gone) else "")
                self.saved.add(self._node(tensor, caption, SAVED_TENSOR))

    def _saved_tensor(self, fn: Any, value: Any, name: str, done: bool = True) -> None:
        if isinstance(value, Tensor | _Gone):
            self._edge(fn, value, dir="none")
            self.saved.add(self._node(value, self._caption(value, name), SAVED_TENSOR, done))

    def _caption(self, tensor: "Tensor | _Gone", name: str = "") -> str:
        if isinstance(tensor, _Gone):
            return f"{name}\n {tensor.why}"
        with quietly():
            shape = meta_of(tensor).shape
        sizes = ", ".join("?" if size < 0 else str(size) for size in shape)
        return f"{name or self._names.get(id(tensor), '')}\n ({sizes})"

    def _node(self, thing: Any, label: str, colour: str | None = None, done: bool = True) -> str:
        """Draw a node. An output that is ``done`` is not drawn as one; torchviz forgets that of saved lists."""
        key = self._id(thing)
        if done:
            self._seen.add(id(thing))
        self.statements.append(_Box(key, label, {} if colour is None else {"fillcolor": colour}))
        return key

    def _edge(self, tail: Any, head: Any, **attributes: str) -> None:
        self.statements.append(_Arrow(self._id(tail), self._id(head), attributes))

    def _id(self, thing: Any) -> str:
        if id(thing) not in self._ids:
            self._ids[id(thing)] = (f"n{len(self._ids)}", thing)
        return self._ids[id(thing)][0]


def _kept(fn: Any) -> Iterator[tuple[str, Any]]:
    """What an autograd node has kept, tensors and all else, in the order of the names."""
    for name in dir(fn):
        if name.startswith(SAVED):
            try:
                value = getattr(fn, name)
            except Exception as error:  # freed, changed in place, or a user's hook failed
                value = _Gone(_why(error))
            yield name.removeprefix(SAVED), value


def _of_custom_function(fn: Any) -> "Iterable[Tensor | _Gone | None]":
    try:
        tensors: tuple[Tensor | None, ...] = getattr(fn, "saved_tensors", ())
    except Exception as error:
        return [_Gone(_why(error))]
    return tensors


def _why(error: Exception) -> str:
    words = str(error)
    if "already been freed" in words:
        return "freed by backward"
    if "modified by an inplace operation" in words:
        return "changed in place"
    return f"cannot be unpacked: {type(error).__name__}"


def _table(title: str, kept: list[tuple[str, Any]], width: int) -> str:
    """A label with what a node has kept in two aligned columns, the second at most ``width`` characters wide."""
    rows = [(name, _in_words(value)) for name, value in kept]
    if not rows:
        return title
    left = max(len(name) for name, _ in rows)
    right = min(max(len(value) for _, value in rows), width)
    rule = "-" * max(left + right + 2, len(title))
    shown = [(name, value if len(value) <= right else value[: right - 3] + "...") for name, value in rows]
    return "\n".join([title, rule, *(f"{name:<{left}}: {value:>{right}}" for name, value in shown)])


def _in_words(value: Any) -> str:
    if isinstance(value, _Gone):
        return f"[{value.why}]"
    if isinstance(value, Tensor):
        return "[saved tensor]"
    if isinstance(value, tuple) and any(isinstance(item, Tensor) for item in value):
        return "[saved tensors]"
    return str(value)
