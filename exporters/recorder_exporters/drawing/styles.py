"""The colours of what is drawn, by kind.

They are Okabe and Ito's, chosen to stay apart for colour-blind readers and in print, lightened for fills
(https://jfly.uni-koeln.de/color/).
"""

from typing import NamedTuple

from recorder import Node, Value

__all__ = ["SCOPE_FILLS", "SCOPE_LINE", "STYLES", "Style", "class_of", "value_class"]


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
    "between": Style("#ece9df", "#6e6e69", "#2b2b29", "several in a row"),
    "function": Style("#ffffff", "#6e6e69", "#2b2b29", "function call"),
    "autograd": Style("#efe3f3", "#8a4f9e", "#3a1c45", "autograd node"),
    "parameter": Style("#fdf3c7", "#b8930b", "#4a3b04", "parameter"),
    "buffer": Style("#f8edd9", "#b8930b", "#4a3b04", "buffer"),
    "constant": Style("#ececea", "#9a9a94", "#2b2b29", "constant"),
    "activation": Style("#ffffff", "#9a9a94", "#2b2b29", "tensor of unknown origin"),
    "error": Style("#f9d7d7", "#b3261e", "#5c0f0a", "raised an error"),
    "gradient": Style("#f5dcea", "#b8427f", "#4f1533", "gradient"),
    "link": Style("#d5edee", "#0b7479", "#063d40", "issued together by ranks"),
    "added": Style("#b5e3d3", "#00795a", "#00291e", "+ added"),
    "removed": Style("#f5b98f", "#a84a00", "#3a1900", "− removed"),
    "changed": Style("#e6c3d9", "#8f3f6c", "#36142a", "~ changed"),
    "rewired": Style("#c9e5f7", "#1d6fa5", "#0c2f47", "» other inputs"),
    "context": Style("#f6f6f4", "#9a9a94", "#55554f", "as it was"),
}
"""By class: what `class_of` and `value_class` return, ``"output"``, for arrows ``"gradient"``, ``"link"`` for what lies
between ranks, and the last five for the calls of a diff, which `recorder_exporters.drawing.differences` tells.
"""

SCOPE_FILLS = ("#fafbfc", "#f1f3f6", "#e8ebf0", "#dfe3ea")
"""Behind the nodes of a scope, by its depth, each a little darker than the last; deeper ones take turns with the last
two, so that neighbours always differ."""

SCOPE_LINE = "#b9c0cb"


def class_of(node: Node) -> str:
    """The key into `STYLES` for a node."""
    if node.error is not None:
        return "error"
    if "between" in node.meta:
        return "between"
    if "collapsed" in node.meta:
        return "collapsed"
    return node.kind


def value_class(value: Value) -> str:
    """The key into `STYLES` for a value that no node made."""
    return value.role
