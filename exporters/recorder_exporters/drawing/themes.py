"""How a drawing looks on a white page, on a dark screen, in black and white, and to readers who see fewer colours.

In every theme text stands out from its box as WCAG asks of body text (4.5 to 1); the tests hold all of them to it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from recorder_exporters.drawing.styles import SCOPE_FILLS, SCOPE_LINE, STYLES, Style

__all__ = ["THEMES", "Theme", "ThemeName", "letters_on", "luminance", "told_apart"]

ThemeName = Literal["light", "dark", "print", "colour-blind"]


@dataclass(frozen=True)
class Theme:
    """Colours as ``#rrggbb``. ``styles`` has the keys of `STYLES`; ``page`` is behind everything, None for nothing;
    ``ink`` is for headings, ``words`` for what stands on edges and scopes, ``faint`` for what matters less; ``ramp``
    goes from little to much.
    """

    styles: Mapping[str, Style]
    scope_fills: tuple[str, ...]
    scope_line: str
    page: str | None
    ink: str
    words: str
    faint: str
    edge: str
    ramp: tuple[str, ...]


def _styles(colours: Mapping[str, tuple[str, str, str]]) -> dict[str, Style]:
    """The kinds in the order of the legend, in other colours: fill, line, text."""
    return {kind: Style(*colours[kind], style.meaning) for kind, style in STYLES.items()}


def letters_on(fill: str) -> str:
    """Black or white, whichever stands out more from a colour; one of them always does as WCAG asks."""
    return "#000000" if luminance(fill) > 0.179 else "#ffffff"


def luminance(colour: str) -> float:
    """From 0 for black to 1 for white (https://www.w3.org/TR/WCAG22/#dfn-relative-luminance)."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def told_apart(styles: Iterable[Style]) -> list[Style]:
    """The entries of a legend: those that look alike, as in black and white they may, share one."""
    found: dict[tuple[str, str], Style] = {}
    for style in styles:
        like = found.get((style.fill, style.line))
        meaning = style.meaning if like is None else f"{like.meaning}, {style.meaning}"
        found[style.fill, style.line] = style._replace(meaning=meaning)
    return list(found.values())


_LIGHT = Theme(
    STYLES, SCOPE_FILLS, SCOPE_LINE, page=None, ink="#1f2328", words="#4a525d", faint="#858d98", edge="#5b6470",
    # ColorBrewer's RdPu (https://colorbrewer2.org), which grows darker all the way: it can be read in grey print, too.
    ramp=("#feebe2", "#fcc5c0", "#fa9fb5", "#f768a1", "#dd3497", "#ae017e", "#7a0177"),
)  # fmt: skip

_DARK = Theme(
    _styles({
        "input": ("#17352a", "#4fa877", "#c9ecd6"),
        "output": ("#43290f", "#e08a4a", "#fbe0c8"),
        "module": ("#16304d", "#5b9bd8", "#d6e8fb"),
        "collapsed": ("#1f4570", "#7ab3ea", "#e4f0fd"),
        "between": ("#2b2a24", "#7d8590", "#dde3ea"),
        "function": ("#1c2128", "#7d8590", "#dde3ea"),
        "autograd": ("#35203f", "#b77fcb", "#f0def6"),
        "parameter": ("#3d3410", "#d4ad2a", "#f8ecbe"),
        "buffer": ("#352d1c", "#b8983f", "#f0e3c6"),
        "constant": ("#24282e", "#7d8590", "#d0d6dd"),
        "activation": ("#0d1117", "#7d8590", "#d0d6dd"),
        "error": ("#4a1a1a", "#f0655c", "#ffd9d6"),
        "gradient": ("#45203a", "#e07bb0", "#fbdcec"),
        "link": ("#0f3b3d", "#45b5ba", "#d3f3f4"),
        "added": ("#0f4032", "#3ecf9f", "#d2f7ea"),
        "removed": ("#5a2c0a", "#f0914a", "#fde3cd"),
        "changed": ("#4d2440", "#dd8fbf", "#fbe2f1"),
        "rewired": ("#173a52", "#6cb9ea", "#dcf0fc"),
        "context": ("#171b21", "#6e7681", "#a0a8b2"),
    }),
    ("#12171e", "#1a2029", "#222934", "#2a323e"), "#3d4653",
    page="#0d1117", ink="#e6edf3", words="#adb5bf", faint="#8b949e", edge="#8b949e",
    ramp=("#2a1533", "#571a5c", "#8a1480", "#b81d8f", "#e04aa3", "#f986b3", "#fcc5c0"),
)  # fmt: skip

_PRINT = Theme(
    _styles({
        "input": ("#ffffff", "#000000", "#000000"),
        "output": ("#ffffff", "#000000", "#000000"),
        "module": ("#ededed", "#000000", "#000000"),
        "collapsed": ("#cccccc", "#000000", "#000000"),
        "between": ("#f5f5f5", "#000000", "#000000"),
        "function": ("#ffffff", "#000000", "#000000"),
        "autograd": ("#ededed", "#000000", "#000000"),
        "parameter": ("#ffffff", "#777777", "#000000"),
        "buffer": ("#ffffff", "#777777", "#000000"),
        "constant": ("#ffffff", "#777777", "#000000"),
        "activation": ("#ffffff", "#777777", "#000000"),
        "error": ("#000000", "#000000", "#ffffff"),
        "gradient": ("#999999", "#000000", "#000000"),
        "link": ("#ffffff", "#555555", "#000000"),
        "added": ("#d4d4d4", "#000000", "#000000"),
        "removed": ("#5c5c5c", "#000000", "#ffffff"),
        "changed": ("#bababa", "#000000", "#000000"),
        "rewired": ("#ededed", "#000000", "#000000"),
        "context": ("#ffffff", "#999999", "#595959"),
    }),
    ("#ffffff",) * 4, "#999999",
    page=None, ink="#000000", words="#000000", faint="#595959", edge="#000000",
    # ColorBrewer's Greys.
    ramp=("#f7f7f7", "#d9d9d9", "#bdbdbd", "#969696", "#737373", "#525252", "#252525"),
)  # fmt: skip

_COLOUR_BLIND = Theme(  # the colours of Okabe and Ito, stronger, and apart in lightness as well
    _styles({
        "input": ("#a5e0cc", "#009e73", "#00291e"),
        "output": ("#f0a070", "#d55e00", "#2e1400"),
        "module": ("#cfe6f8", "#0072b2", "#00243a"),
        "collapsed": ("#6fb3e6", "#0072b2", "#00243a"),
        "between": ("#e9e6d8", "#4d4d4d", "#000000"),
        "function": ("#ffffff", "#4d4d4d", "#000000"),
        "autograd": ("#c987b0", "#8f3f6c", "#1f0413"),
        "parameter": ("#f3e75c", "#857a00", "#2b2700"),
        "buffer": ("#fff8d6", "#857a00", "#2b2700"),
        "constant": ("#dcdcdc", "#7a7a7a", "#000000"),
        "activation": ("#ffffff", "#7a7a7a", "#000000"),
        "error": ("#000000", "#d55e00", "#ffffff"),
        "gradient": ("#cc79a7", "#8f3f6c", "#000000"),
        "link": ("#d9f0f0", "#00696e", "#002a2c"),
        "added": ("#7fd1b6", "#00795a", "#00291e"),
        "removed": ("#ef8f4e", "#8f3f00", "#2e1400"),
        "changed": ("#d79bbd", "#8f3f6c", "#1f0413"),
        "rewired": ("#a3d4f2", "#0072b2", "#00243a"),
        "context": ("#f7f7f7", "#7a7a7a", "#4d4d4d"),
    }),
    SCOPE_FILLS, SCOPE_LINE, page=None, ink="#000000", words="#333333", faint="#666666", edge="#404040",
    # Viridis, from its light end (van der Walt and Smith, https://bids.github.io/colormap/).
    ramp=("#fde725", "#90d743", "#35b779", "#21918c", "#31688e", "#443983", "#440154"),
)  # fmt: skip

THEMES: dict[ThemeName, Theme] = {"light": _LIGHT, "dark": _DARK, "print": _PRINT, "colour-blind": _COLOUR_BLIND}
