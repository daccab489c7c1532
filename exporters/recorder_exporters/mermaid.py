"""Mermaid: a flowchart as text, which GitHub, GitLab and many editors draw where it stands inside Markdown.

Mermaid accepts much that it then draws wrongly, so nothing from outside reaches its grammar: ids are ``n0`` and ``s0``,
and a label is quoted, with every character that Mermaid or its Markdown might read as an instruction written as a code
point. Sites limit what they draw, too. A graph beyond these limits is cut down here, where it can be done by meaning,
instead of ending as an error in the reader's page.
"""

import json
import math
import re
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from recorder import ExportError, Graph, Node, Scope, Value, collapse_to_fit
from recorder_exporters.colour_scale import ColourBy, ColourScale, scale_of
from recorder_exporters.look import (
    ROOM,
    Style,
    caption,
    class_of,
    hints,
    left_out,
    legible,
    shape_of,
    short_name,
    size_of,
    times,
    title_of,
    value_class,
    without_accumulation,
)
from recorder_exporters.shown import fields, figures_of
from recorder_exporters.themes import THEMES, Theme, ThemeName

__all__ = ["MAX_CHARACTERS", "MAX_EDGES", "MermaidExporter"]

MAX_CHARACTERS = 50_000
"""Mermaid's own ``maxTextSize``. A diagram cannot raise it, only the page that draws it can, and GitHub's does not."""

MAX_EDGES = 500
"""Mermaid's own ``maxEdges``; the same holds."""

_LINE = 80
"""Characters in one line of a label, of which a browser makes two or three."""

_LAYOUT = "{flowchart: {padding: 8, nodeSpacing: 30, wrappingWidth: 260, subGraphTitleMargin: {top: 0, bottom: 8}}}"
"""Narrower than Mermaid's own, and the headings of subgraphs clear of the arrows that come in under them. Ranks keep
their distance: nested frames are half of it apart, and a heading has to fit between them."""

_OUTLINES = {
    "module": ('["', '"]'),
    "collapsed": ('[["', '"]]'),
    "function": ('("', '")'),
    "autograd": ('{{"', '"}}'),
    "value": ('(["', '"])'),
}
"""Brackets are shapes: what a box is can be told without its colour."""


class MermaidExporter:
    """Mermaid flowchart, for Markdown on GitHub."""

    name = "mermaid"
    suffixes = (".mmd", ".mermaid")
    media_type = "text/vnd.mermaid"
    room = ROOM

    def export(
        self,
        graph: Graph,
        *,
        direction: Literal["TB", "LR"] = "TB",
        title: str | None = None,
        shapes: bool = True,
        initializers: bool = False,
        colour_by: ColourBy = "kind",
        show: str | tuple[str, ...] | None = None,
        theme: ThemeName = "light",
        limits: Literal["github", "none"] = "github",
    ) -> str:
        """The graph as the text of a flowchart.

        With ``limits="github"`` the text is one that GitHub draws. What has to go for that goes in this order, and a
        comment at the top says so: the shapes on the edges, as the structure says more; then the insides of the
        deepest scopes, level by level. Shapes come back if they fit into what is left.

        Args:
            graph: what to draw.
            direction: which way time goes: top to bottom or left to right.
            title: what stands above, nothing if empty; if None, the graph's name, unless a scope around everything
                bears it already, and what the view leaves out.
            shapes: whether edges carry shape and dtype.
            initializers: whether to draw the parameters and buffers that are used.
            colour_by: what the colour of a call says, on a logarithmic scale whose ends are told in the title; see
                `recorder_exporters.dot.DotExporter`.
            show: what stands on nodes and edges, likewise.
            theme: of the boxes. What is around them has the colours of the page.
            limits: ``"none"`` writes everything, for a page that was told to draw more.

        Raises:
            ExportError: even with every scope closed the graph is larger than GitHub draws.
            OptionError: what to colour by is not known, or there is no such field to show.
        """
        graph = without_accumulation(graph)

        shown = fields(show, shapes)
        shapes = bool(shown & {"shape", "dtype"})

        def chart_of(view: Graph) -> _Chart:
            return _chart(view, initializers, shown, scale_of(view, colour_by, THEMES[theme]))

        def text(view: Graph, shapes: bool, *notes: str) -> str:
            heading = _default_title(view) if title is None else title
            return _write(chart_of(view), direction, heading, shapes, notes, THEMES[theme])

        if limits == "none":
            return text(graph, shapes)

        def fits(view: Graph) -> bool:
            if len(chart_of(view).arrows) > MAX_EDGES:
                return False
            # With the longest notes that there can be, so that the ones written in the end fit as well.
            return len(text(view, False, _CUT.format(depth=len(graph.scopes)), _BARE)) <= MAX_CHARACTERS

        view, cut = collapse_to_fit(graph, fits)
        if cut == 0 and not fits(view):
            edges = len(chart_of(view).arrows)
            raise ExportError(
                f"with every scope closed this is still a flowchart of {edges:,} edges and "
                f"{len(text(view, False)):,} characters, and GitHub draws at most {MAX_EDGES} and {MAX_CHARACTERS:,}: "
                'use limits="none" for a page that draws more, or another format'
            )
        notes = [] if cut is None else [_CUT.format(depth=cut)]
        result = text(view, shapes, *notes)
        return result if len(result) <= MAX_CHARACTERS else text(view, False, *notes, _BARE)


_STAY = f"to stay below GitHub's limits of {MAX_CHARACTERS:,} characters and {MAX_EDGES} edges"
_CUT = "collapsed to depth {depth} " + _STAY
_BARE = "without shapes on the edges " + _STAY


class _Box(NamedTuple):
    """A drawn node: its id, the lines of its label, its class in `STYLES`, its outline in `_OUTLINES`."""

    id: str
    lines: Sequence[str]
    style: str
    outline: str


class _Frame(NamedTuple):
    """A drawn scope: its id, the lines of its heading, whether an error left it."""

    id: str
    lines: Sequence[str]
    failed: bool


class _Arrow(NamedTuple):
    """``words`` is what stands on the arrow, "" for nothing; ``stored`` marks a tensor that was there before."""

    source: _Box
    target: _Box
    words: str
    stored: bool


@dataclass(slots=True)
class _Chart:
    """What is going to be drawn, before it is written.

    ``members`` holds what stands directly in a scope, or outside of all, in drawing order.
    """

    members: dict[Scope | None, list[_Box | Scope]] = field(default_factory=lambda: {None: []})
    frames: dict[Scope, _Frame] = field(default_factory=dict)
    boxes: list[_Box] = field(default_factory=list)
    arrows: list[_Arrow] = field(default_factory=list)
    scale: ColourScale | None = None

    def box(self, scope: Scope | None, lines: Sequence[str], style: str, outline: str) -> _Box:
        """A new box, which stands in that scope."""
        box = _Box(f"n{len(self.boxes)}", lines, style, outline)
        self.boxes.append(box)
        self.members[scope].append(box)
        return box

    def open(self, scope: Scope | None, said: Container[tuple[Scope | None, str | None]]) -> None:
        """Frame a scope and those around it, unless that is done. ``said`` are the errors that their members show."""
        missing = [s for s in (scope.ancestors() if scope is not None else ()) if s not in self.frames]
        for new in reversed(missing):
            heading = " · ".join(filter(None, (short_name(new), new.op_type, times(new))))
            error = new.error if new.error is not None and (new, new.error) not in said else ""
            self.frames[new] = _Frame(f"s{len(self.frames)}", [heading, error], new.error is not None)
            self.members[new] = []
            self.members[new.parent].append(new)


def _chart(graph: Graph, initializers: bool, shown: frozenset[str], scale: ColourScale | None) -> _Chart:
    """The boxes of a graph are its nodes, the tensors that no node made, and its outputs; the arrows are the uses."""
    chart = _Chart(scale=scale)
    figures = figures_of(graph, shown)
    given = set(graph.inputs)
    always = given | set(graph.outputs)
    said = {(n.scope, n.error) for n in graph.nodes} | {(s.parent, s.error) for s in graph.scopes}
    sources: dict[Node | Value, _Box] = {}

    def source(value: Value) -> _Box:
        if value.producer is not None:
            return sources[value.producer]
        if value not in sources:
            scope = None if value in given else _scope_around(value)
            name = "unknown origin" if value.role == "activation" else value.name
            chart.open(scope, said)
            sources[value] = chart.box(scope, [name, caption(value)], value_class(value), "value")
        return sources[value]

    def arrow(value: Value, target: _Box) -> None:
        # A tensor that has a box of its own says its shape there.
        words = "" if value.producer is None or target.style == "output" else _on_arrow(value, shown)
        stored = value.producer is None and value not in given
        chart.arrows.append(_Arrow(source(value), target, words, stored))

    for value in graph.inputs:
        if value.producer is None:
            source(value)
    for node in graph.nodes:
        drawn = [v for v in node.inputs if initializers or v in always or v.role not in ("parameter", "buffer")]
        for value in drawn:
            source(value)
        chart.open(node.scope, said)
        outline = "collapsed" if "collapsed" in node.meta else node.kind
        sources[node] = chart.box(node.scope, _words(node, shown, figures), _class_of(node, scale), outline)
        for value in drawn:
            arrow(value, sources[node])
    for number, value in enumerate(graph.outputs):
        name = "output" if len(graph.outputs) == 1 else f"output {number}"
        source(value)
        arrow(value, chart.box(None, [name, caption(value)], "output", "value"))
    return chart


def _class_of(node: Node, scale: ColourScale | None) -> str:
    """The class of a node: its kind, or where it is on the scale."""
    value = None if scale is None else scale.values.get(node)
    if scale is None or node.error is not None:
        return class_of(node)
    if value is None:
        return "unknown"
    return "broken" if not math.isfinite(value) else f"step{scale.step(value)}" if value > 0 else "zero"


def _classes(theme: Theme, scale: ColourScale | None) -> dict[str, Style]:
    """How each class looks."""
    if scale is None:
        return dict(theme.styles)
    steps = {f"step{number}": scale.style_at(number) for number in range(len(theme.ramp))}
    others = {"zero": scale.style_of(0.0), "broken": scale.style_of(math.nan), "unknown": scale.style_of(None)}
    return {**theme.styles, **steps, **others}


def _on_arrow(value: Value, shown: frozenset[str]) -> str:
    return " ".join([shape_of(value)] * ("shape" in shown) + [value.dtype] * ("dtype" in shown))


def _default_title(graph: Graph) -> str:
    outermost = {scope.op_type for scope in graph.scopes if scope.parent is None}
    known = outermost == {title_of(graph)}
    return ": ".join(part for part in ("" if known else title_of(graph), left_out(graph)) if part)


def _scope_around(value: Value) -> Scope | None:
    """The innermost scope that holds every use."""
    common: list[Scope] | None = None
    for user, _ in value.uses:
        around = [] if user.scope is None else list(user.scope.ancestors())
        held = set(around)
        common = around if common is None else [scope for scope in common if scope in held]
    return common[0] if common else None


def _words(node: Node, shown: frozenset[str], figures: Callable[[Node], str]) -> list[str]:
    """What stands on a node, line by line."""
    arguments = hints(node.attributes) if "hyper_parameters" in shown else ""
    return [
        " ".join(filter(None, (node.op_type, arguments, times(node)))),
        " · ".join(filter(None, (short_name(node) if "name" in shown else "", size_of(node)))),
        figures(node),
        node.error or "",
    ]


def _write(chart: _Chart, direction: str, title: str, shapes: bool, notes: Sequence[str], theme: Theme) -> str:
    """The text of a chart."""
    if chart.scale is not None:
        title = f"{title} · {chart.scale.range_in_words()}" if title else chart.scale.range_in_words()
    lines = ["---", *([f"title: {_title(title)}"] if title else []), f"config: {_LAYOUT}", "---"]
    lines += (f"%% {note}" for note in notes)
    lines.append(f"flowchart {direction}")
    lines += _places(chart, direction)
    for arrow in chart.arrows:
        line = "-.->" if arrow.stored else "-->"
        words = f'|"{_label([arrow.words])}"|' if shapes and arrow.words else ""
        lines.append(f"  {arrow.source.id} {line}{words} {arrow.target.id}")
    used = {box.style for box in chart.boxes}
    for name, style in _classes(theme, chart.scale).items():
        if name in used:
            lines.append(f"  classDef {name} fill:{style.fill},stroke:{style.line},color:{style.text}")
    # Scopes are tinted, not filled: their headings and the arrows have the colours of the page, which may be dark.
    for name, failed, line in (("scope", False, theme.scope_line), ("failed", True, theme.styles["error"].line)):
        ids = [frame.id for frame in chart.frames.values() if frame.failed == failed]
        if ids:
            lines.append(f"  classDef {name} fill:{line}22,stroke:{line}")
            lines.append(f"  class {','.join(ids)} {name}")
    return "\n".join(lines) + "\n"


def _places(chart: _Chart, direction: str) -> Iterator[str]:
    """Every box, inside its scopes. Not by recursion, as a recursive model may nest deeper than Python does."""
    stack = [iter(chart.members[None])]
    while stack:
        indent = "  " * min(len(stack), 8)  # spaces are characters, too
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            if stack:
                yield "  " * min(len(stack), 8) + "end"
        elif isinstance(item, Scope):
            frame = chart.frames[item]
            yield f'{indent}subgraph {frame.id}["{_label(frame.lines)}"]'
            # A subgraph that no edge leaves is drawn turned by a quarter, unless it is told not to.
            yield f"{indent}  direction {direction}"
            stack.append(iter(chart.members[item]))
        else:
            opening, closing = _OUTLINES[item.outline]
            yield f"{indent}{item.id}{opening}{_label(item.lines)}{closing}:::{item.style}"


# All but letters, digits and the few signs that mean nothing to Mermaid, HTML, or Markdown, as which some versions read
# every label. A dot or an underscore is safe inside a word only, elsewhere it may make a list, a link or emphasis.
_UNSAFE = re.compile(r"[^A-Za-z0-9 ,×·…._]|(?<![A-Za-z0-9])[._]|[._](?![A-Za-z0-9])|(?<=[wW])\.|^ | $|(?<= ) ")


def _label(lines: Sequence[str]) -> str:
    """What goes between the quotes of a label. Empty lines are left out."""
    kept = (legible(line, _LINE) for line in lines if line)
    return "<br/>".join(_UNSAFE.sub(lambda c: f"#{ord(c[0])};", line) for line in kept) or " "


def _title(title: str) -> str:
    """A title as a YAML string.

    Mermaid reads no code points in titles. It strips what looks like HTML there, and takes two rare signs for its own
    writing of code points. Such signs are replaced by their likes.
    """
    return json.dumps(legible(title, _LINE).translate(_TITLE_LIKES))


_TITLE_LIKES = str.maketrans({"<": "‹", ">": "›", "&": "＆", "ﬂ": "fl", "¶": "⁋"})
