"""Graphviz's DOT language, and so what the pictures are rendered from.

The scene says what is drawn; here it becomes DOT's attributes, and `_write` puts those into pydot. pydot guesses
whether a text needs quotes, and guesses wrong on some; so nothing that comes from a model reaches it as an id, and
every label and tooltip is quoted before.

Operations have round corners, tensors sharp ones.
"""

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from recorder import ROOM, ExportError, Graph, Node, Value, without_accumulation
from recorder_exporters.drawing.colour_scale import ColourBy
from recorder_exporters.drawing.dot_markup import (
    heading,
    is_prominent,
    label_of_arrow,
    label_of_box,
    label_of_frame,
    tooltip,
)
from recorder_exporters.drawing.fields import fields
from recorder_exporters.drawing.scene import Arrow, Box, Frame, Part, Scene, scene_of
from recorder_exporters.drawing.styles import Style
from recorder_exporters.drawing.themes import THEMES, Theme, ThemeName
from recorder_exporters.drawing.words import legible, shape_of, times, title_of

if TYPE_CHECKING:
    from recorder_exporters.torchviz import TorchvizDrawing

__all__ = ["DotExporter"]

LARGE = 2_000
"""Ranks spanned by all edges together, from which the layout is made in haste. Dot works on each rank that an edge
passes, so that this tells its time, and not the number of nodes: with care, 2,000 take it about three seconds, and
28,000, which DenseNet-121 has, half a minute."""

Attributes: TypeAlias = dict[str, Any]

# What is empty here, a theme fills in.
FONT = '"Helvetica,Arial,sans-serif"'
GRAPH: Attributes = {
    "fontname": FONT, "fontsize": "14", "fontcolor": "", "labelloc": "t", "pad": "0.2",
    "nodesep": "0.28", "ranksep": "0.42",
}  # fmt: skip
NODE: Attributes = {
    "shape": "box", "style": '"rounded,filled"', "penwidth": "0.9", "height": "0.3", "width": "0.6",
    "margin": '"0.13,0.07"', "fontname": FONT, "fontsize": "11",
}  # fmt: skip
EDGE: Attributes = {
    "color": "", "penwidth": "0.9", "arrowsize": "0.55", "fontname": FONT, "fontsize": "8", "fontcolor": "",
}  # fmt: skip
GRADIENT: Attributes = {"style": "dashed", "tooltip": "gradient", "dir": "back", "constraint": "false"}
HASTE: Attributes = {"nslimit": "1", "nslimit1": "1", "mclimit": "0.1", "splines": "line"}


class DotExporter:
    """Graphviz DOT: module calls as nested clusters, shapes on the edges, colours by kind.

    Options of `export`:
        direction: where the data flows: to the bottom or to the right.
        title: what stands above; the graph's name if None, nothing if empty.
        legend: whether to explain the colours, those that occur.
        shapes: whether edges carry shape and dtype. Not drawn in a fast layout.
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
    """

    name, suffixes, media_type = "dot", (".dot", ".gv"), "text/vnd.graphviz"
    room = ROOM

    def export(
        self,
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
    ) -> str:
        """The graph as DOT text.

        Raises:
            OptionError: what to colour by is not known, or there is no such field to show.
            ExportError: scopes nest deeper than pydot can write, which is at several hundred levels.
        """
        graph = without_accumulation(graph)
        shown = fields(show, shapes)
        scene = scene_of(
            graph,
            shown=shown,
            theme=THEMES[theme],
            colour_by=colour_by,
            initializers=initializers,
            lists=True,
            backward=backward,
        )
        if fast is None:
            fast = _span(graph) > LARGE
        title = title_of(graph) if title is None else title
        attributes = {**GRAPH, "rankdir": direction, **(HASTE if fast else {})}
        steps = scene.scale.legend() if scene.scale is not None and legend else []
        kinds, less = (scene.legend, scene.note) if legend else ([], "")
        if title or kinds or steps or less:  # as the label of the whole drawing: it takes no part in the layout
            attributes["label"] = heading(title, kinds, 4 if direction == "TB" else 8, steps, less)
        ids = _numbered(graph, scene)
        arrows = _arrows(graph, scene, ids, THEMES[theme], worded=not fast, beside=direction == "TB")
        return _write(scene, attributes, title, ids, arrows, THEMES[theme])

    def torchviz_drawing(self, width: int) -> "TorchvizDrawing":
        """What `recorder.make_dot` draws on, which asks the installed exporter of DOT for it."""
        from recorder_exporters.torchviz import TorchvizDrawing

        return TorchvizDrawing(width)


Edge: TypeAlias = tuple[str, str, Attributes]
"""From where to where, and how it looks."""


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


def _arrows(
    graph: Graph, scene: Scene, ids: Mapping[Box, str], theme: Theme, worded: bool, beside: bool
) -> Iterator[Edge]:
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
        if worded and arrow.words and value not in returned and (value, arrow.head) not in told:
            words = label_of_arrow(arrow.words, theme.faint)
            if beside and straight and _is_alone(arrow) and arrow.tail.frame is arrow.head.frame:
                attributes |= _label_beside(value, words, (arrow.tail, arrow.head) in twofold)
            else:
                attributes["label"] = words
        told.add((value, arrow.head))
        yield ids[arrow.tail], ids[arrow.head], attributes
    # Drawn from head to tail: an edge from below to above dot leads around what is in between.
    back = {**GRADIENT, "color": f'"{theme.styles["gradient"].line}"'}
    for arrow in scene.arrows:
        if arrow.gradient:
            yield ids[arrow.tail], ids[arrow.head], back


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
    attributes = _colours(styles[box.look])
    modest: Attributes = {}
    if isinstance(box.subject, Node):
        attributes |= {"peripheries": "2"} if times(box.subject) else {}
        attributes |= {"penwidth": "1.8"} if box.subject.error is not None else {}
    else:
        attributes["style"] = '"filled,dashed"' if box.look == "activation" else "filled"
        if not is_prominent(box):
            modest = {"fontsize": "9", "height": "0.2", "width": "0.3", "margin": '"0.08,0.03"'}
    return {**attributes, "label": label_of_box(box, theme.faint), "tooltip": tooltip(box.details), **modest}


def _cluster(frame: Frame, title: str, theme: Theme) -> Attributes:
    failed, often = frame.scope.error is not None, times(frame.scope)
    last = len(theme.scope_fills) - 1
    fill = theme.scope_fills[frame.depth if frame.depth <= last else last - (frame.depth - last) % 2]
    return {
        "label": label_of_frame(frame, nameless=frame.lines[0] == (Part("operation", title),)),  # which the title says
        "labeljust": "r",
        "tooltip": tooltip(frame.details),
        "style": '"rounded,filled"',
        "fillcolor": f'"{fill}"',
        "color": f'"{theme.styles["error"].line if failed else theme.scope_line}"',
        "penwidth": "1.4" if failed else "1.8" if often else "0.8",
        "fontsize": "9",
        "fontcolor": f'"{theme.styles["error"].text if failed else theme.words}"',
        "margin": "10",
    }


def _colours(style: Style) -> Attributes:
    return {"fillcolor": f'"{style.fill}"', "color": f'"{style.line}"', "fontcolor": f'"{style.text}"'}


def _write(
    scene: Scene, attributes: Attributes, title: str, ids: Mapping[Box, str], arrows: Iterator[Edge], theme: Theme
) -> str:
    import pydot

    name = legible(title, 200).replace("\\", "\\\\").replace('"', '\\"')
    attributes |= {"fontcolor": f'"{theme.ink}"', **({} if theme.page is None else {"bgcolor": f'"{theme.page}"'})}
    drawing = pydot.Dot(f'"{name or "graph"}"', graph_type="digraph", **attributes)
    drawing.set_node_defaults(**NODE)
    drawing.set_edge_defaults(**{**EDGE, "color": f'"{theme.edge}"', "fontcolor": f'"{theme.words}"'})
    homes: dict[Frame | None, pydot.Graph] = {None: drawing}
    for number, frame in enumerate(scene.frames):
        cluster = homes[frame] = pydot.Subgraph(f"cluster_{number}", **_cluster(frame, title, theme))
        homes[frame.parent].add_subgraph(cluster)
    for box, id in ids.items():
        homes[box.frame].add_node(pydot.Node(id, **_box(box, scene.styles, theme)))
    for tail, head, how in arrows:
        drawing.add_edge(pydot.Edge(tail, head, **how))
    try:
        return drawing.to_string()
    except RecursionError:
        raise ExportError(
            "the scopes nest too deeply for pydot; collapse some of them, for example with depth=100"
        ) from None
