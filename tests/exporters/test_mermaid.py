"""The Mermaid exporter, against Mermaid itself: its parser under node, and its drawings in a browser."""

import html
import json
import re
import shutil
import string
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from recorder_exporters.drawing.words import caption, hints, short_name, shortened, visible
from recorder_exporters.mermaid import MAX_CHARACTERS, MAX_EDGES
from support.strategies import blocks, graphs

from recorder import ExportError, Graph, Node, OptionError, Scope, Value, assemble, collapse, export, fold
from recorder.testing import HOSTILE_NAMES, StreamBuilder, chain, sample_graphs

HERE = Path(__file__).parents[1] / "mermaid"
MERMAID = HERE / "node_modules" / "mermaid" / "dist" / "mermaid.min.js"

Read = Callable[[str], dict[str, Any]]
Draw = Callable[[list[str]], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def read() -> Iterator[Read]:
    """Mermaid's parser: text in, what it understood out."""
    _needs_mermaid("node")
    with subprocess.Popen(
        ["node", "read.mjs"], cwd=HERE, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(text: str) -> dict[str, Any]:
            stdin.write(json.dumps(text) + "\n")
            stdin.flush()
            return json.loads(stdout.readline())

        yield ask
        stdin.close()


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Mermaid in a browser: texts in, what a reader would see out."""
    _needs_mermaid("chromium")

    def ask(texts: list[str]) -> list[dict[str, Any]]:
        page = tmp_path / "page.html"
        template = (HERE / "draw.html").read_text(encoding="utf-8").replace("MERMAID", MERMAID.as_uri())
        page.write_text(template.replace("TEXTS", json.dumps(texts).replace("<", "\\u003c")), encoding="utf-8")
        options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        # Virtual time stands still while a page works and jumps ahead when it waits: this ends only one that hangs.
        options += ["--virtual-time-budget=600000", "--dump-dom"]
        run = subprocess.run(["chromium", *options, page.as_uri()], capture_output=True, encoding="utf-8", timeout=300)
        found = re.search(r'<pre id="result">(.+?)</pre>', run.stdout, re.DOTALL)
        assert found, f"the page gave no result; chromium said:\n{run.stderr}"
        return json.loads(html.unescape(found[1]))

    return ask


def _needs_mermaid(program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed, by which Mermaid runs")
    if not MERMAID.exists():
        pytest.skip("Mermaid is not installed: run `make test`, or `npm ci --ignore-scripts` in tests/mermaid")


# What must be read


def shown(*lines: str) -> str:
    return "\n".join(shortened(visible(line), 80) for line in lines if line)


def repeats(place: Node | Scope) -> str:
    return f"× {place.meta['repeats']}" if "repeats" in place.meta else ""


def words(node: Node) -> str:
    first = " ".join(filter(None, (node.op_type, hints(node.attributes), repeats(node))))
    inside = node.meta.get("collapsed")
    size = "" if inside is None else f"{inside} node{'s' * (inside != 1)}{' each' * bool(repeats(node))}"
    second = " · ".join(filter(None, (short_name(node), size)))
    return shown(first, second, node.error or "")


def check(graph: Graph, answer: dict[str, Any], *, shapes: bool = True, initializers: bool = False) -> None:
    """Mermaid must have read the same nodes, edges and nesting as are in the graph, and the same words.

    Boxes that stand for nodes are numbered in execution order, so the two are matched by order.
    """
    assert "error" not in answer
    nodes, sources, outputs = {}, {}, {}
    for vertex in answer["vertices"]:
        (style,) = vertex["classes"]
        outline = vertex["shape"]
        (outputs if style == "output" else sources if outline == "stadium" else nodes)[vertex["id"]] = vertex
    assert len(nodes) == len(graph.nodes)
    returned = list(dict.fromkeys(graph.outputs))
    assert len(outputs) == len(returned)
    box = dict(zip(graph.nodes, nodes, strict=True))
    for node, vertex in zip(graph.nodes, nodes.values(), strict=True):
        assert vertex["label"] == words(node) or (not words(node) and vertex["label"].strip() == "")
        assert ("error" in vertex["classes"]) == (node.error is not None)

    def drawn(value: Value) -> bool:
        always = value in graph.inputs or value in graph.outputs
        return always or initializers or value.role not in ("parameter", "buffer")

    # Boxes of tensors: known by their words and what they lead to.
    expected_sources = {v for n in graph.nodes for v in n.inputs if v.producer is None and drawn(v)}
    expected_sources |= {v for v in (*graph.inputs, *graph.outputs) if v.producer is None}

    def tensor(value: Value) -> str:
        return shown("unknown origin" if value.role == "activation" else value.name, caption(value))

    assert Counter(v["label"] for v in sources.values()) == Counter(map(tensor, expected_sources))

    def end(id: str) -> str:
        return sources[id]["label"] if id in sources else id

    def start(value: Value) -> str:
        return tensor(value) if value.producer is None else box[value.producer]

    def label(value: Value) -> str:
        return caption(value) if shapes and value.producer is not None else ""

    expected = Counter((start(v), box[n], label(v)) for n in graph.nodes for v in n.inputs if drawn(v))
    expected += Counter((start(v), id, "") for id, v in zip(outputs, returned, strict=True))
    assert Counter((end(e["start"]), e["end"], e["label"]) for e in answer["edges"]) == expected

    parents = {member: frame["id"] for frame in answer["subgraphs"] for member in frame["members"]}
    headings = {frame["id"]: frame["label"] for frame in answer["subgraphs"]}
    scopes: dict[str, Scope] = {}
    members = Counter(node.scope for node in graph.nodes) + Counter(scope.parent for scope in graph.scopes)

    def is_in_one_frame(inner: Scope, outer: Scope | None) -> bool:
        """Scopes that hold nothing but each other, below the outermost, of which there is no more to tell."""
        if outer is None or outer.parent is None or members[outer] > 1:
            return False
        return not any(scope.error or repeats(scope) for scope in (inner, outer))

    for node in graph.nodes:
        id, scope = parents.get(box[node]), node.scope
        while scope is not None:
            assert id is not None
            assert scopes.setdefault(id, scope) is scope
            outermost, names = scope, [short_name(scope)]
            while is_in_one_frame(outermost, outermost.parent):
                assert outermost.parent is not None
                outermost = outermost.parent
                names.insert(0, short_name(outermost))
            name = ".".join(filter(None, names))
            heading = shown(" · ".join(filter(None, (name, scope.op_type, repeats(scope)))))
            assert headings[id].split("\n")[0] == heading or not heading
            id, scope = parents.get(id), outermost.parent
        assert id is None
    assert len(scopes) == len(set(scopes.values())) == len(headings)
    assert all(id not in parents for id in outputs)


OPTIONS: list[dict[str, Any]] = [{}, {"direction": "LR", "initializers": True, "title": 'a "b": #'}, {"shapes": False}]


@pytest.mark.parametrize("options", OPTIONS, ids=["default", "initializers", "bare"])
@pytest.mark.parametrize("name", sample_graphs())
def test_mermaid_reads_every_sample_as_it_is(read: Read, name: str, options: dict[str, Any]) -> None:
    graph = sample_graphs()[name]
    answer = read(str(export(graph, "mermaid", depth=None, **options)))
    check(graph, answer, **{k: v for k, v in options.items() if k in ("shapes", "initializers")})
    assert answer.get("direction") == options.get("direction", "TB")


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(graph=graphs(), initializers=st.booleans())
def test_mermaid_reads_any_graph_as_it_is(read: Read, graph: Graph, initializers: bool) -> None:
    text = str(export(graph, "mermaid", initializers=initializers))
    check(graph, read(text), initializers=initializers)


@pytest.mark.parametrize("name", ["tiny", "residual", "error"])
def test_golden(name: str, golden: Callable[[str, str], None]) -> None:
    golden(f"{name}.mmd", str(export(sample_graphs()[name], "mermaid")))


def test_depth_closes_scopes(read: Read) -> None:
    graph = sample_graphs()["residual"]
    answer = read(str(export(graph, "mermaid", depth=1)))
    check(collapse(graph, 1), answer)
    assert [v["shape"] for v in answer["vertices"] if v["classes"] == ["collapsed"]] == ["subroutine"] * 2


@pytest.mark.slow
def test_what_repeats_says_how_often(read: Read, draw: Draw) -> None:
    graph = assemble(blocks(12, pairs=3))
    view = fold(graph)
    text = str(export(graph, "mermaid", fold=True))
    answer = read(text)
    check(view, answer)
    headings = [frame["label"] for frame in answer["subgraphs"]]
    expected = {"Net", "blocks.0–11 · Block · × 12", "pairs.0–5 · × 3", "pairs.0 · A", "pairs.1 · B"}
    assert set(headings) == expected
    check(collapse(view, 1), read(str(export(graph, "mermaid", fold=True, depth=1))))
    (drawing,) = draw([text])
    assert drawing["title"] == "6 boxes for 36 operations · × n: n alike, drawn once"
    assert Counter(map(str, drawing["headings"])) == Counter(str(seen(heading)) for heading in headings)


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(OptionError, match="counts the levels"):
        export(sample_graphs()["tiny"], "mermaid", depth=-1)


def test_errors_are_red_and_in_words(read: Read) -> None:
    build = StreamBuilder()
    x = build.tensor((1,))
    with build.call("", "Net", [x]) as net:
        with build.call("block", "Block", [x]) as block:
            build.op("block.fc", "Linear", [x], (1,))
            block.error = "ValueError: between two layers"
        net.error = "ValueError: between two layers"
    answer = read(str(export(assemble(build.stream), "mermaid")))
    frames = {frame["label"]: frame["classes"] for frame in answer["subgraphs"]}
    # Both failed; the words stand once, where it happened.
    assert frames == {"Net": ["failed"], "block · Block\nValueError: between two layers": ["failed"]}


def test_long_words_are_shortened_visibly(read: Read) -> None:
    build = StreamBuilder()
    build.op("fc", "L" * 500, [build.tensor((1,))], (1,))
    answer = read(str(export(assemble(build.stream), "mermaid")))
    (label,) = [v["label"] for v in answer["vertices"] if v["classes"] == ["module"]]
    assert "…" in label
    assert len(label) < 100


def test_nesting_may_be_deeper_than_pythons_stack() -> None:
    scopes: list[Scope] = []
    for level in range(2_000):
        scopes.append(Scope("cell", level, "Cell", scopes[-1] if scopes else None, f"cell#{level}"))
    nodes = [Node(f"add_{number}", "function", "add", "torch.add", scope=scope) for number, scope in enumerate(scopes)]
    graph = Graph(nodes, scopes=scopes)
    assert str(export(graph, "mermaid", limits="none", depth=None)).count("subgraph ") == 2_000


# GitHub's limits


def notes(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("%%")]


def wide_chain(length: int) -> Graph:
    """A chain whose shapes take most of its text."""
    build = StreamBuilder("Wide")
    x = build.tensor((1,))
    with build.call("", "Wide", [x]) as net:
        for layer in range(length):
            x = build.op(f"layers.{layer}", "Linear", [x], (123_456_789,) * 7)
        net.outputs = [x]
    return assemble(build.stream)


@pytest.mark.slow
def test_the_limits_are_mermaids_own(read: Read, draw: Draw) -> None:
    loops = 'flowchart TB\n  n0["a"]\n' + "  n0 --> n0\n" * MAX_EDGES
    assert len(read(loops)["edges"]) == MAX_EDGES
    assert "Edge limit exceeded" in read(loops + "  n0 --> n0\n")["error"]
    frame = 'flowchart TB\n  n0["{}"]\n'
    label = "a" * (MAX_CHARACTERS - len(frame.format("")))
    fits, exceeds = draw([frame.format(label), frame.format(label + "a")])
    assert fits["nodes"] == [[label]]
    assert exceeds["nodes"] == [["Maximum text size in diagram exceeded"]]


def test_a_graph_of_exactly_500_edges_stays_whole(read: Read) -> None:
    graph = chain(499)
    text = str(export(graph, "mermaid", depth=None))
    assert notes(text) == []
    answer = read(text)
    assert len(answer["edges"]) == 500
    check(graph, answer)


def test_a_graph_of_501_edges_is_collapsed_and_says_so(read: Read) -> None:
    graph = chain(500)
    assert "Edge limit exceeded" in read(str(export(graph, "mermaid", limits="none", depth=None)))["error"]
    text = str(export(graph, "mermaid", depth=None))
    assert notes(text) == ["%% collapsed to depth 1 to stay below GitHub's limits of 50,000 characters and 500 edges"]
    check(collapse(graph, 1), read(text))


def test_a_large_graph_is_collapsed_level_by_level(read: Read) -> None:
    graph = chain(5000, blocks=50)
    text = str(export(graph, "mermaid", depth=None))
    assert notes(text)[0].startswith("%% collapsed to depth 1 ")
    check(collapse(graph, 1), read(text))
    assert str(export(graph, "mermaid", limits="none", depth=None)).count("\n  n") > 5000


def test_shapes_go_before_structure_does(read: Read) -> None:
    graph = wide_chain(450)
    text = str(export(graph, "mermaid", depth=None))
    assert len(text) <= MAX_CHARACTERS < len(str(export(graph, "mermaid", limits="none", depth=None)))
    assert [note.partition(" to stay")[0] for note in notes(text)] == ["%% without shapes on the edges"]
    check(graph, read(text), shapes=False)


def test_what_cannot_fit_is_an_error_that_says_what_to_do(read: Read) -> None:
    build = StreamBuilder()
    x = build.tensor((1,))
    with build.call("", "Net", [x]) as net:
        x = build.op("fc", "Linear", [x], (1,))
        net.outputs = [x]
    for _ in range(1_000):  # after the call, so in no scope
        x = build.op(None, "add", [x], (1,))
    graph = assemble(build.stream)
    with pytest.raises(ExportError, match=r'1,002 edges .* limits="none"'):
        export(graph, "mermaid", depth=None)
    assert str(export(graph, "mermaid", limits="none", depth=None)).count("-->") == 1_002


# What a reader sees


def seen(label: str) -> list[str]:
    return [line for line in (" ".join(line.split()) for line in label.split("\n")) if line]


@pytest.mark.slow
def test_a_browser_draws_what_mermaid_reads(read: Read, draw: Draw) -> None:
    samples = sample_graphs()
    texts = [str(export(graph, "mermaid", title=f"a {name}")) for name, graph in samples.items()]
    for name, text, drawing in zip(samples, texts, draw(texts), strict=True):
        answer = read(text)
        assert "error" not in drawing, drawing
        assert drawing["title"] == f"a {name}"
        assert Counter(map(str, drawing["nodes"])) == Counter(str(seen(v["label"])) for v in answer["vertices"])
        assert Counter(map(str, drawing["headings"])) == Counter(str(seen(s["label"])) for s in answer["subgraphs"])
        assert drawing["arrows"] == len(answer["edges"])


@pytest.mark.slow
def test_no_character_is_taken_for_markup(draw: Draw) -> None:
    places = ("{}", "{}a", "a{}", "a{}b", "a {} b", "{} a", "{0}{0}a{0}{0}", "1{} a", "#{};", "www{}c.d")
    names = [place.format(sign) for sign in string.punctuation + "é漢😀\u0301\u202e\xa0ﬂ°¶ß" for place in places]
    names += ["fa:fa-car", "$$x^2$$", "1. one", "- a", "[a](b)", "![a](b)", "http://a.b", "a@b.c", "%%{init: {}}%%"]
    names += HOSTILE_NAMES
    graph = Graph([Node(f"{i}", "function", name, "") for i, name in enumerate(names)], name="Names")
    titles = [name for name in HOSTILE_NAMES if not set("<>&") & set(name) and name]
    titles.append("".join(sign for sign in string.punctuation if sign not in "<>&"))
    [drawing, *titled] = draw(
        [
            str(export(graph, "mermaid", limits="none", depth=None)),
            *(str(export(Graph(name="Empty"), "mermaid", title=title)) for title in titles),
        ]
    )
    assert drawing["nodes"] == [seen(shown(name)) for name in names]
    assert [" ".join(d["title"].split()) for d in titled] == [" ".join(shown(title).split()) for title in titles]


@pytest.mark.slow
def test_signs_that_a_title_cannot_have_are_replaced(draw: Draw) -> None:
    (drawing,) = draw([str(export(Graph(), "mermaid", title="Vec<int> & ﬂ°°35¶ß"))])
    assert drawing["title"] == "Vec‹int› ＆ fl°°35⁋ß"


def test_a_name_like_an_address_is_no_link() -> None:
    """Readers of Markdown make links of what begins so, without a scheme."""
    graph = Graph([Node("0", "function", "www.example.org", ""), Node("1", "function", "a.b", "")])
    text = str(export(graph, "mermaid"))
    assert "www#46;example.org" in text
    assert "a.b" in text
