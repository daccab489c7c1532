"""Graphviz's DOT language, and so what the pictures are rendered from.

Three steps, with plain data between them: `_boxes` and `_arrows` decide what is drawn and say it in DOT's attributes,
`_write` puts that into pydot. pydot guesses whether a text needs quotes, and guesses wrong on some; so nothing that
comes from a model reaches it as an id, and every label and tooltip is quoted before.

Operations have round corners, tensors sharp ones.
"""

import math
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from recorder import ExportError, Graph, Node, Scope, Value, backward_reached
from recorder_exporters.colour_scale import ColourBy, ColourScale, scale_of
from recorder_exporters.dot_markup import (
    escaped,
    heading,
    line_of,
    shape_and_dtype,
    shape_over_dtype,
    small,
    tooltip,
    wrapped,
)
from recorder_exporters.look import (
    ROOM,
    STYLES,
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
from recorder_exporters.themes import THEMES, Theme, ThemeName, told_apart

if TYPE_CHECKING:
    import pydot

__all__ = ["DotExporter"]

LARGE = 2_000
"""Ranks spanned by all edges together, from which the layout is made in haste. Dot works on each rank that an edge
passes, so that this tells its time, and not the number of nodes: with care, 2,000 take it about three seconds, and
28,000, which DenseNet-121 has, half a minute."""

MEMBERS = 8
"""Parameters and buffers that are written in one box."""

Attributes = dict[str, Any]

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
            that the legend shows: see `recorder.figures`. ``"gradient"`` is the norm of the gradients
            that arrived, which ``Recorder(net, gradients="stats")`` measures; the metrics are those of
            `recorder.analysis.metrics`. Grey is a call of which it is not known.
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
        wanted = fields(show, shapes)
        look = _Look(THEMES[theme], wanted, figures_of(graph, wanted))
        boxes = list(_boxes(graph, initializers, look))
        scale = scale_of(graph, colour_by, look.theme)
        if scale is not None:
            boxes = [_measured(box, scale) for box in boxes]
        if fast is None:
            fast = _span(graph) > LARGE
        gradients = list(_gradients(graph, boxes, look.theme)) if backward else []
        twofold = {(arrow.tail, arrow.head) for arrow in gradients}
        arrows = list(_arrows(graph, boxes, look if not fast else None, beside=direction == "TB", twofold=twofold))
        title = title_of(graph) if title is None else title
        shown = {box.look for box in boxes} | ({"error"} if any(s.error for s in graph.scopes) else set())
        shown |= {"gradient"} if gradients else set()
        steps = scale.legend() if scale is not None and legend else []
        kinds = [kind for kind in STYLES if kind in shown and legend]
        attributes = {**GRAPH, "rankdir": direction, **(HASTE if fast else {})}
        less = left_out(graph) if legend else ""
        if title or kinds or steps or less:  # as the label of the whole drawing: it takes no part in the layout
            entries = told_apart(look.theme.styles[kind] for kind in kinds)
            attributes["label"] = heading(title, entries, 4 if direction == "TB" else 8, steps, less)
        return _write(graph, attributes, title, boxes, arrows + gradients, look.theme)


class _Look(NamedTuple):
    """Colours, and what stands on nodes and edges, as `recorder_exporters.shown` has it."""

    theme: Theme
    shown: frozenset[str]
    figures: Callable[[Node], str]


class _Box(NamedTuple):
    """What becomes a node of the drawing. ``look`` is a key into `STYLES`, "" if a scale gives the colours."""

    id: str
    scope: Scope | None
    look: str
    subject: "Node | Value"
    attributes: Attributes


class _Arrow(NamedTuple):
    tail: str
    head: str
    attributes: Attributes


def _boxes(graph: Graph, initializers: bool, look: _Look) -> Iterator[_Box]:
    """The graph's inputs and the other tensors that no node made, its nodes, and its outputs."""
    returned = {id(v) for v in graph.outputs}
    given = {id(v) for v in graph.inputs}

    def apart(value: Value) -> bool:
        if value.producer is not None:
            return False
        if id(value) in given or id(value) in returned or value.role not in ("parameter", "buffer"):
            return True
        return initializers and bool(value.uses) and not _is_private(value)

    for number, value in enumerate(filter(apart, graph.values())):
        scope = None if id(value) in given else _scope_around(value)
        yield _Box(f"v{number}", scope, value_class(value), value, _source(value, look))
    for number, node in enumerate(graph.nodes):
        own = [v for v in node.inputs if not apart(v) and v.role in ("parameter", "buffer")] if initializers else []
        yield _Box(f"n{number}", node.scope, class_of(node), node, _operation(node, own, look))
    for number, value in enumerate(graph.outputs):
        yield _Box(f"o{number}", None, "output", value, _tensor(value, "output", "output", look))


def _measured(box: _Box, scale: ColourScale) -> _Box:
    """The box of a node in the colour of its figure, unless an error is to be seen."""
    if not isinstance(box.subject, Node) or box.look == "error":
        return box
    return box._replace(look="", attributes={**box.attributes, **_colours(scale.style(box.subject))})


def _is_private(value: Value) -> bool:
    """Whether one module, or one autograd node, alone uses a parameter or buffer: then it is written in the box. Boxes
    of their own would outnumber the operations and pull the layout apart; they are left to what is shared.
    """
    owners = {node.name if node.kind == "autograd" else node.fqn for node, _ in value.uses}
    return len(owners) == 1 and None not in owners


def _arrows(
    graph: Graph, boxes: Iterable[_Box], look: _Look | None, beside: bool, twofold: Container[tuple[str, str]]
) -> Iterator[_Arrow]:
    """Every use of a tensor, by a node or as the graph's output, where both ends are drawn. Without words if ``look``
    is None.

    Dot makes room for a label by bending the edge, and in nested clusters it bends all of them. So on the spine, which
    is to run straight, a label stands ``beside`` the edge, where the column that the nodes make has room for it. Beside
    ``twofold`` edges an arrow comes back.
    """
    ids = {id(box.subject): box.id for box in boxes if box.look != "output"}
    spine = {(id(node), id(after)) for node, after in pairwise(graph.nodes) if _goes_on(node, after)}
    told: set[int | tuple[int, str]] = {id(value) for value in graph.outputs}

    def arrow(value: Value, user: Node | None, head: str) -> Iterator[_Arrow]:
        maker = value.producer
        tail = ids.get(id(value if maker is None else maker))
        if tail is None:
            return
        attributes = {"tooltip": tooltip([f"{value.name}: {caption(value)} on {value.device}"])}
        if maker is None and value.role != "input":
            attributes["style"] = "dashed"
        straight = (id(maker), id(user)) in spine
        if straight:
            attributes["weight"] = "4"  # much more, and dot shears the clusters apart
        # The box of a tensor says its shape itself, and so does one of two edges that run side by side.
        words = "" if look is None else _words(value, look)
        if words and maker is not None and user is not None and not {id(value), (id(value), head)} & told:
            alone = sum(v.producer is maker for v in user.inputs) == 1
            if beside and straight and alone and maker.scope is user.scope:
                attributes |= _label_beside(value, words, (tail, head) in twofold)
            else:
                attributes["label"] = f"<{words}>"
        told.add((id(value), head))
        yield _Arrow(tail, head, attributes)

    for node in graph.nodes:
        for value in node.inputs:
            yield from arrow(value, node, ids[id(node)])
    for number, value in enumerate(graph.outputs):
        yield from arrow(value, None, f"o{number}")


def _words(value: Value, look: _Look) -> str:
    """What stands on an edge."""
    return shape_over_dtype(value, "shape" in look.shown, "dtype" in look.shown, look.theme.faint)


def _gradients(graph: Graph, boxes: Iterable[_Box], theme: Theme) -> Iterator[_Arrow]:
    """The way back along each edge between two nodes that backward has gone. It does not move the nodes.

    It is an edge that is drawn from head to tail: one from below to above dot leads around what is in between.
    """
    ids = {id(box.subject): box.id for box in boxes}
    there = backward_reached(graph)
    attributes = {**GRADIENT, "color": f'"{theme.styles["gradient"].line}"'}
    for edge in graph.edges():
        if edge.value.requires_grad and edge.source in there and edge.target in there:
            yield _Arrow(ids[id(edge.source)], ids[id(edge.target)], attributes)


def _label_beside(value: Value, words: str, twofold: bool) -> Attributes:
    """A label right of where an edge leaves downwards, placed by its middle, as Graphviz wants it: in an angle from
    the edge and in units of 10 points. The size is an estimate for 8-point Helvetica.
    """
    across = 4.4 * max(len(shape_of(value)), len(value.dtype)) / 2 + (19 if twofold else 5)
    down = 15
    return {
        "taillabel": f"<{words}>",
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


def _scope_around(value: Value) -> Scope | None:
    """The innermost scope that holds every use."""
    common: list[Scope] | None = None
    for node, _ in value.uses:
        around = [] if node.scope is None else list(node.scope.ancestors())
        held = set(around)
        common = around if common is None else [scope for scope in common if scope in held]
    return common[0] if common else None


def _operation(node: Node, own: list[Value], look: _Look) -> Attributes:
    attributes = _colours(look.theme.styles[class_of(node)])
    words = line_of(node.op_type)
    lines = [f"<b>{words}</b>" if node.kind == "module" else words]
    if "hyper_parameters" in look.shown and (arguments := hints(node.attributes)):
        lines[0] += small(f"  {arguments}")
    if often := times(node):
        lines[0] += f"  <b>{often}</b>"
        attributes["peripheries"] = "2"
    name = short_name(node) if "name" in look.shown else ""
    parts = [line_of(name) if name else "", size_of(node)]
    if any(parts):
        lines.append(small(" · ".join(part for part in parts if part)))
    if figures := look.figures(node):
        lines.append(small(escaped(figures)))
    lines += [small(f"{line_of(_member(node, value))} {escaped(shape_of(value))}", 8) for value in own[:MEMBERS]]
    if len(own) > MEMBERS:
        lines.append(small(f"… and {len(own) - MEMBERS} more", 8))
    if node.error is not None:
        attributes["penwidth"] = "1.8"
        lines += wrapped(node.error)
    attributes["label"] = f"<{'<br/>'.join(lines)}>"
    attributes["tooltip"] = tooltip(
        [
            node.name,
            node.target,
            *([f"called in {node.meta['source']}"] if "source" in node.meta else []),
            *(f"{name}: {value!r}" for name, value in node.attributes.items()),
            *_stands_for(node),
            *(f"→ {caption(value)} on {value.device}" for value in node.outputs),
            *([] if node.error is None else [node.error]),
        ]
    )
    return attributes


def _stands_for(place: Node | Scope) -> list[str]:
    names = place.meta.get("repeated")
    return [f"stands for {', '.join(names)}"] if names else []


def _member(node: Node, value: Value) -> str:
    """What a parameter is called in the box of the module, or of what the module's call made, that uses it."""
    owner = node.fqn if node.kind == "module" else node.meta.get("forward")
    return value.name.removeprefix(f"{owner}.") if owner else value.name


def _source(value: Value, look: _Look) -> Attributes:
    if value.role == "activation":
        return {**_tensor(value, "activation", "unknown origin", look), "style": '"filled,dashed"'}
    if value.role == "input":
        return _tensor(value, "input", value.name, look)
    modest = {"fontsize": "9", "height": "0.2", "width": "0.3", "margin": '"0.08,0.03"'}
    return {**_tensor(value, value_class(value), value.name, look, bold=False), **modest}


def _tensor(value: Value, kind: str, words: str, look: _Look, bold: bool = True) -> Attributes:
    words = f"<b>{line_of(words)}</b>" if bold else line_of(words)
    if often := times(value):
        words += f"  <b>{often}</b>"
    return {
        **_colours(look.theme.styles[kind]),
        "style": "filled",
        "label": f"<{words}<br/>{small(shape_and_dtype(value, look.theme.faint), 8)}>",
        "tooltip": tooltip([value.name, f"{value.role}, {caption(value)} on {value.device}"]),
    }


def _clusters(graph: Graph, title: str, theme: Theme) -> Iterator[Attributes]:
    """How each scope is drawn. Of an error that passed through several, the innermost alone shows the words."""
    told: dict[int, set[str]] = {}
    for node in graph.nodes:
        if node.error is not None and node.scope is not None:
            for scope in node.scope.ancestors():
                told.setdefault(id(scope), set()).add(node.error)
    loud: set[int] = set()
    for scope in reversed(graph.scopes):
        if scope.error is not None and scope.error not in told.get(id(scope), ()):
            loud.add(id(scope))
            for ancestor in scope.ancestors():
                told.setdefault(id(ancestor), set()).add(scope.error)
    depths: dict[int, int] = {}
    for scope in graph.scopes:
        depth = depths[id(scope)] = 0 if scope.parent is None else depths[id(scope.parent)] + 1
        known = scope.op_type == title and not short_name(scope) and not times(scope)  # the title says it already
        yield _cluster(scope, depth, nameless=known, loud=id(scope) in loud, theme=theme)


def _cluster(scope: Scope, depth: int, nameless: bool, loud: bool, theme: Theme) -> Attributes:
    name, error = short_name(scope), scope.error
    often = times(scope)
    parts = [
        f"<b>{line_of(name)}</b>" if name else "",
        line_of(scope.op_type) if scope.op_type or not often else "",  # a group of blocks has none
        f"<b>{small(often, 12)}</b>" if often else "",
    ]
    words = "  ".join(filter(None, parts))
    lines = [*([] if nameless else [words]), *(wrapped(error) if loud and error is not None else [])]
    last = len(theme.scope_fills) - 1
    fill = theme.scope_fills[depth if depth <= last else last - (depth - last) % 2]
    return {
        "label": "<" + "".join(f'{line}<br align="right"/>' for line in lines) + ">" if lines else '""',
        "labeljust": "r",
        "tooltip": tooltip([scope.name, scope.target, *_stands_for(scope), *([] if error is None else [error])]),
        "style": '"rounded,filled"',
        "fillcolor": f'"{fill}"',
        "color": f'"{theme.scope_line if error is None else theme.styles["error"].line}"',
        "penwidth": "1.4" if error is not None else "1.8" if often else "0.8",
        "fontsize": "9",
        "fontcolor": f'"{theme.words if error is None else theme.styles["error"].text}"',
        "margin": "10",
    }


def _colours(style: Style) -> Attributes:
    return {"fillcolor": f'"{style.fill}"', "color": f'"{style.line}"', "fontcolor": f'"{style.text}"'}


def _write(
    graph: Graph, attributes: Attributes, title: str, boxes: list[_Box], arrows: list[_Arrow], theme: Theme
) -> str:
    import pydot

    name = legible(title, 200).replace("\\", "\\\\").replace('"', '\\"')
    attributes |= {"fontcolor": f'"{theme.ink}"', **({} if theme.page is None else {"bgcolor": f'"{theme.page}"'})}
    drawing = pydot.Dot(f'"{name or "graph"}"', graph_type="digraph", **attributes)
    drawing.set_node_defaults(**NODE)
    drawing.set_edge_defaults(**{**EDGE, "color": f'"{theme.edge}"', "fontcolor": f'"{theme.words}"'})
    homes: dict[int, pydot.Subgraph] = {}

    def home(scope: Scope | None) -> "pydot.Graph":
        return drawing if scope is None else homes[id(scope)]

    for number, (scope, cluster) in enumerate(zip(graph.scopes, _clusters(graph, title, theme), strict=True)):
        homes[id(scope)] = pydot.Subgraph(f"cluster_{number}", **cluster)
        home(scope.parent).add_subgraph(homes[id(scope)])
    for box in boxes:
        home(box.scope).add_node(pydot.Node(box.id, **box.attributes))
    for arrow in arrows:
        drawing.add_edge(pydot.Edge(arrow.tail, arrow.head, **arrow.attributes))
    try:
        return drawing.to_string()
    except RecursionError:
        raise ExportError(
            "the scopes nest too deeply for pydot; collapse some of them, for example with depth=100"
        ) from None
