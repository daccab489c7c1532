"""How what is drawn looks: by its kind, or by where it is on a scale of colours."""

import math
from collections.abc import Set

from recorder import Node
from recorder_exporters.drawing.colour_scale import ColourScale
from recorder_exporters.drawing.styles import STYLES, Style, class_of
from recorder_exporters.drawing.themes import Theme, told_apart

__all__ = ["legend_of", "look_on", "styles_of"]


def look_on(node: Node, scale: ColourScale | None) -> str:
    """The kind of a node or, unless an error is to be seen, where it is on the scale."""
    if scale is None or node.error is not None:
        return class_of(node)
    value = scale.values.get(node)
    if value is None:
        return "unknown"
    return "broken" if not math.isfinite(value) else f"step{scale.step(value)}" if value > 0 else "zero"


def styles_of(theme: Theme, scale: ColourScale | None) -> dict[str, Style]:
    """How each look looks."""
    if scale is None:
        return dict(theme.styles)
    steps = {f"step{number}": scale.style_at(number) for number in range(len(theme.ramp))}
    others = {"zero": scale.style_of(0.0), "broken": scale.style_of(math.nan), "unknown": scale.style_of(None)}
    return {**theme.styles, **steps, **others}


def legend_of(theme: Theme, kinds: Set[str]) -> list[Style]:
    """What explains the kinds that occur, in the order of `STYLES`."""
    return told_apart(theme.styles[kind] for kind in STYLES if kind in kinds)
