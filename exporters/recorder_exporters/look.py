"""What every drawing shares: the words on a node or an edge, and the colours by kind.

Colours are Okabe and Ito's, chosen to stay apart for colour-blind readers and in print, lightened for fills
(https://jfly.uni-koeln.de/color/).
"""

from typing import NamedTuple

from recorder import Graph, Node, Value

__all__ = ["STYLES", "Style", "caption", "class_of", "legend", "shape_of", "title_of", "value_class"]


class Style(NamedTuple):
    """Fill, line and text colour as ``#rrggbb``, and what the legend calls it."""

    fill: str
    line: str
    text: str
    meaning: str


STYLES: dict[str, Style] = {
    "input": Style("#d9ead9", "#2f7d4f", "#14361f", "input"),
    "output": Style("#fbe3cf", "#c2571a", "#4a1f05", "output"),
    "module": Style("#dce9f7", "#2f6da8", "#10304f", "module call"),
    "collapsed": Style("#bcd4ee", "#2f6da8", "#10304f", "module call, collapsed"),
    "function": Style("#f4f4f2", "#7a7a75", "#2b2b29", "function call"),
    "autograd": Style("#efe3f3", "#8a4f9e", "#3a1c45", "autograd node"),
    "parameter": Style("#fdf3c7", "#b8930b", "#4a3b04", "parameter"),
    "buffer": Style("#fdf3c7", "#b8930b", "#4a3b04", "buffer"),
    "constant": Style("#ffffff", "#9a9a94", "#2b2b29", "constant"),
    "activation": Style("#ffffff", "#9a9a94", "#2b2b29", "tensor of unknown origin"),
    "error": Style("#f9d7d7", "#b3261e", "#5c0f0a", "raised an error"),
}
"""By class: what `class_of` and `value_class` return, and ``"output"``."""


def class_of(node: Node) -> str:
    """The key into `STYLES` for a node."""
    if node.error is not None:
        return "error"
    if "collapsed" in node.meta:
        return "collapsed"
    return node.kind


def value_class(value: Value) -> str:
    """The key into `STYLES` for a value that no node made."""
    return value.role


def legend(graph: Graph) -> list[str]:
    """The classes that a drawing of this graph shows, in the order of `STYLES`."""
    shown = {class_of(node) for node in graph.nodes}
    shown |= {value_class(v) for node in graph.nodes for v in node.inputs if v.producer is None}
    shown |= {value_class(v) for v in graph.inputs} | ({"output"} if graph.outputs else set())
    return [name for name in STYLES if name in shown]


def shape_of(value: Value) -> str:
    """The shape as people write it: ``1×64×56×56``, ``scalar`` for none, ``?`` for a size that is not single."""
    return "×".join("?" if size < 0 else str(size) for size in value.shape) or "scalar"


def caption(value: Value) -> str:
    """Shape and dtype, for an edge: ``1×64×56×56 float32``."""
    return f"{shape_of(value)} {value.dtype}"


def title_of(graph: Graph) -> str:
    """What to write above a drawing."""
    return graph.name or "graph"
