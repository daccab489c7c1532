"""Colours by how much a call takes, themes, and what stands on nodes and edges, in DOT and in Mermaid."""

import math
import re
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder_exporters.drawing.colour_scale import COLOURED, ColourScale, scale_of
from recorder_exporters.drawing.fields import FIELDS
from recorder_exporters.drawing.styles import STYLES, Style
from recorder_exporters.drawing.themes import THEMES, Theme, luminance, told_apart
from support.memory import CAN_LOOK
from support.models import Block, Net, linear, record, x
from torch import nn

import recorder
from recorder import Graph, Node, OptionError, Recorder, Value, assemble
from recorder.testing import StreamBuilder

# Themes


def contrast(one: str, other: str) -> float:
    """By WCAG 2: from 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def scale(theme: Theme, figure: str = "flops", low: float = 1.0, high: float = 1e6) -> ColourScale:
    return ColourScale(COLOURED[figure], theme, low, high, zero=True, broken=True, unknown=True)


def test_contrast_is_that_of_wcag() -> None:
    """Figures of its own examples: https://webaim.org/resources/contrastchecker/."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#0000ff", "#ffffff") == pytest.approx(8.59, abs=0.005)


@pytest.mark.parametrize("name", THEMES)
def test_text_stands_out_in_every_theme(name: str) -> None:
    theme = THEMES[name]  # type: ignore[index]
    page = theme.page or "#ffffff"
    steps = [scale(theme).style_at(step) for step in range(len(theme.ramp))]
    ends = [scale(theme).style_of(value) for value in (0.0, math.nan, None)]
    assert list(theme.styles) == list(STYLES)
    for style in (*theme.styles.values(), *steps, *ends):
        assert contrast(style.fill, style.text) >= 4.5, style
    for behind in (page, *theme.scope_fills):
        assert contrast(behind, theme.ink) >= 7
        assert contrast(behind, theme.words) >= 4.5
        assert contrast(behind, theme.edge) >= 3  # of what is no text, WCAG asks as much
        assert contrast(behind, theme.faint) >= (2.5 if name == "light" else 3)


def test_each_ramp_goes_from_what_is_near_the_page_to_what_is_far_from_it() -> None:
    for theme in THEMES.values():
        steps = [luminance(colour) for colour in theme.ramp]
        away = steps if theme.page else steps[::-1]
        assert away == sorted(away)
        assert contrast(theme.ramp[0], theme.ramp[-1]) > 6


def test_print_is_in_black_and_white() -> None:
    theme = THEMES["print"]
    colours = [c for style in theme.styles.values() for c in style[:3]]
    colours += [*theme.scope_fills, theme.scope_line, theme.ink, theme.words, theme.faint, theme.edge, *theme.ramp]
    assert all(colour[1:3] == colour[3:5] == colour[5:7] for colour in colours)


def linear_light(colour: str) -> list[float]:
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]


MACHADO = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""What readers see who lack one kind of cone (Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB)."""


def lab(rgb: list[float]) -> tuple[float, float, float]:
    """CIELAB under D65, of linear RGB."""
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    white = (0.9505, 1.0, 1.089)
    ratios = [sum(m * max(0.0, min(1.0, c)) for m, c in zip(row, rgb)) / w for row, w in zip(matrix, white)]
    x, y, z = (r ** (1 / 3) if r > 0.008856 else 7.787 * r + 16 / 116 for r in ratios)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def nearest(fills: list[str], seen: list[list[float]]) -> float:
    """The distance of the two most similar fills, as CIE76 has it, to a reader."""
    points = [lab([sum(m * c for m, c in zip(row, linear_light(fill))) for row in seen]) for fill in fills]
    return min(math.dist(a, b) for a, b in combinations(points, 2))


KINDS = ("input", "output", "module", "collapsed", "function", "parameter", "autograd")


@pytest.mark.parametrize("cones", MACHADO)
def test_kinds_are_told_apart_by_readers_who_see_fewer_colours(cones: str) -> None:
    fills = [THEMES["colour-blind"].styles[kind].fill for kind in KINDS]
    assert nearest(fills, MACHADO[cones]) > 12  # about 2 can just be seen side by side
    usual = [THEMES["light"].styles[kind].fill for kind in KINDS]
    assert nearest(fills, MACHADO[cones]) > 3 * nearest(usual, MACHADO[cones])


def test_entries_of_a_legend_that_look_alike_are_one() -> None:
    a, b = Style("#ffffff", "#000000", "#000000", "input"), Style("#eeeeee", "#000000", "#000000", "module call")
    assert told_apart([a, b, a._replace(meaning="output")]) == [a._replace(meaning="input, output"), b]


@pytest.mark.parametrize("name", THEMES)
def test_a_drawing_has_no_colour_that_is_not_of_its_theme(name: Any) -> None:
    theme = THEMES[name]
    own = {c for style in theme.styles.values() for c in style[:3]} | {*theme.scope_fills, *theme.ramp}
    own |= {theme.scope_line, theme.page, theme.ink, theme.words, theme.faint, theme.edge, "#000000", "#ffffff"}
    graph = trained()
    for options in ({}, {"colour_by": "flops"}):
        drawn = recorder.export(graph, "dot", theme=name, backward=True, initializers=True, **options)
        assert isinstance(drawn, str)
        assert set(re.findall(r"#[0-9a-f]{6}\b", drawn)) <= own
        assert re.findall(r'(?m)^bgcolor="(.*)";$', drawn) == [theme.page] * (theme.page is not None)


# Scales


def trained() -> Graph:
    """Metrics that are zero, unknown, and far apart, and a backward."""
    net = Net(lambda net, x: net.block(net.fc(x).view(4, 2)).relu(), fc=linear(), block=Block(
        lambda block, x: block.fc(x), fc=linear(2, 64)))  # fmt: skip
    with Recorder(net, gradients="stats", values="stats", memory=CAN_LOOK) as r:
        net(x()).sum().backward()
    return r.graph


def fills(dot: str | bytes) -> list[str]:
    """Of the nodes, in order."""
    assert isinstance(dot, str)
    found = dict(re.findall(r"^ *(n\d+) \[.*?fillcolor=\"(#[0-9a-f]{6})\"", dot, re.MULTILINE | re.DOTALL))
    return [found[f"n{i}"] for i in range(len(found))]


def test_flops() -> None:
    graph, theme = trained(), THEMES["light"]
    told = {node.name: graph.metrics[node].get("flops") for node in graph.nodes}
    assert told == {"fc": 64, "view": 0, "block.fc": 1024, "relu": 0, "sum": 0}
    graph.metrics[graph.nodes[-1]].clear()
    drawn = recorder.export(graph, "dot", colour_by="flops")
    unknown, zero = theme.styles["constant"].fill, theme.styles["function"].fill
    assert fills(drawn) == [theme.ramp[0], zero, theme.ramp[-1], zero, unknown]
    assert isinstance(drawn, str)
    legend = re.findall(r">([^<>]+)<", drawn.partition("node [")[0])
    words = [word.strip("\N{EM SPACE}") for word in legend]
    assert words[words.index("FLOPs") :] == ["FLOPs", "0", "64", "1.02 k", "not known"]


@pytest.mark.parametrize("what", COLOURED)
def test_every_figure_colours(what: Any) -> None:
    if what == "saved_bytes" and not CAN_LOOK:
        pytest.skip("torch tells what autograd keeps since 2.10")
    graph = trained()
    if what == "not_finite":
        for count, node in enumerate(graph.nodes):
            node.outputs[0].meta["stats"]["nan"] = count
    if what == "divergence":  # as a graph has it that `recorder.diverge` gives
        for count, node in enumerate(graph.nodes):
            node.meta["divergence"] = {"added": count / 100}
    values = [COLOURED[what].value(graph, node) for node in graph.nodes]
    assert any(values)
    drawn = fills(recorder.export(graph, "dot", colour_by=what))
    ramp, unknown = THEMES["light"].ramp, THEMES["light"].styles["constant"].fill
    for value, fill in zip(values, drawn, strict=True):
        assert (fill in ramp) == bool(value)
        assert (fill == unknown) == (value is None)
    ordered = [ramp.index(fill) for value, fill in sorted(zip(values, drawn), key=lambda pair: pair[0] or 0) if value]
    assert ordered == sorted(ordered)
    assert ordered[-1] == len(ramp) - 1 or len({value for value in values if value}) == 1


def test_what_is_not_there_is_no_colour() -> None:
    graph = Graph([Node("a", "autograd", "AddBackward0", "torch.autograd.AddBackward0")])
    for what in COLOURED:
        with pytest.raises(OptionError, match=re.escape(COLOURED[what].missing)):
            recorder.export(graph, "dot", colour_by=what)
        with pytest.raises(OptionError, match=re.escape(COLOURED[what].missing)):
            recorder.export(graph, "mermaid", colour_by=what)


@given(st.lists(st.floats(min_value=0, allow_infinity=False, allow_nan=False) | st.none(), min_size=1))
def test_any_figures_make_a_scale(values: list[float | None]) -> None:
    nodes = [Node(f"n{i}", "function", "add", "torch.add") for i in range(len(values))]
    graph = Graph(nodes)
    graph.metrics = {node: {} if value is None else {"flops": value} for node, value in zip(nodes, values, strict=True)}
    if all(value is None for value in values):
        with pytest.raises(OptionError):
            scale_of(graph, "flops", THEMES["light"])
        return
    made = scale_of(graph, "flops", THEMES["light"])
    assert made is not None
    steps = [made.step(value) for value in sorted(v for v in values if v)]
    assert steps == sorted(steps)
    assert all(isinstance(item, str | Style) for item in made.legend())
    assert made.range_in_words()


# What is shown


def test_fields_can_be_chosen() -> None:
    graph = trained()
    graph.nodes[0].duration_ns = 1_230_000
    drawn = recorder.export(graph, "dot", show=("name", "time", "parameters", "flops"))
    assert isinstance(drawn, str)
    assert ">1.23 ms · 16 parameters · 64 FLOPs<" in drawn
    assert not re.search(r"(?m)^n\d+ -> n\d+ .*[lL]abel=", drawn)
    everything = recorder.export(graph, "dot", show=",".join(FIELDS))
    assert recorder.export(graph, "dot", show=FIELDS) == everything
    assert recorder.export(graph, "dot", show="name,hyper_parameters,shape,dtype") == recorder.export(graph, "dot")
    assert recorder.export(graph, "dot", show="") != recorder.export(graph, "dot")


def test_edges_show_what_they_are_to() -> None:
    graph = record(Net(lambda net, x: net.fc(x).relu(), fc=linear()), x())
    for show, expected in (("shape", ["2×4"]), ("dtype", ["float32"]), ("shape,dtype", ["2×4", "float32"]), ("", [])):
        drawn = recorder.export(graph, "dot", show=show)
        assert isinstance(drawn, str)
        (edge,) = re.findall(r"(?m)^ *n0 -> n1 .*$", drawn)
        assert [
            word for word in ("2×4", "float32") if f"{word}&#160;" in edge or f"{word}</font>&#160;" in edge
        ] == expected
        chart = recorder.export(graph, "mermaid", show=show)
        assert isinstance(chart, str)
        (arrow,) = [line for line in chart.splitlines() if re.match(r" *n1 --> ?(\|.*\|)? ?n2", line)]
        assert re.findall(r"2×4|float32", arrow) == expected


def test_hyper_parameters_and_names_can_be_left_out() -> None:
    graph = record(Net(lambda net, x: net.conv(x), conv=nn.Conv2d(2, 2, 3, stride=2)), x(1, 2, 9, 9))
    for format in ("dot", "mermaid"):
        usual, bare = recorder.export(graph, format), recorder.export(graph, format, show="shape")
        assert isinstance(usual, str)
        assert isinstance(bare, str)
        labels = [re.sub(r"tooltip=.*", "", text) for text in (usual, bare)]
        assert ["stride 2" in text for text in labels] == [True, False]
        assert ["conv<" in text or "conv&" in text or 'conv"' in text for text in labels] == [True, False]


def test_a_field_that_there_is_not() -> None:
    for format in ("dot", "mermaid"):
        with pytest.raises(OptionError, match="there is no field 'size' to show; there are: name, hyper_parameters"):
            recorder.export(trained(), format, show="name,size")


# Mermaid


def test_mermaid_is_coloured_too() -> None:
    chart = recorder.export(trained(), "mermaid", colour_by="flops", theme="dark")
    assert isinstance(chart, str)
    ramp = THEMES["dark"].ramp
    assert "title: " in chart
    assert "FLOPs from 64 (dark) to 1.02 k (light)" in chart
    classes = dict(re.findall(r"classDef (\w+) fill:(#[0-9a-f]{6})", chart))
    assert (classes["step0"], classes["step6"]) == (ramp[0], ramp[-1])
    assert classes["zero"] == THEMES["dark"].styles["function"].fill
    used = re.findall(r":::(\w+)", chart)
    calls = [name for name in used if name not in ("input", "output")]
    assert calls == ["step0", "zero", "step6", "zero", "zero"]


def test_an_error_is_seen_whatever_the_colours() -> None:
    graph = trained()
    graph.nodes[0].error = "ValueError: no"
    for format in ("dot", "mermaid"):
        drawn = recorder.export(graph, format, colour_by="flops")
        assert isinstance(drawn, str)
        assert STYLES["error"].fill in drawn


def test_values_of_nobody_keep_their_colours() -> None:
    graph = Graph([Node("a", "function", "add", "torch.add", outputs=(Value("v", (1,), "float32", "cpu"),))])
    graph.metrics[graph.nodes[0]] = {"flops": 3}
    assert fills(recorder.export(graph, "dot", colour_by="flops")) == [THEMES["light"].ramp[0]]


def test_the_legend_says_that_figures_are_of_each_repetition() -> None:
    build = StreamBuilder("Net")
    x = build.tensor((2, 4))
    with build.call("", "Net", [x]) as net:
        for number in range(30):
            with build.call(f"layer.{number}", "Layer", [x]) as layer:
                x = build.op(f"layer.{number}.fc", "Linear", [x], (2, 4), weight=(4, 4))
                x = build.op(f"layer.{number}.act", "ReLU", [x], (2, 4))
                layer.outputs = [x]
        net.outputs = [x]
    graph = assemble(build.stream)
    drawn = str(recorder.export(graph, "dot", colour_by="parameters"))
    assert "parameters of each" in drawn
    assert "× 30" in drawn
    assert "of each" not in str(recorder.export(graph, "dot", colour_by="parameters", fold=False, depth=None))
