"""``recorder export``."""

import io
import sys
from pathlib import Path

import click
import pytest
from support.command_line import fails, run, works

import recorder
from recorder import EventStream
from recorder.cli.outputs import Target, targets, write
from recorder.testing import sample_graphs


@pytest.mark.parametrize("source", ["run.jsonl", "graph.json"])
def test_export_draws_a_recording_or_a_graph(saved, source):
    expected = recorder.export(sample_graphs()["residual"], "dot").encode()
    assert works("export", source, "-f", "dot").stdout_bytes == expected
    result = works("export", source, "-o", "net.dot", "-o", "small.dot", "--option", "depth=none")
    assert result.stdout == ""
    assert result.stderr.splitlines() == ["wrote net.dot (dot)", "wrote small.dot (dot)"]
    assert Path("net.dot").read_bytes() == expected
    works("export", source, "-o", "small.dot", "--option", "depth=1")
    assert Path("small.dot").read_text("utf-8") == recorder.export(sample_graphs()["residual"], "dot", depth=1)


def test_export_copies_a_recording_but_makes_none_from_a_graph(saved):
    works("export", "run.jsonl", "-o", "copy.jsonl")
    assert Path("copy.jsonl").read_bytes() == Path("run.jsonl").read_bytes()
    assert "graph.json is a graph" in fails("export", "graph.json", "-o", "copy.jsonl")


def test_export_says_what_is_wrong_in_one_line(saved):
    assert fails("export", "run.jsonl").startswith("say where to (-o FILE) or in which format (-f FORMAT)")
    assert "'missing.jsonl' does not exist" in fails("export", "missing.jsonl", "-f", "dot")
    assert "Missing argument" in fails("export")
    lines = Path("run.jsonl").read_text().splitlines()
    Path("bad.jsonl").write_text("\n".join([*lines[:2], '{"type": "nonsense"}', *lines[2:]]))
    assert fails("export", "bad.jsonl", "-f", "dot").startswith("bad.jsonl, line 3: ")
    Path("bad.json").write_text("{}")
    assert fails("export", "bad.json", "-f", "dot").startswith("not a graph document: ")


def test_several_sources_have_a_file_each(saved):
    result = works("export", "run.jsonl", "graph.json", "-o", "{name}.dot", "-o", "{name}.mmd")
    assert [line.split()[1] for line in result.stderr.splitlines()] == ["run.dot", "run.mmd", "graph.dot", "graph.mmd"]
    assert Path("run.dot").read_bytes() == Path("graph.dot").read_bytes()
    Path("out").mkdir()
    works("export", "run.jsonl", "graph.json", "-o", "out", "-f", "Mermaid")
    assert Path("out/run.mmd").read_bytes() == Path("run.mmd").read_bytes()
    assert Path("out/graph.mmd").exists()
    assert "give each its own, with {name} in -o" in fails("export", "run.jsonl", "graph.json", "-o", "one.dot")
    assert fails("export", "run.jsonl", "graph.json", "-f", "dot").startswith("2 sources cannot all be printed")
    assert (
        fails("export", "run.jsonl", "out/run.jsonl", "-o", "{name}.dot") == "the file 'out/run.jsonl' does not exist"
    )


def test_a_source_that_cannot_be_read_does_not_keep_the_others_from_being_written(saved):
    Path("broken.jsonl").write_text("{")
    result = run("export", "broken.jsonl", "graph.json", "-o", "{name}.dot")
    assert result.exit_code == 1
    assert Path("graph.dot").exists()
    assert "broken.jsonl" in result.stderr.splitlines()[-1]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_bytes_are_not_written_onto_a_terminal(saved, monkeypatch):
    target = Target(None, "pdf", {})
    monkeypatch.setattr("recorder.cli.outputs.export", lambda *_, **__: b"\x1b]0;pwned")
    monkeypatch.setattr("sys.stdout", Terminal())
    with pytest.raises(click.ClickException, match="it is no text, which a terminal could show"):
        write([target], lambda: None, EventStream())
    with pytest.raises(click.UsageError, match=r"png: it is no text.*with -o FILE"):
        targets([], "png", [], {})
    assert sys.stdout.getvalue() == ""
    assert targets([], "svg", [], {})


def test_what_was_written_opens(saved, monkeypatch):
    opened = []
    monkeypatch.setattr("recorder.cli.outputs.open_in_browser", lambda path: opened.append(str(path)))
    told = works("export", "graph.json", "-o", "net.dot", "-o", "page.html", "--open").stderr
    assert opened == ["net.dot", "page.html"]
    assert "there is no browser to open it in: open file:///" in told
    works("export", "graph.json", "-o", "net.dot")
    assert len(opened) == 2


@pytest.mark.parametrize("flag", ["--colour-by", "--color-by"])
def test_colours_are_spelt_either_way(saved, flag):
    drawn = works("export", "graph.json", "-f", "DOT", flag, "parameters").stdout
    assert drawn == works("export", "graph.json", "-f", "dot", "--option", "color_by=parameters").stdout
    graph = recorder.loads(Path("graph.json").read_bytes())
    assert drawn == recorder.export(graph, "Dot", color_by="parameters")
    with pytest.raises(recorder.OptionError, match="'colour_by' is given twice, in two spellings"):
        recorder.export(graph, "dot", color_by="parameters", colour_by="parameters")


def test_a_name_that_is_nearly_right_is_told_in_python_too(saved):
    graph = recorder.loads(Path("graph.json").read_bytes())
    with pytest.raises(recorder.FormatError, match=r"there is no format 'dott': did you mean dot\?$"):
        recorder.export(graph, "dott")
    with pytest.raises(recorder.FormatError, match=r"writes 'net.htlm': did you mean .htm or .html\?$"):
        recorder.save(graph, "net.htlm")
    with pytest.raises(recorder.OptionError, match=r"has no option 'lengend': did you mean legend\?$"):
        recorder.export(graph, "dot", lengend=False)
    with pytest.raises(recorder.OptionError) as error:
        recorder.export(graph, "dot", nothing_like_it=1)
    assert len(str(error.value)) < 280


def test_every_source_that_fails_is_told(saved):
    names = [f"broken{number}.jsonl" for number in range(3)]
    for name in names:
        Path(name).write_text("{")
    result = run("export", *names, "graph.json", "-o", "{name}.dot")
    assert result.exit_code == 1
    told = [line for line in result.stderr.splitlines() if line.startswith("Error")]
    assert [name in line for name, line in zip(names, told, strict=True)] == [True] * 3
