"""The overhead as a picture for the README: bars on a logarithmic scale, ours beside the others'.

SVG is written directly: it is some rectangles and words, and a plotting library would be the heaviest dependency here.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from benchmarks.results import Cell, Measured, Overhead
from benchmarks.workload import STEPS, Step

__all__ = ["overhead"]

ROWS = {
    "hooks": "empty hooks",
    "modules": "graph-recorder, modules only",
    "recorded": "graph-recorder",
    "graph": "graph-recorder, up to the graph",
    "torchinfo": "torchinfo",
    "torch.profiler": "torch.profiler",
    "torchview": "torchview",
    "torchvista": "torchvista",
    "torchlens": "torchlens",
    "FlopCounterMode": "torch FlopCounterMode",
    "DebugMode": "torch DebugMode",
    "torch.fx": "torch.fx",
    "torch.export": "torch.export",
}
OURS = ("modules", "recorded", "graph")
PANELS = {
    "chain": "500 tiny layers",
    "resnet50-64": "ResNet-50, 64 px",
    "gpt2": "GPT-2 small, 64 tokens",
}
"""In this order, in evaluation, with the smallest batch: where recording costs most."""

LABELS, BARS, VALUES, ROW, TOP, BOTTOM = 256, 170, 60, 22, 76, 30  # pixels


def overhead(results: Sequence[Overhead]) -> str:
    """One row of panels for each of the results. A bar ends at the median; a missing one is "–"."""
    rows = [(result, _panels(result), _rows(result)) for result in results]
    width = LABELS + max((len(panels) for _, panels, _ in rows), default=0) * (BARS + VALUES) + 12
    height = sum(TOP + BOTTOM + ROW * len(modes) for _, _, modes in rows)
    body: list[str] = []
    y = 0
    for result, panels, modes in rows:
        body += _drawn(result, panels, modes, y)
        y += TOP + BOTTOM + ROW * len(modes)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">',
        f'<rect width="{width}" height="{height}" rx="8" fill="#ffffff"/>',
        *body,
        "</svg>\n",
    ])  # fmt: skip


def _panels(result: Overhead) -> list[Cell]:
    """The chosen models that were measured, or the first three that were."""
    cells: dict[str, Cell] = {}
    step = _step(result)
    for cell in sorted(result.cells, key=lambda cell: cell.batch):
        if cell.step == step and cell.modes:
            cells.setdefault(cell.model, cell)
    return [cells[model] for model in PANELS if model in cells] or list(cells.values())[:3]


def _step(result: Overhead) -> Step:
    """With gradients on, as whoever just calls a model has it, if that was measured."""
    return "eval-grad" if any(cell.step == "eval-grad" and cell.modes for cell in result.cells) else "eval"


def _rows(result: Overhead) -> list[str]:
    """The modes that gave a figure anywhere in the panels."""
    return [mode for mode in ROWS if any(isinstance(cell.modes.get(mode), Measured) for cell in _panels(result))]


def _drawn(result: Overhead, panels: Sequence[Cell], modes: Sequence[str], y: int) -> Iterator[str]:
    found = [cell.modes.get(mode) for cell in panels for mode in modes]
    highest = max((one.ratio.median for one in found if isinstance(one, Measured)), default=1.0)
    decades = max(1, math.ceil(math.log10(highest)))
    machine = result.machine
    where = f"{machine.gpu or f'{machine.cpu}, {machine.threads} threads'}, torch {machine.versions.get('torch', '?')}"
    heading = f"Time of one {STEPS[_step(result)]}, where the bare model's is 1"
    yield _text(14, y + 24, heading, weight=600, size=15)
    yield _text(14, y + 44, f"{where}, {machine.date[:10]}. Logarithmic; shorter is better.", fill="#57606a")
    top, bottom = y + TOP, y + TOP + ROW * len(modes)
    for number, mode in enumerate(modes):
        bold = 600 if mode in OURS else 400
        yield _text(LABELS - 8, top + ROW * number + 15, ROWS[mode], anchor="end", weight=bold)
    for column, cell in enumerate(panels):
        x = LABELS + column * (BARS + VALUES)
        yield _text(x, top - 8, PANELS.get(cell.model, cell.model), weight=600)
        for decade in range(decades + 1):
            at = x + BARS * decade / decades
            yield f'<path d="M{at:.1f} {top}V{bottom}" stroke="#d0d7de"/>'
            yield _text(at, bottom + 16, f"{10**decade:,}", anchor="middle", fill="#57606a", size=11)
        for number, mode in enumerate(modes):
            one, middle = cell.modes.get(mode), top + ROW * number
            if not isinstance(one, Measured):
                yield _text(x + 4, middle + 15, "–", fill="#57606a")
                continue
            length = BARS * max(0.0, math.log10(one.ratio.median)) / decades
            colour = "#1a7f64" if mode in OURS else "#9aa4af"
            yield f'<rect x="{x}" y="{middle + 4}" width="{max(length, 1):.1f}" height="{ROW - 8}" fill="{colour}"/>'
            value = f"{one.ratio.median:.2f}" if one.ratio.median < 10 else f"{one.ratio.median:,.0f}"
            yield _text(x + max(length, 1) + 5, middle + 15, value, size=12, weight=600 if mode in OURS else 400)


def _text(
    x: float, y: float, words: str, *, anchor: str = "start", fill: str = "#1f2328", size: int = 13, weight: int = 400
) -> str:
    look = f'text-anchor="{anchor}" fill="{fill}" font-size="{size}" font-weight="{weight}"'
    return f'<text x="{x:.1f}" y="{y}" {look}>{escape(words)}</text>'
