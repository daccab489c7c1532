"""Recorded graphs as TikZ: figures that LaTeX typesets in the fonts of the paper they stand in.

What is drawn is decided as for all drawings, in the scene; Graphviz says where; here it is written down in TikZ.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Literal

from recorder_exporters.scenes import THEMES, Box, ColourBy, Frame, Scene, Theme, ThemeName, fields, scene_of, times
from recorder_tikz_layout import Layout, Line, Place, Plan, layout_of
from recorder_tikz_lines import LARGE, SMALL, TITLE, Lines, further, heading, owned, phrase, words
from recorder_tikz_skips import with_skips
from recorder_tikz_text import DEFINITIONS, latex
from recorder_tikz_words import Rect, Room

from recorder import ROOM, Graph, Node, Register, hookimpl, without_accumulation

__all__ = ["TikzExporter"]

ABREAST = 3
"""Outputs that stand beside each other at the end; of more, each stands where it was made."""

WIDEST = 200.0
"""What a frame is widened to, in big points, for its title to stand beside the arrow that comes in."""

SHOWN = ("name", "hyper_parameters", "shape")


class TikzExporter:
    r"""TikZ, for papers: modules as titled frames, shapes on the arrows, in the fonts of the document.

    Options of `export`:
        direction: where the data flows: to the bottom or to the right.
        width: a length of LaTeX, such as ``\textwidth`` or ``8cm``, that the figure is scaled to, its type too; its
            own size if empty, in which type has 8 and 6 points.
        standalone: whether it is a document that makes a page as large as the figure, or only the picture, for
            ``\input`` in a document with ``\usepackage{tikz}`` and ``\usetikzlibrary{arrows.meta}``.
        labels: LaTeX of your own for boxes and frames, by the name of the node, scope or tensor, or else by the type of
            a call: ``{"layer1.0": r"residual block $B_1$", "Conv2d": "Conv"}``. Lines end with ``\\``. Of a frame it
            is the title.
        legend: whether to explain the colours below.
        initializers: whether to draw parameters and buffers, as in ``dot``.
        colour_by: what the colour of a call says, as in ``dot``.
        show: what stands on boxes and arrows, as in ``dot``: name, hyper-parameters and shape if None.
        theme: ``print`` is black and white.
        timeout: seconds that the layout may take.
    """

    name, suffixes, media_type = "tikz", (".tex", ".tikz"), "text/x-tex"
    room = ROOM

    def export(
        self,
        graph: Graph,
        *,
        direction: Literal["TB", "LR"] = "TB",
        width: str = "",
        standalone: bool = True,
        labels: Mapping[str, str] | None = None,
        legend: bool = False,
        initializers: bool = False,
        colour_by: ColourBy = "kind",
        show: str | tuple[str, ...] | None = None,
        theme: ThemeName = "light",
        timeout: float = 600,
    ) -> str:
        """The graph as the text of a LaTeX file, in ASCII; the same for the same Graphviz.

        Raises:
            ExportError: neither Graphviz nor graphviz-pure is installed, or it failed; says what to do.
            OptionError: what to colour by is not known, or there is no such field to show.
        """
        graph = without_accumulation(graph)
        scene = scene_of(
            graph,
            shown=fields(SHOWN if show is None else show, shapes=True),
            theme=THEMES[theme],
            colour_by=colour_by,
            initializers=initializers,
            lists=True,
        )
        figure = _Figure(graph, scene, THEMES[theme], dict(labels or {}), direction, timeout)
        lines = [*figure.picture(legend)]
        if width:
            lines = [rf"\resizebox{{{width}}}{{!}}{{%", *lines, "}"]
        return "\n".join([*_document(lines)] if standalone else [DEFINITIONS, *lines]) + "\n"


def _document(lines: list[str]) -> Iterator[str]:
    """A document of one page that is as large as the figure."""
    yield r"\documentclass{article}"
    yield r"\usepackage{tikz}"
    yield r"\usetikzlibrary{arrows.meta}"
    yield DEFINITIONS
    yield r"\ifdefined\pdfpagewidth\else\let\pdfpagewidth\pagewidth\let\pdfpageheight\pageheight\fi"
    yield r"\newsavebox\graphfigure"
    yield r"\begin{document}"
    yield r"\sbox\graphfigure{%"
    yield from lines
    yield "}"
    yield r"\pdfpagewidth=\dimexpr\wd\graphfigure+4mm\relax"
    yield r"\pdfpageheight=\dimexpr\ht\graphfigure+\dp\graphfigure+4mm\relax"
    yield r"\hoffset=\dimexpr2mm-1in\relax \voffset=\hoffset"
    yield r"\shipout\vbox{\box\graphfigure}"
    yield r"\end{document}"


class _Figure:
    """One figure: the scene, its sizes, its layout."""

    def __init__(
        self,
        graph: Graph,
        scene: Scene,
        theme: Theme,
        labels: Mapping[str, str],
        direction: Literal["TB", "LR"],
        timeout: float,
    ) -> None:
        self.scene, self.theme, self.labels = scene, theme, labels
        self.frames = [frame for frame in scene.frames if frame in _around(scene)]
        self.texts = [self._text_of(box) for box in scene.boxes]
        self.titles = [self._title_of(frame) for frame in self.frames]
        self.words = _worded(graph, scene)
        plan = self._plan(graph, direction)
        self.layout = with_skips(layout_of(plan, direction, timeout), plan, direction)

    def _plan(self, graph: Graph, direction: str) -> Plan:
        frame_number = {frame: number for number, frame in enumerate(self.frames)}
        box_number = {box: number for number, box in enumerate(self.scene.boxes)}
        plan = Plan()
        for box, text in zip(self.scene.boxes, self.texts):
            plan.boxes.append((*text.size(5, 3), None if box.frame is None else frame_number[box.frame]))
        wide = self._widths() if direction == "TB" else {}
        for frame, title in zip(self.frames, self.titles):
            across, up = title.size(1, 0)
            around = None if frame.parent is None else frame_number[frame.parent]
            plan.frames.append((max(across, wide.get(frame, 0.0)), up, around))
        outputs = [box_number[box] for box in self.scene.boxes if box.kind == "output"]
        plan.last = outputs if len(outputs) <= ABREAST else []
        spine = {(node, after) for node, after in pairwise(graph.nodes) if _goes_on(node, after)}
        for arrow in self.scene.arrows:
            straight = (arrow.tail.subject, arrow.head.subject) in spine
            plan.lines.append((box_number[arrow.tail], box_number[arrow.head], 8 if straight else 1))
        if direction == "LR":  # words stand along the arrows there
            plan.gap = max([plan.gap, *(text.size(4, 0)[0] for text in self.words if text is not None)])
        return plan

    def _widths(self) -> dict[Frame, float]:
        """How wide frames have to be, for titles and words beside an arrow that runs down in their middle."""
        titles = {frame: 2 * title.size(6)[0] for frame, title in zip(self.frames, self.titles)}
        found = {frame: across for frame, across in titles.items() if across < WIDEST}
        for arrow, text in zip(self.scene.arrows, self.words):
            frame = arrow.tail.frame
            if text is not None and frame is not None and frame is arrow.head.frame:
                found[frame] = max(found.get(frame, 0.0), 2 * text.size(4, 0)[0] - 8)
        return found

    def _text_of(self, box: Box) -> Lines:
        subject = box.subject
        operation = subject.op_type if isinstance(subject, Node) else ""
        own = self.labels.get(subject.name, self.labels.get(operation))
        if own is not None:
            return owned(own, LARGE)
        bold = subject.kind == "module" if isinstance(subject, Node) else box.look in ("input", "output")
        prominent = isinstance(subject, Node) or box.look in ("input", "output", "activation")
        first = phrase(box.lines[0], LARGE if prominent else SMALL, bold)
        return Lines([first, *(row for line in box.lines[1:] for row in further(line))])

    def _title_of(self, frame: Frame) -> Lines:
        own = self.labels.get(frame.scope.name, self.labels.get(frame.scope.op_type))
        if own is not None:
            return owned(own, TITLE)
        first, *others = frame.lines
        return Lines([heading(first), *(row for line in others for row in further(line))])

    def picture(self, legend: bool) -> Iterator[str]:
        """The lines of the tikzpicture."""
        layout, theme = self.layout, self.theme
        yield r"\begin{tikzpicture}[x=1bp, y=1bp, line width=0.45pt, >={Stealth[length=3.6pt, width=3pt]},"
        yield r"  graph text/.style={inner sep=0pt, outer sep=0pt},"
        yield r"  graph words/.style={graph text, font=\fontsize{6}{7.2}\selectfont},"
        yield r"  graph box/.style={graph text, draw, align=center, rounded corners=2pt,"
        yield r"    font=\fontsize{8}{8}\selectfont},"
        yield r"  graph tensor/.style={graph box, sharp corners}]"
        yield from _colours(self.scene, theme)
        # Of nothing, too: LaTeX scales no figure that has no size.
        page = r"\path" if theme.page is None else r"\fill[graph-page]"
        yield f"{page} {_rectangle(_bounds(layout))};"
        for number, place in layout.frames.items():
            yield _frame(self.frames[number], place, theme)
        for number, line in sorted(layout.lines.items()):
            style = "->, densely dashed" if self.scene.arrows[number].stored else "->"
            yield rf"\draw[{style}, graph-arrow] {_curve(line)};"
        yield from self._words()
        for number, (box, text) in enumerate(zip(self.scene.boxes, self.texts)):
            yield _node(box, text, layout.boxes[number])
        if legend:
            yield from _legend(self.scene, _bounds(layout))
        yield r"\end{tikzpicture}%"

    def _words(self) -> Iterator[str]:
        """The titles of frames, then the words of arrows."""
        layout = self.layout
        borders = [Rect.of(place) for place in layout.frames.values()]
        room = Room([Rect.of(place, 1) for place in layout.boxes.values()], borders, list(layout.lines.values()))
        for number, place in layout.frames.items():
            title, rect = self.titles[number], Rect.of(place)
            if title.rows:
                across, up = title.size()
                left, right = rect.left + 5, rect.right - 5 - across
                taken = {x: Rect(x - 1, rect.high - 4 - up, x + across + 1, rect.high - 3) for x in (left, right)}
                x = next((x for x, covered in taken.items() if not room.crossed(covered)), left)
                room.take(taken[x])
                colour = "graph-error-text" if self.frames[number].scope.error is not None else "graph-words"
                yield _text(title, x, rect.high - 4, "north west", colour)
        for number, text in enumerate(self.words):
            if text is not None and number in layout.lines:
                middle = room.beside(layout.lines[number], *text.size())
                if middle is not None:
                    yield _text(text, *middle, "center", "graph-words")


def _frame(frame: Frame, place: Place, theme: Theme) -> str:
    last = len(theme.scope_fills) - 1
    depth = frame.depth if frame.depth <= last else last - (frame.depth - last) % 2
    line = "graph-frame-line" if frame.scope.error is None else "graph-error-line"
    often = ", double, double distance=0.8pt" if times(frame.scope) else ""
    return rf"\draw[{line}, fill=graph-frame{depth}, rounded corners=3pt{often}] {_rectangle(Rect.of(place))};"


def _around(scene: Scene) -> set[Frame]:
    """The frames that hold something."""
    found: set[Frame] = set()
    for box in scene.boxes:
        frame = box.frame
        while frame is not None and frame not in found:
            found.add(frame)
            frame = frame.parent
    return found


def _goes_on(node: Node, after: Node) -> bool:
    """Whether a reader would draw an arrow between two nodes in execution order straight: it is all there is, or goes
    on within one block.
    """
    return node.scope is after.scope or after.predecessors() == [node]


def _worded(graph: Graph, scene: Scene) -> list[Lines | None]:
    """What stands beside each arrow. Of two side by side one has it, and what is returned has it in its box."""
    returned = set(graph.outputs)
    told: set[object] = set()
    found: list[Lines | None] = []
    for arrow in scene.arrows:
        key = (arrow.value, arrow.head)
        said = arrow.words and arrow.value not in returned and key not in told
        told.add(key)
        found.append(words(arrow.words) if said else None)
    return found


def _colours(scene: Scene, theme: Theme) -> Iterator[str]:
    """Every colour by a name, and a style for each kind of box, to be changed here."""
    named = {
        "graph-words": theme.words,
        "graph-arrow": theme.edge,
        "graph-frame-line": theme.scope_line,
        "graph-error-line": theme.styles["error"].line,
        "graph-error-text": theme.styles["error"].text,
        **{f"graph-frame{depth}": fill for depth, fill in enumerate(theme.scope_fills)},
        **({} if theme.page is None else {"graph-page": theme.page}),
    }
    for name, colour in named.items():
        yield _colour(name, colour)
    for look in sorted({box.look for box in scene.boxes}):
        style = scene.styles[look]
        for part, colour in zip(("fill", "line", "text"), style):
            yield _colour(f"graph-{look}-{part}", colour)
        parts = f"draw=graph-{look}-line, fill=graph-{look}-fill, text=graph-{look}-text"
        yield rf"\tikzset{{graph {look}/.style={{{parts}}}}}"


def _colour(name: str, colour: str) -> str:
    return rf"\definecolor{{{name}}}{{HTML}}{{{colour.removeprefix('#').upper()}}}"


def _node(box: Box, text: Lines, place: Place) -> str:
    subject = box.subject
    often = ", double, double distance=0.8pt" if isinstance(subject, Node) and times(subject) else ""
    often += ", densely dashed" if isinstance(subject, Node) and "between" in subject.meta else ""
    kind = "graph box" if isinstance(subject, Node) else "graph tensor"
    size = f"minimum width={place.width:.1f}bp, minimum height={place.height:.1f}bp"
    return rf"\node[{kind}, graph {box.look}, {size}{often}] at ({_at(place.x, place.y)}) {{{text.latex()}}};"


def _text(text: Lines, x: float, y: float, anchor: str, colour: str) -> str:
    side = "left" if anchor.endswith("west") else "center"
    style = f"graph words, text={colour}, anchor={anchor}, align={side}"
    return rf"\node[{style}] at ({_at(x, y)}) {{{text.latex()}}};"


def _at(x: float, y: float) -> str:
    return f"{x:.1f},{y:.1f}"


def _rectangle(rect: Rect) -> str:
    return f"({_at(rect.left, rect.low)}) rectangle ({_at(rect.right, rect.high)})"


def _curve(line: Line) -> str:
    if line.cornered:
        return "[rounded corners=3pt] " + " -- ".join(f"({_at(*point)})" for point in (*line.points, line.end))
    first, *others = line.points
    text = f"({_at(*first)})"
    across = [x for x, _ in (*line.points, line.end)]
    up = [y for _, y in (*line.points, line.end)]
    if max(across) - min(across) > 0.5 and max(up) - min(up) > 0.5:
        for a, b, c in zip(others[::3], others[1::3], others[2::3]):
            text += f" .. controls ({_at(*a)}) and ({_at(*b)}) .. ({_at(*c)})"
    return f"{text} -- ({_at(*line.end)})"


def _bounds(layout: Layout) -> Rect:
    rects = [Rect.of(place, 4) for place in (*layout.boxes.values(), *layout.frames.values())]
    rects += [Rect(x - 2, y - 2, x + 2, y + 2) for line in layout.lines.values() for x, y in line.points]
    if not rects:
        return Rect(0, 0, 1, 1)
    lefts, lows, rights, highs = zip(*rects)
    return Rect(min(lefts), min(lows), max(rights), max(highs))


def _legend(scene: Scene, bounds: Rect) -> Iterator[str]:
    """A row of swatches with their meanings below the figure, and what the view does not show."""
    items = [*scene.legend] if scene.scale is None else [*scene.legend, *scene.scale.legend()]
    cells = []
    for item in items:
        if isinstance(item, str):
            cells.append(latex(item.strip()))
            continue
        fill, line = (f"{{rgb,255:red,{r};green,{g};blue,{b}}}" for r, g, b in map(_rgb, (item.fill, item.line)))
        swatch = rf"\tikz\draw[fill={fill}, draw={line}] (0,0) rectangle (9bp,5bp);"
        cells.append(rf"\mbox{{{swatch} {latex(item.meaning)}}}")
    rows = [r"\quad ".join(cells[at : at + 6]) for at in range(0, len(cells), 6)]
    rows += [latex(scene.note)] if scene.note else []
    middle = (bounds.left + bounds.right) / 2
    style = "graph words, text=graph-words, anchor=north, align=center"
    if rows:
        text = r"\\".join(rows)
        yield rf"\node[{style}] at ({_at(middle, bounds.low - 3)}) {{{text}}};"


def _rgb(colour: str) -> tuple[int, int, int]:
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return red, green, blue


@hookimpl
def recorder_register_exporters(register: Register) -> None:
    register(TikzExporter())
