"""A drawing in DOT's terms, and the text of it: frames, boxes and arrows with their attributes, as plain data.

It is written for a reader's own Graphviz, or to be laid out first, without the words on its arrows, and then with the
place of everything. pydot guesses whether a text needs quotes, and guesses wrong on some; so nothing that comes from a
model reaches it as an id, and every label and tooltip is quoted before.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

from recorder import ExportError

__all__ = ["ArrowMark", "Attributes", "BoxMark", "Drawing", "FrameMark", "Places"]

Attributes: TypeAlias = dict[str, Any]


class FrameMark(NamedTuple):
    """A cluster. ``parent`` is the number of the one around it, and ``words`` are the attributes by which dot finds a
    place for its title.
    """

    parent: int | None
    attributes: Attributes
    words: Attributes = {}  # noqa: RUF012


class BoxMark(NamedTuple):
    """A node in a cluster, by its number."""

    frame: int | None
    attributes: Attributes


class ArrowMark(NamedTuple):
    """An edge, and its words: as lines of text, which tell their size, as markup, below each other and in one line,
    and as attributes by which dot finds a place for them. ``value`` is equal where one tensor goes.
    """

    tail: str
    head: str
    attributes: Attributes
    lines: tuple[str, ...] = ()
    markup: str = ""
    flat: str = ""
    value: int = 0
    words: Attributes = {}  # noqa: RUF012


@dataclass(frozen=True, slots=True)
class Places:
    """Attributes that say where everything is: of boxes, of arrows by number, of frames by number."""

    boxes: Mapping[str, Attributes] = field(default_factory=dict)
    arrows: Mapping[int, Attributes] = field(default_factory=dict)
    frames: Mapping[int, Attributes] = field(default_factory=dict)
    graph: Attributes = field(default_factory=dict)


class Drawing(NamedTuple):
    """What is to be written. ``defaults`` are the attributes of the graph, its nodes and its edges, ``headline`` makes
    the label of the whole of a note, and ``fast`` says that the layout has no time for words on arrows. ``wider`` is by
    how much letters may be wider than those of Helvetica, ``columns`` is how many a long chain is broken into: rows,
    where data flows ``to_the_right``.
    """

    name: str
    defaults: tuple[Attributes, Attributes, Attributes]
    frames: Sequence[FrameMark]
    boxes: Mapping[str, BoxMark]
    arrows: Sequence[ArrowMark]
    headline: Callable[[str], str]
    fast: bool
    wider: float = 1.0
    columns: int = 1
    to_the_right: bool = False

    def text(self) -> str:
        """For any Graphviz: dot finds the place of all words."""
        titles = {number: frame.words for number, frame in enumerate(self.frames)}
        if self.fast:
            left_out = any(arrow.lines for arrow in self.arrows)
            note = "laid out fast, without shapes" if left_out else "laid out fast"
            return self.at(Places(frames=titles), note)
        return self.at(Places(arrows={number: arrow.words for number, arrow in enumerate(self.arrows)}, frames=titles))

    def at(self, places: Places, note: str = "", numbered: bool = False) -> str:
        """With places for some of it; words of arrows only where ``places`` has them. ``numbered`` writes the number of
        each arrow down, as a layout is to tell it.

        Raises:
            ExportError: frames nest deeper than pydot can write, which is at several hundred levels.
        """
        import pydot

        graph, node, edge = self.defaults
        if headline := self.headline(note):
            graph = {**graph, "label": headline}
        drawing = pydot.Dot(self.name, graph_type="digraph", **graph, **places.graph)
        drawing.set_node_defaults(**node)
        drawing.set_edge_defaults(**edge)
        homes: dict[int | None, pydot.Graph] = {None: drawing}
        for number, frame in enumerate(self.frames):
            attributes = {**frame.attributes, **places.frames.get(number, {})}
            cluster = homes[number] = pydot.Subgraph(f"cluster_{number}", **attributes)
            homes[frame.parent].add_subgraph(cluster)
        for id, box in self.boxes.items():
            homes[box.frame].add_node(pydot.Node(id, **{**box.attributes, **places.boxes.get(id, {})}))
        for number, arrow in enumerate(self.arrows):
            attributes = {**arrow.attributes, **places.arrows.get(number, {})}
            attributes |= {"comment": f'"{number}"'} if numbered else {}
            drawing.add_edge(pydot.Edge(arrow.tail, arrow.head, **attributes))
        try:
            return drawing.to_string()
        except RecursionError:
            raise ExportError(
                "the scopes nest too deeply for pydot; collapse some of them, for example with depth=100"
            ) from None
