"""Mermaid: a flowchart as text, which GitHub, GitLab and many editors draw where it stands inside Markdown.

Mermaid accepts much that it then draws wrongly, so nothing from outside reaches its grammar: ids are ``n0`` and ``s0``,
and a label is quoted, with every character that Mermaid or its Markdown might read as an instruction written as a code
point. Sites limit what they draw, too. A graph beyond these limits is cut down here, where it can be done by meaning,
instead of ending as an error in the reader's page.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from recorder import ROOM, ExportError, Graph, Node, collapse_to_fit, without_accumulation
from recorder_exporters.drawing.colour_scale import ColourBy
from recorder_exporters.drawing.fields import fields
from recorder_exporters.drawing.scene import Box, Frame, Line, Scene, scene_of
from recorder_exporters.drawing.themes import THEMES, Theme, ThemeName
from recorder_exporters.drawing.words import legible, title_of

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
            colour_by: what the colour of a call says, its kind, or how much of something it takes, on a logarithmic
                scale whose ends are told in the title; as in the format dot.
            show: what stands on nodes and edges, as a tuple, or one text with commas; as in the format dot.
            theme: of the boxes. What is around them has the colours of the page.
            limits: ``"none"`` writes everything, for a page that was told to draw more.

        Raises:
            ExportError: even with every scope closed the graph is larger than GitHub draws.
            OptionError: what to colour by is not known, or there is no such field to show.
        """
        graph = without_accumulation(graph)

        shown = fields(show, shapes)
        shapes = bool(shown & {"shape", "dtype"})

        def scene(view: Graph) -> Scene:
            return scene_of(view, shown=shown, theme=THEMES[theme], colour_by=colour_by, initializers=initializers)

        def text(view: Graph, shapes: bool, *notes: str) -> str:
            drawn = scene(view)
            heading = _default_title(view, drawn.note) if title is None else title
            return _write(drawn, direction, heading, shapes, notes, THEMES[theme])

        if limits == "none":
            return text(graph, shapes)

        def fits(view: Graph) -> bool:
            if _edges(scene(view)) > MAX_EDGES:
                return False
            # With the longest notes that there can be, so that the ones written in the end fit as well.
            return len(text(view, False, _CUT.format(depth=len(graph.scopes)), _BARE)) <= MAX_CHARACTERS

        view, cut = collapse_to_fit(graph, fits)
        if cut == 0 and not fits(view):
            edges = _edges(scene(view))
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


def _edges(scene: Scene) -> int:
    return len(scene.arrows) + len(scene.links)


def _default_title(graph: Graph, note: str) -> str:
    outermost = {scope.op_type for scope in graph.scopes if scope.parent is None}
    known = outermost == {title_of(graph)}
    return ": ".join(part for part in ("" if known else title_of(graph), note) if part)


def _write(scene: Scene, direction: str, title: str, shapes: bool, notes: Sequence[str], theme: Theme) -> str:
    """The text of a flowchart."""
    if scene.scale is not None:
        title = f"{title} · {scene.scale.range_in_words()}" if title else scene.scale.range_in_words()
    lines = ["---", *([f"title: {_title(title)}"] if title else []), f"config: {_LAYOUT}", "---"]
    lines += (f"%% {note}" for note in notes)
    lines.append(f"flowchart {direction}")
    members = _members(scene)
    frames = {frame: f"s{number}" for number, frame in enumerate(filter(None, members))}
    boxes = {box: f"n{number}" for number, box in enumerate(scene.boxes)}
    lines += _places(members, frames, boxes, direction)
    for arrow in scene.arrows:
        line = "-.->" if arrow.stored else "-->"
        text = _text(arrow.words) if shapes else ""
        words = f'|"{_label([text])}"|' if text else ""
        lines.append(f"  {boxes[arrow.tail]} {line}{words} {boxes[arrow.head]}")
    for link in scene.links:
        line = "-.->" if link.directed else "-.-"
        lines.append(f'  {boxes[link.tail]} {line}|"{_label([link.words])}"| {boxes[link.head]}')
    if scene.links:
        numbers = ",".join(str(number) for number in range(len(scene.arrows), _edges(scene)))
        lines.append(f"  linkStyle {numbers} stroke:{theme.styles['link'].line}")
    used = {box.look for box in scene.boxes}
    for name, style in scene.styles.items():
        if name in used:
            lines.append(f"  classDef {name} fill:{style.fill},stroke:{style.line},color:{style.text}")
    # Scopes are tinted, not filled: their headings and the arrows have the colours of the page, which may be dark.
    for name, failed, line in (("scope", False, theme.scope_line), ("failed", True, theme.styles["error"].line)):
        ids = [id for frame, id in frames.items() if (frame.scope.error is not None) == failed]
        if ids:
            lines.append(f"  classDef {name} fill:{line}22,stroke:{line}")
            lines.append(f"  class {','.join(ids)} {name}")
    return "\n".join(lines) + "\n"


def _members(scene: Scene) -> dict[Frame | None, list[Box | Frame]]:
    """What stands directly in a frame, or outside of all, in drawing order. A frame is there if it holds something."""
    members: dict[Frame | None, list[Box | Frame]] = {None: []}
    for box in scene.boxes:
        missing: list[Frame] = []
        frame = box.frame
        while frame is not None and frame not in members:
            missing.append(frame)
            frame = frame.parent
        for new in reversed(missing):
            members[new] = []
            members[new.parent].append(new)
        members[box.frame].append(box)
    return members


def _places(
    members: Mapping[Frame | None, Sequence[Box | Frame]],
    frames: Mapping[Frame, str],
    boxes: Mapping[Box, str],
    direction: str,
) -> Iterator[str]:
    """Every box, inside its frames. Not by recursion, as a recursive model may nest deeper than Python does."""
    stack = [iter(members[None])]
    while stack:
        indent = "  " * min(len(stack), 8)  # spaces are characters, too
        item = next(stack[-1], None)
        if item is None:
            stack.pop()
            if stack:
                yield "  " * min(len(stack), 8) + "end"
        elif isinstance(item, Frame):
            heading, *others = item.lines
            yield f'{indent}subgraph {frames[item]}["{_label([_text(heading, " · "), *map(_text, others)])}"]'
            # A subgraph that no edge leaves is drawn turned by a quarter, unless it is told not to.
            yield f"{indent}  direction {direction}"
            stack.append(iter(members[item]))
        else:
            opening, closing = _OUTLINES[_outline(item)]
            label = _label([_text(line) for line in _lines(item)])
            yield f"{indent}{boxes[item]}{opening}{label}{closing}:::{item.look}"


def _outline(box: Box) -> str:
    if not isinstance(box.subject, Node):
        return "value"
    return "collapsed" if "collapsed" in box.subject.meta else box.subject.kind


def _lines(box: Box) -> Iterator[Line]:
    """What a box says. How often a tensor stood there is said by what uses it."""
    for line in box.lines:
        yield line if box.kind == "operation" else tuple(part for part in line if part.role != "times")


def _text(line: Line, between: str = "") -> str:
    """A line as plain text, its parts with something ``between`` them: a dot if they do not make one phrase."""
    between = between or (" · " if line and line[0].role in ("name", "size") else " ")
    return between.join(part.text for part in line if part.text)


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
