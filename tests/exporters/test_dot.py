"""The oracle is Graphviz itself: `dot` reads the text, and what it understood is compared with the graph."""

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from functools import cache
from typing import Any, NamedTuple

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from recorder_exporters.drawing.styles import STYLES, class_of
from recorder_exporters.drawing.words import shape_of, short_name, shortened, visible
from support.strategies import blocks

import recorder
from recorder import ExportError, Graph, Node, OptionError, Recorder, Scope, Value, assemble
from recorder.testing import chain, sample_graphs

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's dot on PATH: apt install graphviz")
SAMPLES = sample_graphs()


class Twice(torch.nn.Module):
    """Uses one parameter in two places, and each of a layer's own in one."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU())
        self.scale = torch.nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x * self.scale) * self.scale


def autograd_of_run() -> Graph:
    """An autograd graph in its modules' scopes, with parameters and an input that gets a gradient."""
    net = Twice()
    with Recorder(net) as recording:
        loss = net(torch.ones(2, 4, requires_grad=True)).sum()
    graph = recording.autograd
    assert loss.requires_grad
    return graph


class Partly(torch.nn.Module):
    """A gradient comes to some of its parts: not to the frozen one, through the detached value, or from the unused."""

    def __init__(self) -> None:
        super().__init__()
        self.frozen, self.body, self.detached, self.unused, self.head = (torch.nn.Linear(4, 4) for _ in range(5))
        self.frozen.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = torch.tanh(self.body(self.frozen(x)))
        torch.relu(self.unused(h))
        return torch.mul(self.head(h), self.detached(h.detach()))


def trained(net: torch.nn.Module, backward: bool = True) -> Graph:
    with Recorder(net) as recording:
        loss = net(torch.ones(2, 4)).sum()
        if backward:
            loss.backward()
    return recording.graph


AUTOGRAD = autograd_of_run()
DRAWN = {**SAMPLES, "autograd": AUTOGRAD}


def run_dot(text: str, format: str) -> bytes:
    done = subprocess.run(["dot", f"-T{format}"], input=text.encode(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert not done.stderr, done.stderr.decode()
    return done.stdout


class Drawing(NamedTuple):
    """What dot understood: boxes and clusters by name, each one's cluster, the edges by the names of their ends, and
    the drawing as a whole.
    """

    boxes: dict[str, dict[str, Any]]
    clusters: dict[str, dict[str, Any]]
    parents: dict[str, str | None]
    edges: list[tuple[str, str, dict[str, Any]]]
    whole: dict[str, Any]


def read(text: str) -> Drawing:
    """With layout, so that the words are those that dot draws, and not the label that it was given."""
    document = json.loads(run_dot(text, "json"))
    objects = {o["_gvid"]: o for o in document.get("objects", [])}
    clusters = {o["name"]: o for o in objects.values() if o["name"].startswith("cluster")}
    boxes = {o["name"]: o for o in objects.values() if not o["name"].startswith("cluster")}
    parents: dict[str, str | None] = dict.fromkeys([*boxes, *clusters])
    for name, cluster in clusters.items():
        for child in cluster.get("subgraphs", []):
            parents[objects[child]["name"]] = name
    for name, cluster in sorted(clusters.items(), key=lambda item: depth(item[0], parents)):
        for member in cluster.get("nodes", []):  # of inner clusters too: the innermost comes last
            parents[objects[member]["name"]] = name
    edges = [(objects[e["tail"]]["name"], objects[e["head"]]["name"], e) for e in document.get("edges", [])]
    return Drawing(boxes, clusters, parents, edges, document)


def depth(name: str, parents: dict[str, str | None]) -> int:
    parent = parents[name]
    return 0 if parent is None else 1 + depth(parent, parents)


@cache
def spells_backslashes() -> bool:
    """Graphviz 14 draws them as older ones do, and writes more of them into its JSON."""
    (box,) = json.loads(run_dot(r"digraph { a [label=<\\>] }", "json"))["objects"]
    return any(o["op"] == "T" and o["text"] == "\\" for o in box["_ldraw_"])


def skip_where_dot_misspells() -> None:
    """Skip what reads names with backslashes out of dot's JSON."""
    if not spells_backslashes():
        pytest.skip("this Graphviz writes backslashes into its JSON that it does not draw")


def words(drawn: dict[str, Any]) -> list[str]:
    """The pieces of text that dot draws for a box, a cluster or an edge."""
    operations = [*drawn.get("_ldraw_", []), *drawn.get("_tldraw_", [])]
    return [o["text"].replace("\xa0", " ") for o in operations if o["op"] == "T"]


def shown(name: str) -> str:
    """How a name is meant to be drawn."""
    return shortened(visible(name), 48) or "unnamed"


def drawn_nodes(graph: Graph) -> list[Node]:
    """All but those that do nothing but accumulate the gradient of a parameter."""
    return [n for n in graph.nodes if (n.op_type, *(v.role for v in n.inputs)) != ("AccumulateGrad", "parameter")]


def names_of(graph: Graph, drawing: Drawing) -> dict[int, str]:
    """The id of each drawn node and value, in the numbering that the exporter promises, by object."""
    sources = [
        v
        for v in graph.values()
        if v.producer is None and (v in graph.inputs or v in graph.outputs or v.role not in ("parameter", "buffer"))
    ]
    names = {id(v): f"v{i}" for i, v in enumerate(sources)} | {id(n): f"n{i}" for i, n in enumerate(drawn_nodes(graph))}
    assert {*names.values(), *(f"o{i}" for i in range(len(graph.outputs)))} == set(drawing.boxes)
    return names


@needs_dot
@pytest.mark.parametrize(
    "options", [{"depth": None}, {"direction": "LR", "fast": True, "depth": None}, {"depth": 1}], ids=str
)
@pytest.mark.parametrize("name", DRAWN)
def test_dot_understands_the_graph(name: str, options: dict[str, Any]) -> None:
    graph = DRAWN[name]
    text = recorder.export(graph, "dot", **options)
    assert isinstance(text, str)
    drawing = read(text)
    if options["depth"] is not None:
        graph = recorder.collapse(graph, options["depth"])
    names = names_of(graph, drawing)

    clusters = {id(scope): f"cluster_{i}" for i, scope in enumerate(graph.scopes)}
    assert set(clusters.values()) == set(drawing.clusters)
    for scope in graph.scopes:
        parent = None if scope.parent is None else clusters[id(scope.parent)]
        assert drawing.parents[clusters[id(scope)]] == parent
    for node in drawn_nodes(graph):
        assert drawing.parents[names[id(node)]] == (None if node.scope is None else clusters[id(node.scope)])

    drawn = {id(node) for node in drawn_nodes(graph)}
    expected = Counter((names[id(e.source)], names[id(e.target)]) for e in graph.edges() if id(e.source) in drawn)
    expected += Counter((names[id(v)], names[id(n)]) for n in graph.nodes for v in n.inputs if id(v) in names)
    expected += Counter((names[id(v.producer or v)], f"o{i}") for i, v in enumerate(graph.outputs))
    assert Counter((tail, head) for tail, head, _ in drawing.edges) == expected


@needs_dot
@pytest.mark.parametrize("name", DRAWN)
def test_dot_draws_the_words_and_colours(name: str) -> None:
    graph = DRAWN[name]
    if name == "hostile":
        skip_where_dot_misspells()
    drawing = read(recorder.export(graph, "dot", title="a title of its own", depth=None))  # type: ignore[arg-type]
    names = names_of(graph, drawing)
    for node in drawn_nodes(graph):
        box = drawing.boxes[names[id(node)]]
        assert words(box)[0].rstrip() == shown(node.op_type).rstrip()
        if short_name(node):
            assert shown(short_name(node)) in words(box)
        assert box["fillcolor"] == STYLES[class_of(node)].fill
    for scope in graph.scopes:
        parts = words(drawing.clusters[f"cluster_{graph.scopes.index(scope)}"])
        expected = [shown(short_name(scope))] if short_name(scope) else []
        assert parts[: len(expected)] == expected
        assert parts[-1].strip() == shown(scope.op_type).strip()
    for i, value in enumerate(graph.outputs):
        assert words(drawing.boxes[f"o{i}"]) == ["output", f"{shape_of(value)} ", value.dtype]
    told = {(tail, head): "".join(words(e)).split() for tail, head, e in drawing.edges if words(e)}
    for edge in (edge for edge in graph.edges() if id(edge.source) in names):
        assert told[names[id(edge.source)], names[id(edge.target)]] == [shape_of(edge.value), edge.value.dtype]


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=70)


@pytest.mark.slow
@needs_dot
@example([("]", "]", "]"), ("\\N", "\\G\\", "\\"), ("&amp;", "<b>", '"')], "]")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(any_text, any_text, any_text), min_size=1, max_size=6), any_text)
def test_names_of_any_characters(names: list[tuple[str, str, str]], title: str) -> None:
    """What is drawn is the name, but for what `visible` and `shortened` say; the tooltip has the whole of it."""
    skip_where_dot_misspells()
    scopes = [Scope(fqn, 0, op_type, name=f"scope {i}") for i, (fqn, op_type, _) in enumerate(names)]
    nodes = [
        Node(f"node {i} {fqn}", "module", op_type, "", fqn, 0, scopes[i], error=error)
        for i, (fqn, op_type, error) in enumerate(names)
    ]
    text = recorder.export(Graph(nodes, scopes=scopes, name=title), "dot")
    assert isinstance(text, str)
    drawing = read(text)
    svg = {
        group.findtext("{*}title"): group.find(".//{*}a")
        for group in ET.fromstring(run_dot(text, "svg")).iter("{http://www.w3.org/2000/svg}g")
        if group.get("class") in ("node", "cluster")
    }
    for i, (node, scope) in enumerate(zip(nodes, scopes, strict=True)):
        drawn = words(drawing.boxes[f"n{i}"])
        assert same(drawn[0], shown(node.op_type))
        if short_name(node):
            assert same(drawn[1], shown(short_name(node)))
        tooltip = svg[f"n{i}"]
        assert tooltip is not None
        lines = [shortened(visible(line), 200) for line in (node.name, node.error) if line]
        assert same(tooltip.attrib["{http://www.w3.org/1999/xlink}title"], "\n".join(lines))
        if (scope.op_type, short_name(scope)) != (title, ""):
            assert same(words(drawing.clusters[f"cluster_{i}"])[-1], shown(scope.op_type), gap="  ")


def same(drawn: str, meant: str, gap: str = "") -> bool:
    """Equal, except that dot writes one of two spaces that follow each other as a space that does not break."""
    drawn, meant = (text.replace("\xa0", " ") for text in (drawn, meant))
    return drawn in (meant, gap + meant)


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("conv1", "conv1"),
        ("é漢字😀👩\u200d🔬", "é漢字😀👩\u200d🔬"),
        ("a\nb\x00\x7f", "a␊b␀␡"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x85\ufeff\ufffe\U0001ffff\ud800", "\\x85\\ufeff\\ufffe\\U0001ffff\\ud800"),
        ("  ", "␠␠"),
        ("", ""),
    ],
)
def test_visible(text: str, seen: str) -> None:
    assert visible(text) == seen


@pytest.mark.parametrize("name", ["tiny", "residual", "error"])
def test_golden(name: str, golden: Any) -> None:
    golden(f"{name}.dot", recorder.export(SAMPLES[name], "dot"))


def test_the_same_in_another_process() -> None:
    code = (
        "import recorder, recorder.testing as t; print(recorder.export(t.sample_graphs()['branching'], 'dot'), end='')"
    )
    env = {**os.environ, "PYTHONHASHSEED": "1", "PYTHONIOENCODING": "utf-8"}
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, env=env)
    assert other.stdout.decode() == recorder.export(SAMPLES["branching"], "dot")


@needs_dot
def test_parameters_are_in_the_box_of_their_module_and_apart_if_shared() -> None:
    weight, shared = (Value(n, (4, 4), "float32", "cpu", role="parameter") for n in ("a.weight", "a.shared"))
    x = Value("x", (1, 4), "float32", "cpu", role="input")
    h, y = (Value(n, (1, 4), "float32", "cpu") for n in ("h", "y"))
    a = Node("a", "module", "Linear", "", "a", 0, inputs=(x, weight, shared), outputs=(h,))
    b = Node("b", "module", "Linear", "", "b", 0, inputs=(h, shared), outputs=(y,))
    graph = Graph([a, b], inputs=[x], outputs=[y], initializers=[weight, shared])
    drawing = read(recorder.export(graph, "dot", initializers=True))  # type: ignore[arg-type]
    assert set(drawing.boxes) == {"n0", "n1", "v0", "v1", "o0"}
    assert words(drawing.boxes["n0"])[-1] == "weight 4×4"
    assert words(drawing.boxes["v1"])[0] == "a.shared"
    assert Counter((tail, head) for tail, head, _ in drawing.edges if tail == "v1") == {
        ("v1", "n0"): 1,
        ("v1", "n1"): 1,
    }
    assert set(read(recorder.export(graph, "dot")).boxes) == {"n0", "n1", "v0", "o0"}  # type: ignore[arg-type]


def labels(drawing: Drawing) -> dict[str, list[str]]:
    """What stands in each box, by its first line."""
    return {words(box)[0]: words(box)[1:] for box in drawing.boxes.values()}


@needs_dot
def test_parameters_of_an_autograd_graph() -> None:
    """A box for what accumulates an input's gradient, none for what accumulates a parameter's."""
    assert Counter(node.op_type for node in AUTOGRAD.nodes)["AccumulateGrad"] == 4  # scale, weight, bias, and the input
    bare = read(recorder.export(AUTOGRAD, "dot"))  # type: ignore[arg-type]
    heads = Counter(words(box)[0] for box in bare.boxes.values())
    assert heads["AccumulateGrad"] == 1
    assert "scale" not in heads
    assert labels(bare)["AddmmBackward0"] == ["0"]
    assert labels(bare)["ReluBackward0"] == ["1"]

    full = read(recorder.export(AUTOGRAD, "dot", initializers=True))  # type: ignore[arg-type]
    assert labels(full)["AddmmBackward0"] == ["0", "bias 4"]
    assert labels(full)["TBackward0"] == ["0", "weight 4×4"]
    (scale,) = [name for name, box in full.boxes.items() if words(box)[0] == "scale"]
    users = [words(full.boxes[head])[0] for tail, head, _ in full.edges if tail == scale]
    assert users == ["MulBackward0", "MulBackward0"]
    assert full.boxes[scale]["fillcolor"] == STYLES["parameter"].fill
    assert len(full.boxes) == len(bare.boxes) + 1


@needs_dot
def test_what_accumulates_is_drawn_where_nothing_stands_for_it() -> None:
    weight = Value("w", (4,), "float32", "cpu", True, role="parameter")
    made = Value("g", (4,), "float32", "cpu", True)
    alone = Node("AccumulateGrad", "autograd", "AccumulateGrad", "", inputs=(weight,), outputs=(made,))
    graph = Graph([alone], outputs=[made], initializers=[weight])
    assert set(read(recorder.export(graph, "dot")).boxes) == {"n0", "o0"}  # type: ignore[arg-type]


def test_mermaid_draws_the_same_autograd_nodes() -> None:
    assert str(recorder.export(AUTOGRAD, "mermaid")).count('{{"') == len(drawn_nodes(AUTOGRAD))


def test_the_graph_is_not_changed_by_drawing_it() -> None:
    before = recorder.dumps(AUTOGRAD)
    recorder.export(AUTOGRAD, "dot", initializers=True)
    recorder.export(AUTOGRAD, "dot", depth=1)
    assert recorder.dumps(AUTOGRAD) == before
    AUTOGRAD.lint()


@needs_dot
def test_the_way_back_of_gradients() -> None:
    graph = trained(Partly())
    drawing = read(recorder.export(graph, "dot", backward=True))  # type: ignore[arg-type]
    names = {name: words(box)[-1] for name, box in drawing.boxes.items()}  # a module's is its second line
    back = [(tail, head, edge) for tail, head, edge in drawing.edges if edge.get("dir") == "back"]
    assert sorted((names[head], names[tail]) for tail, head, _ in back) == [
        ("head", "tanh"), ("mul", "detached"), ("mul", "head"), ("sum", "mul"), ("tanh", "body"),
    ]  # fmt: skip
    for tail, head, edge in back:
        assert (edge["style"], edge["constraint"], words(edge)) == ("dashed", "false", [])
        assert edge["color"] == STYLES["gradient"].line
        # The arrowhead is where the gradient goes to: an edge that dot draws backwards has it at its tail.
        assert ("_tdraw_" in edge, "_hdraw_" in edge) == (True, False)
        assert [tail, head] in [[t, h] for t, h, e in drawing.edges if "_hdraw_" in e]

    plain = read(recorder.export(graph, "dot"))  # type: ignore[arg-type]
    others = [(tail, head) for tail, head, edge in drawing.edges if edge.get("dir") != "back"]
    assert others == [(tail, head) for tail, head, _ in plain.edges]
    assert drawing.boxes.keys() == plain.boxes.keys()
    assert {"gradient"} <= set(words(drawing.whole)) - set(words(plain.whole))


@pytest.mark.parametrize("options", [{}, {"legend": False}, {"depth": 0}], ids=str)
def test_without_a_backward_pass_there_is_no_way_back(options: dict[str, Any]) -> None:
    graph = trained(Partly(), backward=False)
    assert recorder.export(graph, "dot", backward=True, **options) == recorder.export(graph, "dot", **options)


def test_gradients_go_back_between_collapsed_calls() -> None:
    net = torch.nn.Sequential(torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU()), torch.nn.Linear(4, 4))
    text = str(recorder.export(trained(net), "dot", backward=True, depth=1))
    assert text.count("dir=back") == 2  # Sequential and Linear, Linear and sum


def calls(*norms: float | None, nan: int = 0) -> Graph:
    """A module call for each norm of the gradient that arrived, the first of them with so many NaN."""
    nodes = [Node(f"m{i}", "module", "Linear", "", f"m{i}", 0) for i in range(len(norms))]
    for node, norm in zip(nodes, norms, strict=True):
        if norm is not None:
            measured = {"shape": [1], "dtype": "float32", "norm": norm, "largest": norm, "inf": 0, "zeros": 0.0}
            node.meta["backward"] = {"arrived": [{**measured, "nan": nan if node is nodes[0] else 0}]}
    return Graph(nodes)


@needs_dot
def test_colours_by_gradient() -> None:
    """Each power of ten is a step further on the ramp, and none, zero and NaN are told apart from all of them."""
    norms = [1.0, *(10.0**-i * 1.5 for i in range(7, 0, -1)), 1e-7, 0.0, None]
    drawing = read(recorder.export(calls(*norms, nan=1), "dot", colour_by="gradient"))  # type: ignore[arg-type]
    fills = [drawing.boxes[f"n{i}"]["fillcolor"] for i in range(len(norms))]
    assert len(set(fills[1:8])) == 7
    brightness = [sum(int(fill[i : i + 2], 16) for i in (1, 3, 5)) for fill in fills[1:8]]
    assert brightness == sorted(brightness, reverse=True)
    assert fills[8] == fills[1]
    assert len({fills[0], *fills[1:8], fills[9], fills[10]}) == 10
    assert fills[10] == STYLES["constant"].fill
    told = [text.strip("\u2003") for text in words(drawing.whole)]
    assert told[-6:] == ["gradient norm", "0", "1e-07", "0.15", "NaN or Inf", "not known"]


@needs_dot
@pytest.mark.parametrize(
    ("norms", "told"), [([2.0, 2.0], ["2"]), ([0.0], ["0"]), ([1e-300, 1e300], ["1e-300", "1e+300"])]
)
def test_the_range_of_the_gradients(norms: list[float], told: list[str]) -> None:
    drawing = read(recorder.export(calls(*norms), "dot", colour_by="gradient"))  # type: ignore[arg-type]
    assert [text.strip("\u2003") for text in words(drawing.whole)] == ["graph", "gradient norm", *told]


@needs_dot
def test_colours_of_a_run() -> None:
    net = Partly()
    with Recorder(net, gradients="stats") as recording:
        net(torch.ones(2, 4)).sum().backward()
    graph = recording.graph
    drawing = read(recorder.export(graph, "dot", colour_by="gradient"))  # type: ignore[arg-type]
    grey = STYLES["constant"].fill
    coloured = {n.name for i, n in enumerate(graph.nodes) if drawing.boxes[f"n{i}"]["fillcolor"] != grey}
    assert coloured == {"body", "detached", "head", "mul", "sum", "tanh"}  # functions, too


def test_gradients_that_were_not_measured_are_no_colours() -> None:
    with pytest.raises(OptionError, match="stats"):
        recorder.export(trained(Partly()), "dot", colour_by="gradient")


@needs_dot
def test_a_tensor_of_unknown_origin_is_drawn_as_such() -> None:
    found = Value("found", (2, -1), "float32", "cpu")
    graph = Graph([Node("relu", "function", "relu", "torch.relu", inputs=(found,))])
    assert words(read(recorder.export(graph, "dot")).boxes["v0"]) == ["unknown origin", "2×? ", "float32"]  # type: ignore[arg-type]


@needs_dot
def test_an_error_is_told_once_and_by_the_innermost() -> None:
    outer = Scope("", 0, "Net", name="Net", error="ValueError: no")
    inner = Scope("block", 0, "Block", outer, "block", error="ValueError: no")
    graph = Graph([Node("relu", "function", "relu", "torch.relu", scope=inner)], scopes=[outer, inner], name="Net")
    drawing = read(recorder.export(graph, "dot"))  # type: ignore[arg-type]
    assert "ValueError: no" not in words(drawing.clusters["cluster_0"])
    assert "ValueError: no" in words(drawing.clusters["cluster_1"])
    assert drawing.clusters["cluster_0"]["color"] == drawing.clusters["cluster_1"]["color"] == STYLES["error"].line


def skips(depth: int) -> Graph:
    """As in a U-Net: the last of ``2 * depth`` nodes uses what the first made, the last but one the second's, …"""
    made = [Value(f"v{i}", (1,), "float32", "cpu") for i in range(2 * depth)]
    inputs = [made[max(i - 1, 0) : i] + ([made[2 * depth - 1 - i]] if i >= depth else []) for i in range(2 * depth)]
    return Graph(
        [Node(f"n{i}", "function", "f", "f", inputs=tuple(inputs[i]), outputs=(made[i],)) for i in range(2 * depth)]
    )


@pytest.mark.parametrize(
    ("graph", "fast"), [(chain(1_000), False), (chain(3_000), True), (skips(10), False), (skips(100), True)], ids=str
)
def test_the_layout_is_fast_for_graphs_that_would_take_long(graph: Graph, fast: bool) -> None:
    text = recorder.export(graph, "dot", depth=None)
    assert text == recorder.export(graph, "dot", fast=fast, depth=None)
    assert isinstance(text, str)
    assert ("nslimit=1" in text, "taillabel" in text, "laid out fast, without shapes" in text) == (fast, not fast, fast)
    assert "splines" not in text, "straight lines run through boxes"


def test_scopes_that_nest_too_deeply() -> None:
    scopes = [Scope("cell", 0, "Cell", name="cell 0")]
    for i in range(1, 2_000):
        scopes.append(Scope("cell", i, "Cell", scopes[-1], f"cell {i}"))
    nodes = [Node(f"add_{number}", "function", "add", "torch.add", scope=scope) for number, scope in enumerate(scopes)]
    graph = Graph(nodes, scopes=scopes)
    with pytest.raises(ExportError, match="depth=100"):
        recorder.export(graph, "dot", depth=None)
    assert "cluster_99" in recorder.export(graph, "dot", depth=100)  # type: ignore[operator]


def test_the_legend_has_the_kinds_that_occur() -> None:
    text = recorder.export(SAMPLES["error"], "dot")
    assert isinstance(text, str)
    assert "raised an error" in text
    assert "function call" not in text
    assert "raised an error" not in str(recorder.export(SAMPLES["error"], "dot", legend=False))


@pytest.mark.parametrize(
    "options", [{"nonsense": 1}, {"direction": "up"}, {"depth": "1"}, {"depth": -1}, {"legend": 1}], ids=str
)
def test_options_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        recorder.export(SAMPLES["tiny"], "dot", **options)


@needs_dot
def test_what_repeats_says_how_often() -> None:
    graph = assemble(blocks(12, pairs=3))
    drawing = read(str(recorder.export(graph, "dot", fold=True)))
    headings = [" ".join("".join(words(cluster)).split()) for cluster in drawing.clusters.values()]
    assert headings == ["", "blocks.0–11 Block × 12", "pairs.0–5 × 3", "pairs.0 A", "pairs.1 B"]
    assert [cluster["penwidth"] for cluster in drawing.clusters.values()] == ["0.8", "1.8", "1.8", "0.8", "0.8"]
    assert words(drawing.whole)[-1] == "6 boxes for 36 operations · × n: n alike, drawn once"
    assert words(read(str(recorder.export(graph, "dot", depth=None))).whole)[-1] != words(drawing.whole)[-1]
    drawing = read(str(recorder.export(graph, "dot", fold=True, depth=1)))
    told = [
        (box["peripheries"], " ".join(" ".join(words(box)).split()))
        for box in drawing.boxes.values()
        if "peripheries" in box
    ]
    assert ("2", "Block × 12 blocks.0–11 · 2 nodes each") in told
    assert "stands for pairs.0, pairs.1, pairs.2, pairs.3, pairs.4, pairs.5" in str(
        recorder.export(graph, "dot", fold=True)
    )
    assert words(drawing.whole)[-1] == "3 boxes for 36 operations · × n: n alike, drawn once"
    assert words(read(str(recorder.export(graph, "dot", legend=False, fold=True))).whole) == ["Net"]


def test_inputs_and_outputs_that_repeat() -> None:
    """As the cache of a language model, of which each block has its own part."""
    given, made = (
        Value(name, (1,), "float32", "cpu", role=role, meta={"repeats": 12})
        for name, role in (("cache", "input"), ("new", "activation"))
    )
    text = str(
        recorder.export(
            Graph([Node("n", "function", "f", "", inputs=(given,), outputs=(made,))], inputs=[given], outputs=[made]),
            "dot",
        )
    )
    assert text.count("<b>× 12</b>") == 2
