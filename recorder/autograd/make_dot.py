"""torchviz's `make_dot`, for those who use it today: the same drawing, statement by statement.

Kept apart from `recorder.autograd_graph`, which says more and is drawn by every exporter: here nothing may differ from
torchviz 0.0.3 where that works. What fails there works here: nested outputs with None among them, graphs of any depth,
tensors that backward has freed. What is there is said here, in torchviz's order; how it looks is the matter of the
installed exporter of DOT.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from torch import Tensor

from recorder.autograd.graph import SAVED, Named, meta_of, named, some_tensors
from recorder.capture.autograd_nodes import in_order
from recorder.capture.tensor_facts import quietly
from recorder.errors import ExportError
from recorder.plugins.manager import installed

if TYPE_CHECKING:
    from graphviz import Digraph

__all__ = ["make_dot"]


class _Drawing(Protocol):
    """What an exporter offers to draw on: a later statement about a thing wins. Things are told apart by numbers."""

    def node(self, number: int, name: str, kept: Sequence[tuple[str, str]]) -> None: ...

    def tensor(
        self, number: int, role: Literal["leaf", "saved", "output", "base"], name: str, description: str
    ) -> None: ...

    def arrow(self, tail: int, head: int, role: Literal["uses", "keeps", "shows"]) -> None: ...

    def digraph(self) -> "Digraph": ...


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
        FormatError: no exporter of DOT is installed.
        TypeError: there is no tensor in ``var``, or ``params`` are no named tensors.
    """
    drawing = _new_drawing(max(max_attr_chars, 3))
    pairs = named(params)
    walk = _Walk(drawing, {id(tensor): name for name, tensor in pairs}, show_attrs, show_saved)
    tensors = some_tensors(var)
    with quietly():
        ends = [*tensors, *(tensor._base for tensor in tensors if tensor._is_view())]
        in_order(end.grad_fn for end in ends if end is not None and end.grad_fn is not None)  # safe to free after that
    for tensor in tensors:
        walk.output(tensor, "output")
    return drawing.digraph()


def _new_drawing(width: int) -> _Drawing:
    """Whoever draws DOT draws this, too. An exporter of somebody else's may not."""
    exporter = installed().named("dot")
    if not hasattr(exporter, "torchviz_drawing"):
        raise ExportError(f"the installed exporter of DOT, {exporter!r}, does not draw for make_dot")
    drawing: _Drawing = exporter.torchviz_drawing(width)
    return drawing


@dataclass(frozen=True, slots=True, eq=False)
class _Gone:
    """In the place of a saved tensor that cannot be had."""

    why: str


class _Walk:
    """What torchviz would say, in its order."""

    def __init__(self, drawing: _Drawing, names: dict[int, str], show_attrs: bool, show_saved: bool) -> None:
        self._drawing = drawing
        self._names = names
        self._show_attrs = show_attrs
        self._show_saved = show_saved
        # Saved tensors are made anew on each access, so what has a number here is kept until the drawing is done.
        self._numbers: dict[int, tuple[int, Any]] = {}
        self._seen: set[int] = set()

    def output(self, tensor: Tensor, role: Literal["output", "base"]) -> None:
        """Draw a tensor with all that leads to it, unless that was done."""
        if id(tensor) in self._seen:
            return
        self._tensor(tensor, role)
        with quietly():
            fn, base = tensor.grad_fn, tensor._base if tensor._is_view() else None
        if fn is not None:
            self._all_before(fn)
            self._arrow(fn, tensor)
        if base is not None:
            self.output(base, "base")  # which is no view itself
            self._arrow(base, tensor, "shows")

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
            self._tensor(leaf, "leaf")
            self._arrow(leaf, fn)
        self._seen.add(id(fn))
        told = [(name, _in_words(value)) for name, value in kept] if self._show_attrs else []
        self._drawing.node(self._number(fn), type(fn).__name__, told)
        for after, _ in fn.next_functions:
            if after is not None:
                self._arrow(after, fn)
                yield after
        for tensor in _of_custom_function(fn):
            if tensor is not None:
                self._arrow(tensor, fn, "keeps")
                self._tensor(tensor, "saved", "saved tensors, if any" if isinstance(tensor, _Gone) else "")

    def _saved_tensor(self, fn: Any, value: Any, name: str, done: bool = True) -> None:
        if isinstance(value, Tensor | _Gone):
            self._arrow(fn, value, "keeps")
            self._tensor(value, "saved", name, done)

    def _tensor(
        self,
        tensor: "Tensor | _Gone",
        role: Literal["leaf", "saved", "output", "base"],
        name: str = "",
        done: bool = True,
    ) -> None:
        """Draw a tensor. An output that is ``done`` is not drawn as one; torchviz forgets that of saved lists."""
        number = self._number(tensor)
        if done:
            self._seen.add(id(tensor))
        if isinstance(tensor, _Gone):
            self._drawing.tensor(number, role, name, tensor.why)
            return
        with quietly():
            shape = meta_of(tensor).shape
        sizes = ", ".join("?" if size < 0 else str(size) for size in shape)
        self._drawing.tensor(number, role, name or self._names.get(id(tensor), ""), f"({sizes})")

    def _arrow(self, tail: Any, head: Any, role: Literal["uses", "keeps", "shows"] = "uses") -> None:
        self._drawing.arrow(self._number(tail), self._number(head), role)

    def _number(self, thing: Any) -> int:
        if id(thing) not in self._numbers:
            self._numbers[id(thing)] = (len(self._numbers), thing)
        return self._numbers[id(thing)][0]


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


def _in_words(value: Any) -> str:
    if isinstance(value, _Gone):
        return f"[{value.why}]"
    if isinstance(value, Tensor):
        return "[saved tensor]"
    if isinstance(value, tuple) and any(isinstance(item, Tensor) for item in value):
        return "[saved tensors]"
    return str(value)
