"""What a reader wants of a figure for a paper: other words and colours for what is named, a size, a family of type.

Each wish is checked before anything is drawn: a colour that is none, or a pattern that fits nothing, would otherwise
be seen in print.
"""

import math
import re
from collections.abc import Iterator, Mapping
from fnmatch import translate

from recorder import Node, OptionError, Scope, Value
from recorder_exporters.drawing.scene import Box, Frame, Line, Part, Scene
from recorder_exporters.drawing.words import times

__all__ = ["MOST_INCHES", "colour_in_hex", "family_of", "fulfil", "inches_of"]

MOST_INCHES = 400.0
"""The widest drawing that can be asked for."""

KEPT = ("figures", "member", "more", "error", "shape")
"""The lines of a box that stay below words of the reader's own."""

COLOURS = {
    "white": "#ffffff", "silver": "#c0c0c0", "gray": "#808080", "grey": "#808080", "black": "#000000",
    "red": "#ff0000", "maroon": "#800000", "yellow": "#ffff00", "olive": "#808000", "lime": "#00ff00",
    "green": "#008000", "aqua": "#00ffff", "cyan": "#00ffff", "teal": "#008080", "blue": "#0000ff",
    "navy": "#000080", "fuchsia": "#ff00ff", "magenta": "#ff00ff", "purple": "#800080", "orange": "#ffa500",
    "gold": "#ffd700", "pink": "#ffc0cb", "salmon": "#fa8072", "coral": "#ff7f50", "tomato": "#ff6347",
    "khaki": "#f0e68c", "beige": "#f5f5dc", "lavender": "#e6e6fa", "plum": "#dda0dd", "orchid": "#da70d6",
    "violet": "#ee82ee", "indigo": "#4b0082", "brown": "#a52a2a", "tan": "#d2b48c", "crimson": "#dc143c",
    "turquoise": "#40e0d0", "skyblue": "#87ceeb", "lightblue": "#add8e6", "lightgreen": "#90ee90",
    "lightyellow": "#ffffe0", "lightgrey": "#d3d3d3", "lightgray": "#d3d3d3", "lightpink": "#ffb6c1",
    "steelblue": "#4682b4",
}  # fmt: skip
"""The names of colours, as CSS has them, that are known besides ``#rgb`` and ``#rrggbb``."""


def fulfil(scene: Scene, labels: Mapping[str, str] | None, colours: Mapping[str, str] | None) -> None:
    """Give boxes and frames that are named the words and colours that were asked for. Of several patterns that fit, the
    last one counts.

    Raises:
        OptionError: a pattern fits nothing that is drawn, a colour is none, or a mapping is not one of texts.
    """
    texts = _checked("labels", labels)
    fills = {pattern: colour_in_hex(text) for pattern, text in _checked("colours", colours).items()}
    if not texts and not fills:
        return
    things: list[tuple[Box | Frame, list[str]]] = [(box, list(_names_of_box(box))) for box in scene.boxes]
    things += [(frame, list(_names_of_frame(frame))) for frame in scene.frames]
    for option, wishes in (("labels", texts), ("colours", fills)):
        for pattern, wish in wishes.items():
            fits = re.compile(translate(pattern)).match
            meant = [thing for thing, names in things if pattern in names]
            meant = meant or [thing for thing, names in things if any(map(fits, names))]
            if not meant:
                raise OptionError(
                    f"{option} names {pattern!r}, which no box and no frame of this drawing is called; depth=None and "
                    "fold=False draw everything"
                )
            for thing in meant:
                if option == "colours":
                    thing.fill = wish
                else:
                    thing.lines = _said(thing, wish)


def _checked(option: str, wishes: Mapping[str, str] | None) -> Mapping[str, str]:
    wishes = wishes or {}
    if not all(isinstance(part, str) for wish in wishes.items() for part in wish):
        raise OptionError(f"{option} takes a mapping of texts to texts, as {{'layer1*': '…'}}, not {wishes!r}")
    return wishes


def _names(subject: Node | Scope | Value) -> Iterator[str]:
    """What something is called: a module's call by its qualified name too, and what is drawn once for several by the
    names of all of them.
    """
    yield subject.name
    if not isinstance(subject, Value):
        if subject.fqn is not None:
            yield subject.fqn
        yield from subject.meta.get("repeated", ())


def _names_of_box(box: Box) -> Iterator[str]:
    """An output is called as it is drawn: its tensor is named after what made it, which has a box of its own."""
    if box.kind == "output":
        yield from (part.text for part in box.lines[0] if part.role == "tensor")
    else:
        yield from _names(box.subject)


def _names_of_frame(frame: Frame) -> Iterator[str]:
    """One frame may be that of several scopes that hold nothing but each other."""
    around = None if frame.parent is None else frame.parent.scope
    for scope in frame.scope.ancestors():
        if scope is around:
            return
        yield from _names(scope)


def _said(thing: Box | Frame, text: str) -> list[Line]:
    """A thing's lines with words of the reader's own for what it is. How often it was there stays: it is true still."""
    subject = thing.scope if isinstance(thing, Frame) else thing.subject
    often = (Part("times", times(subject)),) if times(subject) else ()
    first = Part("name" if isinstance(thing, Frame) else thing.lines[0][0].role, text)
    return [(first, *often), *(line for line in thing.lines[1:] if line[0].role in KEPT)]


def colour_in_hex(text: str) -> str:
    """A colour as ``#rrggbb``.

    Raises:
        OptionError: it is none that is known.
    """
    colour = text.strip().lower()
    if re.fullmatch(r"#[0-9a-f]{6}", colour):
        return colour
    if re.fullmatch(r"#[0-9a-f]{3}", colour):
        return "#" + "".join(2 * digit for digit in colour[1:])
    if colour in COLOURS:
        return COLOURS[colour]
    raise OptionError(f"{text!r} is no colour that is known: write #rrggbb, #rgb, or one of {', '.join(COLOURS)}")


def inches_of(width: float) -> float:
    """A width that a drawing can have.

    Raises:
        OptionError: it is not.
    """
    if not (math.isfinite(width) and 0.1 <= width <= MOST_INCHES):
        raise OptionError(f"width is {width}: it is in inches, from 0.1 to {MOST_INCHES:g}; a column of text has 3.3")
    return width


def family_of(font: str) -> str:
    """The name of a family of type, or several with commas, of which the first that is there is taken.

    Raises:
        OptionError: it cannot be one.
    """
    if not re.fullmatch(r"[\w .,+-]{1,200}", font) or not font.strip(" ,"):
        raise OptionError(f"font is {font!r}: it is the name of a family, as 'Times New Roman', or several with commas")
    return font.strip()
