"""What is drawn, before any format: graph → scene → text.

A scene has boxes in frames, arrows between them, a legend and a note, all of it in words and without markup. Which
tensors have a box, what a box says and in which colour, and where an error is told, is decided here, once for all
drawings. A format writes that down in its own language, within its own limits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

from recorder import Graph, Node, Scope, Value, backward_reached
from recorder.figures import stats_in_words
from recorder_exporters.drawing.colour_scale import ColourBy, ColourScale, scale_of
from recorder_exporters.drawing.differences import is_of_two, look_of, sign_of, words_of
from recorder_exporters.drawing.fields import figures_of
from recorder_exporters.drawing.link_lines import LinkLine, link_lines
from recorder_exporters.drawing.looks import legend_of, look_on, styles_of
from recorder_exporters.drawing.styles import Style, value_class
from recorder_exporters.drawing.themes import Theme
from recorder_exporters.drawing.words import (
    caption,
    details_of,
    hints,
    left_out,
    shape_of,
    short_name,
    size_of,
    times,
)

__all__ = ["Arrow", "Box", "Frame", "Line", "Part", "Role", "Scene", "scene_of"]

MEMBERS = 8
"""Parameters and buffers that are written in one box."""

Role: TypeAlias = Literal[
    "operation", "arguments", "times",  # what ran, with which arguments, and how often
    "name", "size",  # what it is called where it stands, and how much it stands for
    "figures",
    "member", "shape", "dtype",  # a parameter of its own; how large and of what it, or any tensor, is
    "more",  # how many members are not written
    "tensor", "number",  # what a tensor is called, and which one of several outputs it is
    "error",
]  # fmt: skip
"""What a part of a line says. A format may write some parts in another type, or not at all."""


class Part(NamedTuple):
    """A piece of text of any characters, as long as it is, and what it says."""

    role: Role
    text: str


Line: TypeAlias = tuple[Part, ...]
"""The first part tells what kind of line it is. It may be empty, as a name may be; others are there if they say
something.
"""


@dataclass(slots=True, eq=False)
class Frame:
    """A scope, drawn around what it holds: its heading and then, if it is the innermost to know of it, an error. Of
    scopes that hold nothing but each other it is the innermost, and ``name`` has all their names. ``fill`` is a colour
    that was asked for it alone.
    """

    scope: Scope
    parent: "Frame | None"
    depth: int
    lines: Sequence[Line]
    name: str = ""
    fill: str = ""

    @property
    def details(self) -> list[str]:
        """What there is to say beyond the lines, in lines of plain text."""
        return details_of(self.scope)


@dataclass(slots=True, eq=False)
class Box:
    """A node, a tensor that no node made, or one of the graph's outputs. ``look`` is a key into `Scene.styles`, and
    ``fill`` a colour that was asked for this box instead.
    """

    kind: Literal["operation", "tensor", "output"]
    subject: Node | Value
    frame: Frame | None
    look: str
    lines: Sequence[Line]
    fill: str = ""

    @property
    def details(self) -> list[str]:
        """What there is to say beyond the lines, in lines of plain text."""
        return details_of(self.subject)


@dataclass(slots=True, eq=False)
class Arrow:
    """A use of a tensor. ``stored`` tells that the tensor was there before and was not given, ``gradient`` that one
    came back; there are no ``words`` where the box at an end has them.
    """

    tail: Box
    head: Box
    value: Value
    words: Line
    stored: bool
    gradient: bool

    @property
    def details(self) -> list[str]:
        """What there is to say beyond the words, in lines of plain text."""
        told = stats_in_words(self.value)
        return [f"{self.value.name}: {caption(self.value)} on {self.value.device}", *([told] if told else ())]


@dataclass(slots=True, eq=False)
class Scene:
    """All that is drawn. Boxes and arrows are in reading order, a tensor just before its first use; frames come after
    those around them, and one may be empty. ``links`` tie what ranks did together.

    ``legend`` explains the kinds that occur, ``scale`` the colours of figures, if such were asked for; ``note`` says
    what is not shown, "" if nothing.
    """

    boxes: Sequence[Box]
    frames: Sequence[Frame]
    arrows: Sequence[Arrow]
    links: Sequence[LinkLine]
    styles: Mapping[str, Style]
    legend: Sequence[Style]
    scale: ColourScale | None
    note: str


def scene_of(
    graph: Graph,
    *,
    shown: frozenset[str],
    theme: Theme,
    colour_by: ColourBy = "kind",
    initializers: bool = False,
    lists: bool = False,
    backward: bool = False,
) -> Scene:
    """What is drawn of a graph.

    Args:
        graph: what to draw.
        shown: what boxes and arrows say, as `recorder_exporters.drawing.fields.fields` has it.
        theme: the colours.
        colour_by: what the colour of a call says.
        initializers: whether to draw parameters and buffers that are used. One that is given or returned always is.
        lists: whether a parameter that one module alone uses is a line in the boxes of that module, and not a box.
        backward: whether to tell along which arrows a gradient came back, as far as the recording tells.

    Raises:
        OptionError: no node has the figure to colour by.
    """
    scale = scale_of(graph, colour_by, theme)
    frames = dict(_frames(graph))
    boxes = list(_boxes(graph, frames, _boxed(graph, initializers, lists), shown, scale, initializers))
    arrows = list(_arrows(graph, boxes, shown, backward_reached(graph) if backward else set()))
    links = list(link_lines(graph, boxes))
    kinds = {box.look for box in boxes}
    kinds |= {"error"} if any(scope.error for scope in graph.scopes) else set()
    kinds |= {"gradient"} if any(arrow.gradient for arrow in arrows) else set()
    kinds |= {"link"} if links else set()
    return Scene(
        boxes,
        list(dict.fromkeys(frames.values())),
        arrows,
        links,
        styles_of(theme, scale),
        legend_of(theme, kinds),
        scale,
        left_out(graph),
    )


def _frames(graph: Graph) -> Iterator[tuple[Scope, Frame]]:
    """Every scope and its frame: one for several that hold nothing but each other, under the path of their names. Of an
    error that passed through several, the innermost alone has the words.
    """
    told: dict[Scope, set[str]] = {}
    for node in graph.nodes:
        if node.error is not None and node.scope is not None:
            for scope in node.scope.ancestors():
                told.setdefault(scope, set()).add(node.error)
    tells: set[Scope] = set()
    for scope in reversed(graph.scopes):
        if scope.error is not None and scope.error not in told.get(scope, ()):
            tells.add(scope)
            for ancestor in scope.ancestors():
                told.setdefault(ancestor, set()).add(scope.error)
    frames: dict[Scope, Frame] = {}
    wrappers = _wrappers(graph)
    for scope in graph.scopes:
        parent = None if scope.parent is None else frames[scope.parent]
        if scope.parent in wrappers and parent is not None:  # the frame that is there already is this one's
            names = [name for name in (parent.name, short_name(scope)) if name]
            parent.scope, parent.name = scope, ".".join(names)
            heading = [part for part in _heading(scope) if part.role != "name"]
            parent.lines = [(*_part("name", parent.name), *heading)]
            frames[scope] = parent
            yield scope, parent
            continue
        error = [(Part("error", scope.error),)] if scope in tells and scope.error is not None else []
        depth = 0 if parent is None else parent.depth + 1
        frames[scope] = Frame(scope, parent, depth, [_heading(scope), *error], short_name(scope))
        yield scope, frames[scope]


def _wrappers(graph: Graph) -> set[Scope | None]:
    """Scopes that hold one scope and nothing else, of which there is nothing to tell but their names."""
    inside: dict[Scope | None, list[Node | Scope]] = {}
    for node in graph.nodes:
        inside.setdefault(node.scope, []).append(node)
    for scope in graph.scopes:
        inside.setdefault(scope.parent, []).append(scope)

    def plain(scope: Scope) -> bool:
        return scope.error is None and not times(scope)

    return {
        scope
        for scope, (only, *others) in inside.items()
        if scope is not None and scope.parent is not None and isinstance(only, Scope) and not others
        if plain(scope) and plain(only)
    }


def _heading(scope: Scope) -> Line:
    """A scope that no module made, as one around a group of blocks, has no type: it says how often it was there."""
    often = times(scope)
    operation = [Part("operation", sign_of(scope) + scope.op_type)] if scope.op_type or not often else []
    return (*_part("name", short_name(scope)), *operation, *_part("times", often))


def _boxed(graph: Graph, initializers: bool, lists: bool) -> Callable[[Value], bool]:
    """Which tensors have a box of their own, and are not the arrow from the node that made them."""
    always = {*graph.inputs, *graph.outputs}

    def boxed(value: Value) -> bool:
        if value.producer is not None:
            return False
        if value in always or value.role not in ("parameter", "buffer"):
            return True
        return initializers and bool(value.uses) and not (lists and _is_private(value))

    return boxed


def _is_private(value: Value) -> bool:
    """Whether one module, or one autograd node, alone uses a parameter or buffer: then it can be written in the box.
    Boxes of their own would outnumber the operations and pull the layout apart; they are left to what is shared.
    """
    owners = {node.name if node.kind == "autograd" else node.fqn for node, _ in value.uses}
    return len(owners) == 1 and None not in owners


def _boxes(
    graph: Graph,
    frames: Mapping[Scope, Frame],
    boxed: Callable[[Value], bool],
    shown: frozenset[str],
    scale: ColourScale | None,
    members: bool,
) -> Iterator[Box]:
    """Each tensor that no node made before its first use, the graph's inputs before all."""
    given = set(graph.inputs)
    drawn: set[Value] = set()
    figures = figures_of(graph, shown)

    def tensors(values: Sequence[Value]) -> Iterator[Box]:
        for value in values:
            if value not in drawn and boxed(value):
                drawn.add(value)
                scope = None if value in given else _scope_around(value)
                name = "unknown origin" if value.role == "activation" else value.name
                frame = None if scope is None else frames[scope]
                yield Box("tensor", value, frame, value_class(value), _tensor((Part("tensor", name),), value))

    yield from tensors(graph.inputs)
    for node in graph.nodes:
        yield from tensors(node.inputs)
        own = [v for v in node.inputs if v.role in ("parameter", "buffer") and not boxed(v)] if members else []
        frame = None if node.scope is None else frames[node.scope]
        look = look_of(node) if scale is None and is_of_two(graph) else look_on(node, scale)
        yield Box("operation", node, frame, look, _operation(node, own, shown, figures(node)))
    for value, name in _returned(graph).items():
        yield from tensors([value])
        yield Box("output", value, None, "output", _tensor(name, value))


def _returned(graph: Graph) -> dict[Value, Line]:
    """The graph's outputs, each once, and what they are called: as their calls name them, ``0, 2`` if one was returned
    twice. What has no name is told by its number, if there are several.
    """
    names: dict[Value, list[str]] = {}
    numbers: dict[Value, int] = {}
    for number, (value, name) in enumerate(zip(graph.outputs, graph.output_names, strict=True)):
        numbers.setdefault(value, number)
        names.setdefault(value, []).extend([name] if name else [])
    return {
        value: (Part("tensor", ", ".join(dict.fromkeys(names[value]))),)
        if names[value]
        else (Part("tensor", "output"), *_part("number", str(number) if len(numbers) > 1 else ""))
        for value, number in numbers.items()
    }


def _scope_around(value: Value) -> Scope | None:
    """The innermost scope that holds every use."""
    common: list[Scope] | None = None
    for node, _ in value.uses:
        around = [] if node.scope is None else list(node.scope.ancestors())
        held = set(around)
        common = around if common is None else [scope for scope in common if scope in held]
    return common[0] if common else None


def _part(role: Role, text: str) -> Line:
    """A part, if it says something."""
    return (Part(role, text),) if text else ()


def _tensor(name: Line, value: Value) -> list[Line]:
    return [(*name, *_part("times", times(value))), (Part("shape", shape_of(value)), Part("dtype", value.dtype))]


def _operation(node: Node, own: Sequence[Value], shown: frozenset[str], figures: str) -> list[Line]:
    """What stands on a node."""
    arguments = hints(node.attributes) if "hyper_parameters" in shown else ""
    name = short_name(node) if "name" in shown else ""
    lines = [
        (Part("operation", sign_of(node) + node.op_type), *_part("arguments", arguments), *_part("times", times(node))),
        (*_part("name", name), *_part("size", size_of(node))),
        _part("figures", figures),
        *(_part("figures", words) for words in words_of(node).split(", ")),
        *((Part("member", _member(node, value)), Part("shape", shape_of(value))) for value in own[:MEMBERS]),
        _part("more", f"… and {len(own) - MEMBERS} more" if len(own) > MEMBERS else ""),
        _part("error", node.error or ""),
    ]
    return [line for line in lines if line]


def _member(node: Node, value: Value) -> str:
    """What a parameter is called in the box of the module, or of what the module's call made, that uses it."""
    owner = node.fqn if node.kind == "module" else node.meta.get("forward")
    return value.name.removeprefix(f"{owner}.") if owner else value.name


def _arrows(graph: Graph, boxes: Sequence[Box], shown: frozenset[str], there: set[Node]) -> Iterator[Arrow]:
    """Every use of a tensor, by a node or as the graph's output, where both ends are drawn. ``there`` has the nodes
    that a gradient came to.
    """
    ends = {box.subject: box for box in boxes if box.kind != "output"}
    outputs = [box for box in boxes if box.kind == "output"]

    def arrow(value: Value, head: Box) -> Iterator[Arrow]:
        maker = value.producer
        tail = ends.get(value if maker is None else maker)
        if tail is not None:
            words = () if maker is None or head.kind == "output" else _words(value, shown)
            gradient = bool(value.requires_grad) and maker in there and head.subject in there
            yield Arrow(tail, head, value, words, maker is None and value.role != "input", gradient)

    for node in graph.nodes:
        for value in node.inputs:
            yield from arrow(value, ends[node])
    for value, box in zip(dict.fromkeys(graph.outputs), outputs, strict=True):
        yield from arrow(value, box)


def _words(value: Value, shown: frozenset[str]) -> Line:
    """What stands on an arrow."""
    parts = (Part("shape", shape_of(value)), Part("dtype", value.dtype))
    return tuple(part for part in parts if part.role in shown)
