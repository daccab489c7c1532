"""The interactive page: one HTML file that opens anywhere, without a network, and holds the whole graph.

The viewer is plain JavaScript in ``page/``, one idea a file, written as modules that import each other by name. Here
they become one script, in the order in which they need each other; the layout library stands beside them in
``vendor/``. What comes from a recording goes in as JSON with everything escaped that a browser could take for markup,
and a Content-Security-Policy lets nothing run but these two scripts, and nothing be asked for from anywhere.
"""

import base64
import hashlib
import json
import math
import re
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from recorder import (
    ROOM,
    Graph,
    Node,
    OptionError,
    Repetition,
    Scope,
    __version__,
    backward_reached,
    dumps,
    remarks,
    repetitions,
    without_accumulation,
)
from recorder.figures import FIGURES, KINDS_OF_MEMORY
from recorder_exporters.drawing.colour_scale import colours_of
from recorder_exporters.drawing.styles import SCOPE_FILLS, STYLES
from recorder_exporters.drawing.themes import THEMES
from recorder_exporters.drawing.words import hints, legible, short_name, short_range, title_of

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["HtmlExporter"]

SCRIPTS = (
    "text", "dom", "folding", "links", "model", "paths", "search", "boxes", "metrics", "layout", "scene",
    "address", "work", "draw", "camera", "minimap", "panel", "sheet", "save",
    "searchbox", "looks", "timeline", "opening", "app", "main",
)  # fmt: skip
"""Each after all that it imports."""


KINDS = 3
"""Of what repeats in turn, so many are named."""


class HtmlExporter:
    """Interactive page: one file without a network; modules open and close in place, search, details, metrics.

    Options of `export`:
        title: what stands above; the graph's name if None.
        depth: how many levels of scopes are open at first; as many as stay readable if None.
        direction: where the data flows at first: to the bottom or to the right.
        fold: whether what repeats is drawn once, as "× 12", at first; if "auto", where there is no room for all of it.
        backward: whether to show at first where gradients came back, as far as the recording tells.
        theme: light, dark, or as the reader's system has it if None.
        timing: include measured durations, which differ from run to run.
    """

    name, suffixes, media_type = "html", (".html", ".htm"), "text/html"

    def export(
        self,
        graph: Graph,
        *,
        title: str | None = None,
        depth: int | None = None,
        direction: Literal["TB", "LR"] = "TB",
        fold: bool | Literal["auto"] = "auto",
        backward: bool = False,
        theme: Literal["light", "dark"] | None = None,
        timing: bool = True,
    ) -> str:
        """The graph as an HTML page.

        Raises:
            OptionError: ``depth`` is negative.
            GraphError: attributes or meta hold what JSON cannot; the message says where.
        """
        if depth is not None and depth < 0:
            raise OptionError(f"depth is {depth}: it counts the levels of scopes that are open at first, from 0")
        graph = without_accumulation(graph)
        title = title_of(graph) if title is None else title
        settings = {
            "title": title,
            "depth": depth,
            "direction": direction,
            "backward": backward,
            "fold": fold if fold != "auto" else "auto" if len(graph.nodes) > ROOM else False,
            "runs": [_run(found) for found in repetitions(graph)],
            **_words(graph),
            "figures": _figures(graph, timing),
            "memory": [*KINDS_OF_MEMORY.values()] if graph.memory_report().timeline else [],
            "scales": {name: colours_of(THEMES[name]) for name in ("light", "dark")},
        }
        parts = _parts()
        return parts.template.render(
            dagre=parts.dagre,
            dagre_licence=parts.dagre_licence,
            script=parts.script,
            script_hashes=f"{_hash(parts.dagre)} {_hash(parts.script)}",
            style=parts.style,
            style_hashes=_hash(parts.style),
            theme=theme,
            title=legible(title, 120) or "graph",
            remarks=[legible(remark, 400) for remark in remarks(graph)],
            version=__version__,
            graph=_inert(dumps(graph, timing=timing).decode()),
            settings=_inert(json.dumps(settings, separators=(",", ":"))),
        )


def _words(graph: Graph) -> dict[str, Any]:
    """What every drawing says in the same words, in the order of the graph's nodes and scopes."""
    there = backward_reached(graph)
    return {
        "hints": [hints(node.attributes) for node in graph.nodes],
        "names": [short_name(node) for node in graph.nodes],
        "scopes": [short_name(scope) for scope in graph.scopes],
        "reached": [i for i, node in enumerate(graph.nodes) if node in there],
        "styles": {look: style.meaning for look, style in STYLES.items()},
    }


def _run(found: Repetition) -> dict[str, Any]:
    """A run of what repeats, for the page, which folds and shows it by itself."""
    told = {"times": found.repeats, "first": found.first, "size": found.size}
    name = short_range(found.places[0], found.names, found.repeats)
    kinds = list(dict.fromkeys(place.op_type or "…" for place in found.places))
    title = {} if len(found.places) == 1 else {"title": ", ".join([*kinds[:KINDS], *["…"][: len(kinds) > KINDS]])}
    return {**told, "name": name, **title}


def _figures(graph: Graph, timing: bool) -> list[dict[str, Any]]:
    """What any place has some of, with its numbers in the order of the graph's nodes and scopes; times come first."""
    places: list[Node | Scope] = [*graph.nodes, *graph.scopes]
    found = []
    for figure in sorted(FIGURES.values(), key=lambda figure: figure.unit != "ns"):
        values = [figure.value(graph, place) for place in places] if timing or not figure.varies else []
        if any(values):
            told = [value if value is None or math.isfinite(value) else str(value) for value in values]
            said: dict[str, Any] = {
                "name": figure.name, "called": figure.called, "words": figure.words, "absent": figure.absent,
                "repeated": figure.repeated,
            }  # fmt: skip
            known = ((i, graph.metrics.get(place)) for i, place in enumerate(places) if values[i] is not None)
            if least := [i for i, metrics in known if figure.is_least(metrics)]:
                said["least"] = least
            found.append({**said, "values": told})
    return found


_MARKUP = str.maketrans({mark: f"\\u{ord(mark):04x}" for mark in "<>&\u2028\u2029"})


def _inert(document: str) -> str:
    """JSON in which no HTML parser finds anything. These characters stand in JSON only inside strings."""
    return document.translate(_MARKUP)


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


class _Parts(NamedTuple):
    """What all pages share."""

    template: "Template"
    style: str
    dagre: str
    dagre_licence: str
    script: str


@cache
def _parts() -> _Parts:
    from jinja2 import Environment, StrictUndefined

    here = files("recorder_exporters")
    page, dagre = here / "page", here / "vendor" / "dagre"
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True)  # it escapes where it says so
    library = (dagre / "dagre.min.js").read_text(encoding="utf-8")
    licence = (dagre / "LICENSE").read_text(encoding="utf-8")
    # Without the link to its source map, for which a browser's developer tools would ask.
    library = re.sub(r"(?m)^//# sourceMappingURL=.*$", "", library)
    return _Parts(
        template=environment.from_string((page / "page.html.j2").read_text(encoding="utf-8")),
        style=_colours() + _themed((page / "page.css").read_text(encoding="utf-8")),
        dagre=f"/*! @dagrejs/dagre\n{licence}*/\n{library}",
        dagre_licence=licence,
        script=_bundled({name: (page / f"{name}.mjs").read_text(encoding="utf-8") for name in SCRIPTS}),
    )


_IMPORT = re.compile(r"^import (\{[^}]*\}) from \"\./(\w+)\.mjs\";$", re.MULTILINE)
_EXPORT = re.compile(r"^export ((?:async )?(?:function\*?|class|const) (\w+))", re.MULTILINE)


def _bundled(modules: dict[str, str]) -> str:
    """Modules as one script, which needs no loader: each a function of its own that returns what it exports."""
    texts = []
    for name, text in modules.items():
        exported = ", ".join(match[2] for match in _EXPORT.finditer(text))
        body = _EXPORT.sub(r"\1", _IMPORT.sub(r"const \1 = modules.\2;", text))
        texts.append(f"modules.{name} = (() => {{\n{body}return {{ {exported} }};\n}})();\n")
    return '"use strict";\nconst modules = {};\n' + "\n".join(texts)


def _colours() -> str:
    """The colours of `STYLES` and of scopes as CSS variables, and a rule for each kind of box."""
    variables = [
        f"--{look}-{part}: {colour};"
        for look, style in STYLES.items()
        for part, colour in (("fill", style.fill), ("line", style.line), ("text", style.text))
    ]
    variables += [f"--shade-{level}: {colour};" for level, colour in enumerate(SCOPE_FILLS)]
    rules = [
        f".look-{look} {{ --fill: var(--{look}-fill); --edge: var(--{look}-line); --text: var(--{look}-text); }}"
        for look in STYLES
    ]
    return "\n".join([":root {", *variables, "}", *rules, ""])


def _themed(style: str) -> str:
    """The style sheet with its dark colours put where they hold: chosen, or the system's and not chosen otherwise."""
    before, dark, after = re.split(r"/\* /?dark \*/", style)
    values = dark.strip().removeprefix(":root {").removesuffix("}")
    chosen = f':root[data-theme="dark"] {{ color-scheme: dark; {values} }}'
    system = f':root:not([data-theme="light"]) {{ color-scheme: dark; {values} }}'
    return f"{before}{chosen}\n@media (prefers-color-scheme: dark) {{ {system} }}\n{after}"
