"""What stands on a node or an edge, chosen by the option ``show``."""

from collections.abc import Callable, Container

from recorder import Graph, Node, OptionError
from recorder_exporters.drawing.colour_scale import COLOURED

__all__ = ["DEFAULT", "FIELDS", "fields", "figures_of"]

DEFAULT = ("name", "hyper_parameters", "shape", "dtype")

FIELDS = (*DEFAULT, *COLOURED)
"""``name`` and ``hyper_parameters`` stand on a node, and so does every figure that it can be coloured by; ``shape`` and
``dtype`` on an edge."""


def fields(show: "str | tuple[str, ...] | list[str] | None", shapes: bool) -> frozenset[str]:
    """The fields that an option names: a tuple, or one text with commas; the usual ones if None. ``shapes=False`` takes
    shapes and dtypes away.

    Raises:
        OptionError: there is no such field; lists what there is.
    """
    names = DEFAULT if show is None else [n for n in show.split(",") if n] if isinstance(show, str) else show
    for name in names:
        if name not in FIELDS:
            raise OptionError(f"there is no field {name!r} to show; there are: {', '.join(FIELDS)}")
    return frozenset(names) - (frozenset() if shapes else {"shape", "dtype"})


def figures_of(graph: Graph, shown: Container[str]) -> Callable[[Node], str]:
    """Says of a node the figures that are wanted, known and not zero, on one line:
    ``9.41 k parameters · 19.3 M FLOPs``, and at the end ``each`` of one that stands for several alike.
    """
    wanted = [figure for name, figure in COLOURED.items() if name in shown]

    def told(node: Node) -> str:
        found = [figure.said(graph, node, label=True) for figure in wanted if figure.value(graph, node)]
        words = " · ".join(label.removesuffix(" each") for label in found if label is not None)
        return f"{words} each" if words and "repeats" in node.meta else words

    return told
