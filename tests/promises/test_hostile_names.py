"""Names that mean harm, read back by the programs that show them: dot, an XML parser, onnx, a terminal.

`test_dot`, `test_mermaid` and `test_onnx_json` try every character everywhere; here are the extremes, and terminals.
"""

import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import onnx
import pytest
from fuzz import targets
from hypothesis import example, given, settings
from hypothesis import strategies as st
from recorder_exporters.drawing.dot_markup import LABEL_LIMIT
from recorder_exporters.drawing.words import legible, shortened, visible
from support.command import runner

import recorder
from recorder import Graph, Node, Scope, Value
from recorder.analysis.gradient_report import GradientReport, MissingGradient
from recorder.cli import main
from recorder.summary import Summary
from recorder.terminal import harmless, in_one_line
from recorder.testing import HOSTILE_NAMES, StreamBuilder, sample_graphs

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")

LONG = "".join(f"<{i}>" for i in range(20_000))[:100_000]
CLEAR, SPOOF = "a\x1b[2J\x9b31m\nb", "\u202egnp.exe"


def everywhere(name: str) -> Graph:
    """A graph that bears one name wherever a name can stand."""
    scope = Scope(name, 0, name, None, name, name, error=name)
    x = Value(name, (2, 3), "float32", "cpu", role="input")
    y = Value(f"{name} y", (2, 3), "float32", "cpu", grad_fn=name)
    node = Node(name, "module", name, name, name, 0, scope, (x,), (y,), {name: name}, {name: name}, error=name)
    return Graph([node], inputs=[x], outputs=[y], scopes=[scope], name=name, meta={name: name})


@pytest.mark.parametrize("name", [LONG, CLEAR, SPOOF, *HOSTILE_NAMES[:9]], ids=lambda name: ascii(name[:20]))
def test_every_text_format_and_what_reads_it(name: str, tmp_path: Path) -> None:
    graph = everywhere(name)
    assert recorder.loads(recorder.export(graph, "json")) == graph
    path = tmp_path / "net.onnx.json"
    recorder.save(graph, path)
    model = onnx.load(path, format="json")
    onnx.checker.check_model(model)
    (node,) = model.graph.node
    assert (node.name, node.op_type, node.input[0]) == (name, name, name)
    for format in ("dot", "mermaid"):
        text = str(recorder.export(graph, format))
        assert len(text) < 20_000
        assert not {"\x1b", "\x9b", "\u202e"} & set(text)


@needs_dot
@pytest.mark.parametrize(
    "name",
    [LONG, CLEAR, SPOOF, "</text><script>alert(1)</script>", "javascript:alert(1)"],
    ids=lambda name: ascii(name[:20]),
)
def test_svg_holds_text_and_nothing_that_runs(name: str) -> None:
    svg = str(recorder.export(everywhere(name), "svg"))
    root = ElementTree.fromstring(svg)
    parts = {part.tag.rpartition("}")[2] for part in root.iter()}
    assert parts <= {"svg", "g", "title", "a", "text", "path", "polygon", "polyline", "ellipse"}
    assert {key.rpartition("}")[2] for part in root.iter() if part.tag.endswith("}a") for key in part.attrib} <= {
        "title"
    }
    assert not any(key.startswith("on") for part in root.iter() for key in part.attrib)
    drawn = [(part.text or "").replace("\xa0", " ") for part in root.iter("{http://www.w3.org/2000/svg}text")]
    assert shortened(visible(name), LABEL_LIMIT) in drawn


@given(st.text(max_size=600), st.integers(12, 200))
@example("x" * 5_000, 48)
@example("\x00" * 300, 48)
def test_legible_looks_at_no_more_than_it_shows(text: str, limit: int) -> None:
    if not text.isspace():
        assert legible(text, limit) == shortened(visible(text), limit)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
@example(LONG)
@example("".join(HOSTILE_NAMES))
def test_a_label_stays_a_label(text: str) -> None:
    targets.label(text.encode("utf-8", "surrogatepass"))


@pytest.mark.parametrize(
    ("text", "line", "block"),
    [
        ("conv1", "conv1", "conv1"),
        ("é漢字😀", "é漢字😀", "é漢字😀"),
        ("\x1b[31m\x07\x9b", r"\x1b[31m\x07\x9b", r"\x1b[31m\x07\x9b"),
        ("\u202egnp\u2069\u200f", r"\u202egnp\u2069\u200f", r"\u202egnp\u2069\u200f"),
        ("a\tb\nc\r", r"a\tb\nc\r", "a\tb\nc\\r"),
        ("\ud800\U000e0041", r"\ud800\U000e0041", r"\ud800\U000e0041"),
    ],
)
def test_what_a_terminal_may_show(text: str, line: str, block: str) -> None:
    assert (in_one_line(text), harmless(text)) == (line, block)


def test_the_summary_is_printed_as_a_table_whatever_the_names() -> None:
    for name in (*HOSTILE_NAMES, CLEAR, SPOOF, "\ud800"):
        lines = str(Summary(everywhere(name))).encode().decode().splitlines()
        assert all(line == harmless(line) and len(line) <= 120 for line in lines)
    assert r"a\x1b[2J\x9b31m\nb" in str(Summary(everywhere(CLEAR)))


def test_the_gradient_report_is_printed_line_by_line() -> None:
    report = GradientReport(missing=(MissingGradient(CLEAR, "requires_grad is off"),))
    assert str(report).splitlines() == [
        "parameters without a gradient:",
        r"  a\x1b[2J\x9b31m\nb: requires_grad is off",
    ]


def told(*arguments: object) -> str:
    """What the command line says about what went wrong: one line that a terminal only shows."""
    result = runner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code in (1, 2)
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    targets._is_safe(line)
    return line


def test_messages_of_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    build = StreamBuilder("Net")
    build.op(None, "add", [build.tensor((1,))], (1,))
    build.stream.save("run.jsonl")
    data = Path("run.jsonl").read_text()
    Path("field.jsonl").write_text(data + '{"type":"derived","tensor":0,"sources":[],"\\u001b[2J\u202e\u009b":1}\n')
    assert r"\x1b[2J\u202e\x9b" in told("export", "field.jsonl", "-f", "dot")
    graph = json.loads(recorder.dumps(sample_graphs()["tiny"]))
    for node in graph["nodes"]:
        node["name"] = CLEAR
    Path("twice.json").write_text(json.dumps(graph))
    assert "two nodes are named" in told("export", "twice.json", "-f", "dot")
    name = "run\x1b[2J\u202e.jsonl"
    Path(name).write_text("{}")
    assert r"run\x1b[2J\u202e.jsonl" in told("export", name, "-f", "dot")
    for arguments in (
        ["\x1b[2J"],
        ["--\x1b[2J"],
        ["export", "\x1b[2J"],
        ["export", "run.jsonl", "-f", "\x1b[2J\u202e"],
    ):
        assert r"\x1b[2J" in told(*arguments)
    assert r"\x1b" in told("export", "run.jsonl", "-o", "no\x1bfolder/a.dot")
    assert r"\u202e" in told("record", f"{SPOOF}:x")
    done = runner().invoke(main, ["export", "run.jsonl", "-o", "\x1b[2J.dot"])
    assert done.exit_code == 0
    assert done.stderr == "wrote \\x1b[2J.dot (dot)\n"


@pytest.mark.slow
def test_what_is_exported_to_a_terminal_is_harmless_and_to_a_pipe_whole(tmp_path: Path) -> None:
    (tmp_path / "net.json").write_bytes(recorder.dumps(everywhere(SPOOF + "\x9b31m")))
    command = [sys.executable, "-m", "recorder.cli", "export", str(tmp_path / "net.json"), "-f", "json"]
    piped = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    assert recorder.loads(piped) == everywhere(SPOOF + "\x9b31m")
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdout=theirs, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
        assert process.wait() == 0
    os.close(ours)
    text = shown.decode()
    assert r"\u202egnp.exe\x9b31m" in text
    targets._is_safe(text.replace("\r\n", ""))


@pytest.mark.slow
def test_a_folder_cannot_stand_in_for_what_is_installed(tmp_path: Path) -> None:
    """Only what was named is imported, and what is installed goes before what lies around."""
    for name in ("torch", "torchvision", "onnx", "pydot", "rich", "numpy"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the trap was sprung')")
    (tmp_path / "mynet.py").write_text("from torchvision.models import squeezenet1_1 as make")
    code = "import sys; sys.path.pop(0); from recorder.cli import main; main()"
    outputs = ["-o", "net.dot", "-o", "net.onnx.json", "-o", "run.jsonl"]
    for arguments in (
        ["record", "mynet:make", "--input", "1,3,64,64", *outputs],
        ["export", "run.jsonl", "-o", "again.dot"],
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "trap" not in done.stderr
    assert (tmp_path / "net.dot").read_text() == (tmp_path / "again.dot").read_text()
