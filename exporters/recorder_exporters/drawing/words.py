"""The words that every drawing shares: what names, tensors, arguments and what a view leaves out are written as."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from recorder import Graph, Node, Scope, Value, remarks
from recorder.figures import stats_in_words

__all__ = [
    "caption",
    "details_of",
    "hints",
    "left_out",
    "legible",
    "shape_of",
    "short_name",
    "short_range",
    "shortened",
    "size_of",
    "times",
    "title_of",
    "visible",
]

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
    name = graph.name or "graph"
    return name if graph.nodes else ": ".join([name, *remarks(graph)[:1]])


def short_name(place: Node | Scope) -> str:
    """What to call a module's call where the scope around it is named already: ``conv1`` in ``layer1.0``, with the
    call's number if it is not the first: ``conv1 #1``; ``0–11`` if it stands for twelve, alike or in a row. An autograd
    node is called after the forward node that made it, if that is known. Empty for the root's first call, and for
    functions.
    """
    names = place.meta.get("repeated")
    if names:
        return short_range(place, names, int(place.meta["repeats"]))
    if "between" in place.meta:
        return short_range(place, place.meta["between"], 2)
    prefix = _prefix(place)
    name = place.meta.get("forward") if place.fqn is None else place.fqn
    if not isinstance(name, str):
        return ""
    name = name.removeprefix(prefix)
    return f"{name} #{place.call}".strip() if place.call else name


def short_range(place: Node | Scope, names: list[str], repeats: int) -> str:
    """The same of what stands for several, with the names of all."""
    prefix = _prefix(place)
    return _range([name.removeprefix(prefix) for name in names], repeats)


def _prefix(place: Node | Scope) -> str:
    around = place.scope if isinstance(place, Node) else place.parent
    return f"{around.fqn}." if around is not None and around.fqn else ""


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


def details_of(subject: Node | Scope | Value) -> list[str]:
    """All that there is to say of something drawn, line by line, for where a reader asks for it; some may be empty."""
    if isinstance(subject, Value):
        return [subject.name, f"{subject.role}, {caption(subject)} on {subject.device}", *_measured(subject)]
    lines = [subject.name, subject.target]
    if isinstance(subject, Node):
        lines += [f"called in {subject.meta['source']}"] if "source" in subject.meta else []
        lines += [f"{name}: {value!r}" for name, value in subject.attributes.items()]
    lines += [f"given {name}: {value!r}" for name, value in _arguments(subject).items()]
    names = subject.meta.get("repeated")
    lines += [f"stands for {', '.join(names)}"] if names else []
    if isinstance(subject, Node):
        called = [f"{name}: " if name else "" for name in subject.output_names] or [""] * len(subject.outputs)
        for name, value in zip(called, subject.outputs):
            lines += [f"→ {name}{caption(value)} on {value.device}", *_measured(value)]
    return lines if subject.error is None else [*lines, subject.error]


def _measured(value: Value) -> list[str]:
    told = stats_in_words(value)
    return [told] if told else []


def _arguments(call: Node | Scope) -> Mapping[str, Any]:
    """What a module's call was given that is no tensor. A file can say anything there."""
    arguments = call.meta.get("arguments")
    return arguments if isinstance(arguments, dict) else {}


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
