"""What stands in the file, without LaTeX, which compiles it in graph-recorder's own tests."""

import re
import shutil
import sysconfig

import pytest
import recorder_tikz
from recorder_tikz import TikzExporter
from recorder_tikz_text import latex

from recorder import ExportError, Graph, Node, Value
from recorder.testing import HOSTILE_NAMES, bearing, chain, check_exporter, sample_graphs

SAMPLES = sample_graphs()


def drawn(graph, **options):
    return TikzExporter().export(graph, **options)


def tensor(name, role="activation"):
    return Value(name, (2, 3), "float32", "cpu", role=role)


def skipping(between):
    """A chain whose first output is added to its last."""
    x = tensor("x", "input")
    values, nodes = [tensor(f"v{i}") for i in range(between + 2)], []
    for i, (given, made) in enumerate(zip([x, *values], values[:-1])):
        nodes.append(Node(f"n{i}", "function", "relu", "torch.relu", inputs=(given,), outputs=(made,)))
    nodes.append(Node("add", "function", "add", "torch.add", inputs=(values[-2], values[0]), outputs=(values[-1],)))
    return Graph(nodes, inputs=[x], outputs=[values[-1]])


def test_every_promise_is_kept():
    check_exporter(TikzExporter())


@pytest.mark.parametrize("name", SAMPLES)
def test_every_box_and_every_arrow_is_there(name):
    graph = SAMPLES[name]
    text = drawn(graph)
    given = {v for node in graph.nodes for v in node.inputs if v.producer is None} | {*graph.inputs, *graph.outputs}
    shown = {v for v in given if v.producer is None and (v.role not in ("parameter", "buffer") or v in graph.inputs)}
    shown |= {v for v in graph.outputs if v.producer is None}
    assert text.count(r"\node[graph box") == len(graph.nodes)
    assert text.count(r"\node[graph tensor") == len(shown) + len(set(graph.outputs))
    uses = sum(v.producer is not None or v in shown for node in graph.nodes for v in node.inputs)
    assert text.count(r"\draw[->") == uses + len(set(graph.outputs))


def test_an_input_is_no_document():
    whole, part = (drawn(SAMPLES["tiny"], standalone=standalone) for standalone in (True, False))
    assert "documentclass" in whole
    assert "documentclass" not in part
    assert part.splitlines()[1].startswith(r"\begin{tikzpicture}")
    assert part.split("\n", 1)[1].rstrip() in whole
    wide = drawn(SAMPLES["tiny"], standalone=False, width=r"0.5\textwidth")
    assert r"\resizebox{0.5\textwidth}{!}{%" in wide


@pytest.mark.parametrize(
    "name", [*HOSTILE_NAMES, "half of a character: \ud800", "привет, 世界", "a^b_c~d%e#f$g&h\\i{j}k"]
)
def test_names_are_escaped(name):
    text = drawn(bearing(name), legend=True)
    assert text.isascii()
    depth = 0
    for brace in re.findall(r"(?<!\\)[{}]", text.replace(r"\\", "  ")):
        depth += 1 if brace == "{" else -1
        assert depth >= 0
    assert depth == 0
    body = text[text.index(r"\begin{tikzpicture}") : text.index(r"\end{tikzpicture}")]
    assert not re.search(r"(?<!\\)[#$&~^]", body)
    assert not re.search(r"(?<!\\)%", body)


def test_letters_are_typeset_as_they_are():
    assert latex("layer1.0 conv") == "layer1.0 conv"
    assert latex("a_b") == r"a\_b"
    assert latex("é\u00efß") == r"\'{e}\"{\i}{\ss}"
    assert latex("α×β") == r"\ensuremath{\alpha}\ensuremath{\times}\ensuremath{\beta}"
    assert latex("中") == r"\graphchar{4E2D}"
    assert latex("--") == "{-}{-}"
    assert latex("a  b") == r"a \ b"


def test_labels_are_the_users():
    labels = {"layer2": r"stage $S_2$", "Conv2d": r"Conv\\$3\times3$", "layer1.conv": r"\emph{first}"}
    text = drawn(SAMPLES["residual"], labels=labels)
    assert r"stage $S_2$" in text
    assert r"\emph{first}" in text
    assert r"$3\times3$" in text


def test_an_arrow_runs_round_what_it_skips():
    for direction in ("TB", "LR"):
        (corners,) = re.findall(r"\[rounded corners=3pt\] (.*);", drawn(skipping(3), direction=direction))
        points = [tuple(map(float, point)) for point in re.findall(r"\(([-\d.]+),([-\d.]+)\)", corners)]
        axis = 0 if direction == "TB" else 1
        assert len(points) == 4
        assert points[1][axis] == points[2][axis]
        assert abs(points[1][axis] - points[0][axis]) > 7
    assert "[rounded corners=3pt]" not in drawn(chain(5))


def test_data_flows_where_it_is_told_to():
    for direction, at in (("TB", 1), ("LR", 0)):
        found = re.findall(r"\\node\[graph box.*? at \(([-\d.]+),([-\d.]+)\)", drawn(chain(5), direction=direction))
        along = [float(point[at]) for point in found]
        assert along == sorted(along, reverse=direction == "TB")
        assert len({float(point[1 - at]) for point in found}) == 1


def test_print_is_black_and_white():
    colours = re.findall(r"\{HTML\}\{(\w\w)(\w\w)(\w\w)\}", drawn(SAMPLES["residual"], theme="print"))
    assert colours
    assert all(red == green == blue for red, green, blue in colours)


def test_without_any_program_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(ExportError, match="apt install graphviz"):
        drawn(SAMPLES["tiny"])


def test_graphviz_pure_does_as_well(monkeypatch):
    pure = shutil.which("graphviz-pure") or shutil.which("graphviz-pure", path=sysconfig.get_path("scripts"))
    monkeypatch.setattr(shutil, "which", lambda name, **_: pure if "pure" in name else None)
    text = drawn(SAMPLES["residual"])
    assert text.count(r"\node[graph box") == len(SAMPLES["residual"].nodes)


def test_an_unfinished_layout_is_told():
    with pytest.raises(ExportError, match="has not finished"):
        drawn(chain(400), timeout=0.001)


def test_it_registers_itself():
    registered = []
    recorder_tikz.recorder_register_exporters(registered.append)
    assert [exporter.name for exporter in registered] == ["tikz"]
