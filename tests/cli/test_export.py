"""``recorder export``."""

from pathlib import Path

import pytest
from support.command_line import fails, works

import recorder
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
