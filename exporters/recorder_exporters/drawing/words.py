"""What every drawing shares: the words on a node or an edge, and the colours by kind.

Colours are Okabe and Ito's, chosen to stay apart for colour-blind readers and in print, lightened for fills
(https://jfly.uni-koeln.de/color/).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from recorder import Graph, Node, Scope, Value

__all__ = [
    "ROOM",
    "SCOPE_FILLS",
    "SCOPE_LINE",
    "STYLES",
    "Style",
    "caption",
    "class_of",
    "hints",
    "left_out",
    "legend",
    "legible",
    "shape_of",
    "short_name",
    "shortened",
    "size_of",
    "times",
    "title_of",
    "value_class",
    "visible",
    "without_accumulation",
]


ROOM = 50
"""Nodes for which a drawing has room by default, found by looking at drawings of many models."""


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
    "function": Style("#ffffff", "#6e6e69", "#2b2b29", "function call"),
    "autograd": Style("#efe3f3", "#8a4f9e", "#3a1c45", "autograd node"),
    "parameter": Style("#fdf3c7", "#b8930b", "#4a3b04", "parameter"),
    "buffer": Style("#f8edd9", "#b8930b", "#4a3b04", "buffer"),
    "constant": Style("#ececea", "#9a9a94", "#2b2b29", "constant"),
    "activation": Style("#ffffff", "#9a9a94", "#2b2b29", "tensor of unknown origin"),
    "error": Style("#f9d7d7", "#b3261e", "#5c0f0a", "raised an error"),
    "gradient": Style("#f5dcea", "#b8427f", "#4f1533", "gradient"),
}
"""By class: what `class_of` and `value_class` return, ``"output"``, and for arrows ``"gradient"``."""

SCOPE_FILLS = ("#fafbfc", "#f1f3f6", "#e8ebf0", "#dfe3ea")
"""Behind the nodes of a scope, by its depth, each a little darker than the last; deeper ones take turns with the last
two, so that neighbours always differ."""

SCOPE_LINE = "#b9c0cb"


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


def without_accumulation(graph: Graph) -> Graph:
    """The graph without the autograd nodes that only accumulate a parameter's gradient: what used such a node uses the
    parameter itself. They outnumber all other autograd nodes, and say nothing that the parameter's name does not.

    The graph itself if it has none.
    """
    returned = {id(value) for value in graph.outputs}
    stand_in: dict[int, Value] = {}  # for the output of a folded node, its parameter
    for node in graph.nodes:
        if node.kind == "autograd" and node.op_type == "AccumulateGrad" and len(node.inputs) == 1:
            used = any(value.uses for value in node.outputs)
            if node.inputs[0].role == "parameter" and used and not any(id(v) in returned for v in node.outputs):
                stand_in |= {id(value): node.inputs[0] for value in node.outputs}
    if not stand_in:
        return graph
    copies: dict[int, Value] = {}  # a graph is built from fresh values

    def copy(value: Value) -> Value:
        value = stand_in.get(id(value), value)
        return copies.setdefault(id(value), replace(value))

    nodes = [
        replace(node, inputs=tuple(map(copy, node.inputs)), outputs=tuple(map(copy, node.outputs)))
        for node in graph.nodes
        if not any(id(value) in stand_in for value in node.outputs)
    ]
    held, holding = (
        {id(scope) for node in some if node.scope is not None for scope in node.scope.ancestors()}
        for some in (graph.nodes, nodes)
    )
    return Graph(
        nodes,
        inputs=list(map(copy, graph.inputs)),
        outputs=list(map(copy, graph.outputs)),
        initializers=list(map(copy, graph.initializers)),
        scopes=[scope for scope in graph.scopes if id(scope) in holding or id(scope) not in held],
        name=graph.name,
        meta=graph.meta,
    )


def legend(graph: Graph) -> list[str]:
    """The classes that a drawing of this graph shows, in the order of `STYLES`."""
    shown = {class_of(node) for node in graph.nodes}
    shown |= {value_class(v) for node in graph.nodes for v in node.inputs if v.producer is None}
    shown |= {value_class(v) for v in graph.inputs} | ({"output"} if graph.outputs else set())
    return [name for name in STYLES if name in shown]


_SIZES = 12
"""Dimensions that are written."""


def shape_of(value: Value) -> str:
    """The shape as people write it: ``1×64×56×56``, ``scalar`` for none, ``?`` for a size that is not single. Of very
    many dimensions the middle ones are left out: ``…``.
    """
    sizes = ["?" if size < 0 else str(size) for size in value.shape]
    if len(sizes) > _SIZES:
        sizes[_SIZES - 2 : -1] = ["…"]
    return "×".join(sizes) or "scalar"


def caption(value: Value) -> str:
    """Shape and dtype, for an edge: ``1×64×56×56 float32``."""
    return f"{shape_of(value)} {value.dtype}"


def title_of(graph: Graph) -> str:
    """What to write above a drawing."""
    return graph.name or "graph"


def short_name(place: Node | Scope) -> str:
    """What to call a module's call where the scope around it is named already: ``conv1`` in ``layer1.0``, with the
    call's number if it is not the first: ``conv1 #1``; ``0–11`` if it stands for twelve. An autograd node is called
    after the forward node that made it, if that is known. Empty for the root's first call, and for functions.
    """
    around = place.scope if isinstance(place, Node) else place.parent
    prefix = f"{around.fqn}." if around is not None and around.fqn else ""
    names = place.meta.get("repeated")
    if names:
        return _range([name.removeprefix(prefix) for name in names], int(place.meta["repeats"]))
    name = place.meta.get("forward") if place.fqn is None else place.fqn
    if not isinstance(name, str):
        return ""
    name = name.removeprefix(prefix)
    return f"{name} #{place.call}".strip() if place.call else name


def _range(names: list[str], repeats: int) -> str:
    """``h.0–11`` for twelve names in order; the first and the last where they are not numbered like that."""
    numbered = [re.fullmatch(r"(.*?)(\d{1,9})", name) for name in names]
    first, last = numbered[0], numbered[-1]
    if first and last and {match and match[1] for match in numbered} == {first[1]}:
        return f"{first[0]}–{last[2]}"
    return f"{names[0]} … {names[-(len(names) // repeats)]}"


def times(place: Node | Scope | Value) -> str:
    """``× 12`` for what stands for twelve, else nothing."""
    repeats = place.meta.get("repeats")
    return f"× {repeats}" if repeats else ""


def size_of(node: Node) -> str:
    """How many nodes a collapsed one holds: ``10 nodes``, ``10 nodes each`` if it stands for several."""
    inside = node.meta.get("collapsed")
    return "" if inside is None else f"{inside} node{'' if inside == 1 else 's'}{' each' if times(node) else ''}"


def left_out(graph: Graph) -> str:
    """What a legend says of a view that shows less than there is; nothing of one that shows all."""
    often = {id(None): 1}
    for scope in graph.scopes:
        often[id(scope)] = often[id(scope.parent)] * int(scope.meta.get("repeats", 1))
    total = sum(
        node.meta.get("collapsed", 1) * node.meta.get("repeats", 1) * often[id(node.scope)] for node in graph.nodes
    )
    if total == len(graph.nodes):
        return ""
    folded = any(map(times, graph.nodes)) or any(map(times, graph.scopes))
    return f"{len(graph.nodes)} boxes for {total:,} operations" + (" · × n: n alike, drawn once" if folded else "")


def _sizes(value: Any) -> str:
    return "×".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _uniform(value: Any) -> str:
    """``2`` for ``[2, 2]``."""
    return str(value[0]) if isinstance(value, list | tuple) and len(set(value)) == 1 else _sizes(value)


def _is_size(value: Any) -> bool:
    """Whether a value is a number, or some numbers: other things are too long to draw."""
    parts = value if isinstance(value, list | tuple) else [value]
    return 0 < len(parts) <= 4 and all(isinstance(part, int | float) for part in parts)


_HINTS: dict[str, Callable[[Any], str]] = {
    "kernel_size": lambda v: _sizes(v) if isinstance(v, list | tuple) else f"kernel {v}",
    "stride": lambda v: "" if _uniform(v) == "1" else f"stride {_uniform(v)}",
    "dilation": lambda v: "" if _uniform(v) == "1" else f"dilation {_uniform(v)}",
    "groups": lambda v: "" if v == 1 else f"groups {v}",
    "output_size": lambda v: f"to {_sizes(v)}",
    "num_heads": lambda v: f"{v} heads",
    "num_layers": lambda v: "" if v == 1 else f"{v} layers",
    "p": lambda v: "" if v == 0 else f"p {v}",
    "dim": lambda v: f"dim {v}",
}
"""How to write the few arguments that a reader of a picture looks for; "" where the value is the usual one."""


def hints(attributes: Mapping[str, Any]) -> str:
    """The arguments worth drawing, on one short line: ``3×3, stride 2``."""
    found = {name: attributes[name] for name in _HINTS if name in attributes and _is_size(attributes[name])}
    if found.get("stride") == found.get("kernel_size"):
        found.pop("stride", None)  # the usual one of pooling
    return ", ".join(text for name, value in found.items() if (text := _HINTS[name](value)))


_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\ufdd0-\ufdef" + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "\U000e0000-\U000e007f]"
)  # fmt: skip


def visible(text: str) -> str:
    r"""Text that every format carries and every reader sees.

    Control characters become their Unicode pictures (a newline ``␊``, NUL ``␀``); other characters that have no look of
    their own, change the look of others, or are refused by XML become their Python escape (``\u202e``); text of
    nothing but spaces becomes ``␠``. All else stays.
    """
    if text.isspace():
        text = text.replace(" ", "␠")
    return _UNSEEN.sub(_picture, text)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "␡"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def legible(text: str, limit: int) -> str:
    """A name for a reader: `visible`, and `shortened` to ``limit``. Of a very long one only the ends are looked at."""
    return shortened(visible(shortened(text, 4 * limit)), limit)


def shortened(text: str, limit: int) -> str:
    """At most ``limit`` characters, with ``…`` where some were left out. The end is kept as well as the beginning:
    qualified names differ there.
    """
    if len(text) <= limit:
        return text
    tail = limit // 3
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"
