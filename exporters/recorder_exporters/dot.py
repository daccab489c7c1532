"""Graphviz's DOT language, and so what the pictures are rendered from.

The scene says what is drawn; here it becomes DOT's attributes, and `drawing.dot_drawing` writes those down.

Operations have round corners, tensors sharp ones.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from recorder import ROOM, Graph, Node, Value, without_accumulation
from recorder_exporters.drawing.colour_scale import ColourBy
from recorder_exporters.drawing.columns import checked_columns
from recorder_exporters.drawing.dot_drawing import ArrowMark, Attributes, BoxMark, Drawing, FrameMark
from recorder_exporters.drawing.dot_markup import (
    heading,
    is_prominent,
    label_at_the_right,
    label_of_arrow,
    label_of_box,
    label_of_frame,
    tooltip,
)
from recorder_exporters.drawing.fields import fields
from recorder_exporters.drawing.link_lines import LinkLine
from recorder_exporters.drawing.scene import Arrow, Box, Frame, Part, Scene, scene_of
from recorder_exporters.drawing.signature import takes_options_of
from recorder_exporters.drawing.styles import Style
from recorder_exporters.drawing.themes import THEMES, Theme, ThemeName, letters_on
from recorder_exporters.drawing.wishes import family_of, fulfil, inches_of
from recorder_exporters.drawing.words import legible, shape_of, times, title_of

if TYPE_CHECKING:
    from recorder_exporters.torchviz import TorchvizDrawing

__all__ = ["DotExporter"]

LARGE = 2_000
"""Ranks spanned by all edges together, from which the layout is made in haste. Dot works on each rank that an edge
passes, so that this tells its time, and not the number of nodes: with care, 2,000 take it about three seconds, and
28,000, which DenseNet-121 has, half a minute."""

TALLEST = 10_000
"""Inches of height that no drawing has: what is scaled to a width may be as tall as it is."""

WIDER = 1.2
"""By how much a letter of other families may be wider than one of Helvetica, where only an estimate is had: Verdana's
and Courier's are.
"""

# What is empty here, a theme fills in.
FONT = '"Helvetica,Arial,sans-serif"'
GRAPH: Attributes = {
    "fontname": FONT, "fontsize": "14", "fontcolor": "", "labelloc": "t", "pad": "0.2",
    "nodesep": "0.28", "ranksep": "0.48",
}  # fmt: skip
NODE: Attributes = {
    "shape": "box", "style": '"rounded,filled"', "penwidth": "0.9", "height": "0.3", "width": "0.6",
    "margin": '"0.16,0.07"', "fontname": FONT, "fontsize": "11",
}  # fmt: skip
EDGE: Attributes = {
    "color": "", "penwidth": "0.9", "arrowsize": "0.55", "fontname": FONT, "fontsize": "8", "fontcolor": "",
}  # fmt: skip
GRADIENT: Attributes = {"style": "dashed", "tooltip": "gradient", "dir": "back", "constraint": "false"}
LINK: Attributes = {"style": "dotted", "penwidth": "1.2", "constraint": "false"}
HASTE: Attributes = {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1"}


def _numbered(graph: Graph, scene: Scene) -> dict[Box, str]:
    """The boxes in the order in which they are written: the tensors, numbered as the graph has its values, the nodes,
    and the outputs.
    """
    position = {value: number for number, value in enumerate(graph.values())}
    tensors = [box for box in scene.boxes if box.kind == "tensor"]
    groups = {
        "v": sorted(tensors, key=lambda box: position[box.subject]),  # type: ignore[index]
        "n": [box for box in scene.boxes if box.kind == "operation"],
        "o": [box for box in scene.boxes if box.kind == "output"],
    }
    return {box: f"{letter}{number}" for letter, group in groups.items() for number, box in enumerate(group)}


def _arrows(graph: Graph, scene: Scene, ids: Mapping[Box, str], theme: Theme, beside: bool) -> Iterator[ArrowMark]:
    """The arrows of a scene and, after them, the way back of the gradients.

    Dot makes room for a label by bending the edge, and in nested clusters it bends all of them. So on the spine, which
    is to run straight, a label stands ``beside`` the edge, where the column that the nodes make has room for it.
    """
    twofold = {(arrow.tail, arrow.head) for arrow in scene.arrows if arrow.gradient}
    spine = {(node, after) for node, after in pairwise(graph.nodes) if _goes_on(node, after)}
    returned = set(graph.outputs)
    told: set[tuple[Value, Box]] = set()
    for arrow in scene.arrows:
        value, user = arrow.value, arrow.head.subject
        attributes = {"tooltip": tooltip(arrow.details)}
        if arrow.stored:
            attributes["style"] = "dashed"
        straight = (arrow.tail.subject, user) in spine
        if straight:
            attributes["weight"] = "4"  # much more, and dot shears the clusters apart
        # Of two edges that run side by side one has the words, and what is returned has them in its box.
        words: Attributes = {}
        lines: tuple[str, ...] = ()
        if arrow.words and value not in returned and (value, arrow.head) not in told:
            lines = tuple(part.text for part in arrow.words)
            words = {"label": label_of_arrow(arrow.words, theme.faint)}
            if beside and straight and _is_alone(arrow) and arrow.tail.frame is arrow.head.frame:
                words = _label_beside(value, words["label"], (arrow.tail, arrow.head) in twofold)
        told.add((value, arrow.head))
        below, flat = (label_of_arrow(arrow.words, theme.faint, "", flat=f) if lines else "" for f in (False, True))
        yield ArrowMark(ids[arrow.tail], ids[arrow.head], attributes, lines, below, flat, id(value), words)
    # Drawn from head to tail: an edge from below to above dot leads around what is in between.
    back = {**GRADIENT, "color": f'"{theme.styles["gradient"].line}"'}
    for arrow in scene.arrows:
        if arrow.gradient:
            yield ArrowMark(ids[arrow.tail], ids[arrow.head], back)
    for link in scene.links:
        yield _line(link, ids, theme)


def _line(link: LinkLine, ids: Mapping[Box, str], theme: Theme) -> ArrowMark:
    """A line between two ranks. What the box at its end says already is not told again."""
    ends = {} if link.directed else {"dir": "none"}
    attributes = {**LINK, **ends, "tooltip": tooltip(link.details), "color": f'"{theme.styles["link"].line}"'}
    if isinstance(link.tail.subject, Node) and link.words == link.tail.subject.op_type:
        return ArrowMark(ids[link.tail], ids[link.head], attributes)
    words = (Part("operation", link.words),)
    below, flat = (label_of_arrow(words, theme.faint, "", flat=flat) for flat in (False, True))
    label = {"label": label_of_arrow(words, theme.faint)}
    return ArrowMark(ids[link.tail], ids[link.head], attributes, (link.words,), below, flat, id(link), label)


def _is_alone(arrow: Arrow) -> bool:
    """Whether no other tensor goes the same way."""
    user = arrow.head.subject
    return isinstance(user, Node) and sum(value.producer is arrow.tail.subject for value in user.inputs) == 1


def _label_beside(value: Value, words: str, twofold: bool) -> Attributes:
    """A label right of where an edge leaves downwards, placed by its middle, as Graphviz wants it: in an angle from
    the edge and in units of 10 points. The size is an estimate for 8-point Helvetica.
    """
    across = 4.4 * max(len(shape_of(value)), len(value.dtype)) / 2 + (19 if twofold else 5)
    down = 15
    return {
        "taillabel": words,
        "labelangle": f"{math.degrees(math.atan2(across, down)):.0f}",
        "labeldistance": f"{math.hypot(across, down) / 10:.1f}",
    }


def _span(graph: Graph) -> int:
    """How many ranks all edges pass together, in a drawing that has each node below all that it depends on."""
    ranks: dict[int, int] = {}
    for node in graph.nodes:
        ranks[id(node)] = 1 + max((ranks[id(maker)] for maker in node.predecessors()), default=-1)
    return sum(ranks[id(edge.target)] - ranks[id(edge.source)] for edge in graph.edges())


def _goes_on(node: Node, after: Node) -> bool:
    """Whether a reader would draw an edge between two nodes in execution order straight down: it is all there is, or
    goes on within one block, whatever skips over it. Where branches meet, none is the main one.
    """
    return node.scope is after.scope or after.predecessors() == [node]


def _box(box: Box, styles: Mapping[str, Style], theme: Theme) -> Attributes:
    style = _filled(styles[box.look], box.fill)
    attributes = _colours(style)
    modest: Attributes = {}
    if isinstance(box.subject, Node):
        attributes |= {"peripheries": "2"} if times(box.subject) else {}
        attributes |= {"penwidth": "1.8"} if box.subject.error is not None else {}
        attributes |= {"style": '"rounded,filled,dashed"'} if "between" in box.subject.meta else {}
    else:
        attributes["style"] = '"filled,dashed"' if box.look == "activation" else "filled"
        if not is_prominent(box):
            modest = {"fontsize": "9", "height": "0.2", "width": "0.3", "margin": '"0.08,0.03"'}
    label = label_of_box(box, style.text if box.fill else theme.faint)
    return {**attributes, "label": label, "tooltip": tooltip(box.details), **modest}


def _cluster(frame: Frame, title: str, theme: Theme) -> Attributes:
    failed, often = frame.scope.error is not None, times(frame.scope)
    last = len(theme.scope_fills) - 1
    fill = frame.fill or theme.scope_fills[frame.depth if frame.depth <= last else last - (frame.depth - last) % 2]
    words = letters_on(fill) if frame.fill else theme.styles["error"].text if failed else theme.words
    return {
        "label": label_of_frame(frame, nameless=frame.lines[0] == (Part("operation", title),)),  # which the title says
        "labeljust": "l",
        "tooltip": tooltip(frame.details),
        "style": '"rounded,filled"',
        "fillcolor": f'"{fill}"',
        "color": f'"{theme.styles["error"].line if failed else theme.scope_line}"',
        "penwidth": "1.4" if failed else "1.8" if often else "0.8",
        "fontsize": "9",
        "fontcolor": f'"{words}"',
        "margin": "10",
    }


def _mark(frame: Frame, numbers: Mapping[Frame | None, int], title: str, theme: Theme, direction: str) -> FrameMark:
    attributes = _cluster(frame, title, theme)
    words: Attributes = {}
    if direction == "TB" and attributes["label"] != '""':
        longest = max(("  ".join(part.text for part in line) for line in frame.lines), key=len)
        words = {"label": label_at_the_right(attributes["label"], longest), "labeljust": "r"}
    return FrameMark(numbers.get(frame.parent), attributes, words)


def _filled(style: Style, fill: str) -> Style:
    """A style with a fill that was asked for, and letters that can be read on it."""
    return style._replace(fill=fill, text=letters_on(fill)) if fill else style


def _colours(style: Style) -> Attributes:
    return {"fillcolor": f'"{style.fill}"', "color": f'"{style.line}"', "fontcolor": f'"{style.text}"'}


def _defaults(
    look: Theme, layout: Attributes, width: float | None, font: str | None
) -> tuple[Attributes, Attributes, Attributes]:
    """The attributes of the graph, with those of its ``layout``, of its nodes and of its edges."""
    letters: Attributes = {} if font is None else {"fontname": f'"{family_of(font)}"'}
    graph = {**GRAPH, **layout, **letters, "fontcolor": f'"{look.ink}"'}
    graph |= {} if width is None else {"size": f'"{inches_of(width):g},{TALLEST}!"', "margin": "0"}
    graph |= {} if look.page is None else {"bgcolor": f'"{look.page}"'}
    edge = {**EDGE, **letters, "color": f'"{look.edge}"', "fontcolor": f'"{look.words}"'}
    return graph, {**NODE, **letters}, edge


def drawing_of(
    graph: Graph,
    *,
    direction: Literal["TB", "LR"] = "TB",
    title: str | None = None,
    legend: bool = True,
    shapes: bool = True,
    initializers: bool = False,
    backward: bool = False,
    colour_by: ColourBy = "kind",
    show: str | tuple[str, ...] | None = None,
    theme: ThemeName = "light",
    fast: bool | None = None,
    labels: dict[str, str] | None = None,
    colours: dict[str, str] | None = None,
    width: float | None = None,
    font: str | None = None,
    wrap: int = 1,
) -> Drawing:
    """What is to be drawn of a graph, before any of it has a place. The options are those of `DotExporter`."""
    graph = without_accumulation(graph)
    look = THEMES[theme]
    scene = scene_of(
        graph,
        shown=fields(show, shapes),
        theme=look,
        colour_by=colour_by,
        initializers=initializers,
        lists=True,
        backward=backward,
    )
    fulfil(scene, labels, colours)
    if fast is None:
        fast = _span(graph) > LARGE
    title = title_of(graph) if title is None else title
    steps = scene.scale.legend() if scene.scale is not None and legend else []
    kinds, less = (scene.legend, scene.note) if legend else ([], "")
    columns = 4 if direction == "TB" else 8

    def headline(note: str) -> str:
        """The label of the whole drawing, which takes no part in the layout."""
        told = " · ".join(filter(None, [less, note if legend else ""]))
        return heading(title, kinds, columns, steps, told) if title or kinds or steps or told else ""

    name = legible(title, 200).replace("\\", "\\\\").replace('"', '\\"')
    ids = _numbered(graph, scene)
    numbers: dict[Frame | None, int] = {frame: number for number, frame in enumerate(scene.frames)}
    return Drawing(
        f'"{name or "graph"}"',
        _defaults(look, {"rankdir": direction, **(HASTE if fast else {})}, width, font),
        [_mark(frame, numbers, title, look, direction) for frame in scene.frames],
        {id: BoxMark(numbers.get(box.frame), _box(box, scene.styles, look)) for box, id in ids.items()},
        list(_arrows(graph, scene, ids, look, beside=direction == "TB")),
        headline,
        fast,
        1.0 if font is None else WIDER,
        checked_columns(wrap),
        direction == "LR",
    )


class DotExporter:
    """Graphviz DOT: module calls as nested clusters, shapes on the edges, colours by kind.

    Options of `export`:
        direction: where the data flows: to the bottom or to the right.
        title: what stands above; the graph's name if None, nothing if empty.
        legend: whether to explain the colours, those that occur.
        shapes: whether edges carry shape and dtype. Not in DOT text for a fast layout.
        initializers: whether to draw parameters and buffers: in the box of the module that uses them, or as a box of
            their own if they are shared or used by a function. One that the graph returns is always drawn. In an
            autograd graph the parameter stands for the node that accumulates its gradient, too.
        backward: whether to draw, beside each edge that a gradient came back along, an arrow the other way; as far as
            the recording tells.
        colour_by: what the colour of a call says: its kind, or how much of something it takes, on a logarithmic scale
            that the legend shows. ``"gradient"`` is the norm of the gradients that arrived, which
            ``Recorder(net, gradients="stats")`` measures; the others are those of `recorder.figures`. Grey is a call
            of which it is not known.
        show: what stands on nodes and edges, as a tuple, or one text with commas: of ``name``, ``hyper_parameters``,
            ``shape``, ``dtype``, and all that can be coloured by. The first four if None.
        theme: for a white page, a dark screen, black and white print, or readers who see fewer colours.
        fast: whether to lay out fast rather than well; by the graph's size if None.
        labels: what boxes and frames say instead, by their names: ``{"layer1": "Stage 1"}``. A name is that of a
            module's call, a function or a tensor, or a pattern in which ``*`` is any characters, dots too; of several
            that fit, the last one counts. On the command line, as JSON.
        colours: what fills boxes and frames, by their names in the same way: ``{"layer1*": "#cfe6f8"}``. A colour is
            ``#rrggbb``, ``#rgb``, or one of CSS's common names.
        width: inches that the drawing is wide: all of it, its type too, is scaled to that.
        font: the family of the type, as ``Times New Roman``, if it is not Helvetica or Arial. It has to be installed
            where the picture is drawn and, for svg, where it is read.
        wrap: columns that a long chain is broken into; rows, where the data flows to the right. Only in pictures that
            are drawn here, and by Graphviz.
    """

    name, suffixes, media_type = "dot", (".dot", ".gv"), "text/vnd.graphviz"
    room = ROOM

    @takes_options_of(drawing_of)
    def export(self, graph: Graph, **drawing: Any) -> str:
        """The graph as DOT text.

        Raises:
            OptionError: what to colour by is not known, or there is no such field to show.
            ExportError: scopes nest deeper than pydot can write, which is at several hundred levels.
        """
        return drawing_of(graph, **drawing).text()

    def torchviz_drawing(self, width: int) -> "TorchvizDrawing":
        """What `recorder.make_dot` draws on, which asks the installed exporter of DOT for it."""
        from recorder_exporters.torchviz import TorchvizDrawing

        return TorchvizDrawing(width)
