"""``recorder diff``."""

from pathlib import Path

from support.command_line import fails, run, works

import recorder
from recorder.testing import sample_graphs


def test_files_of_any_kind_are_compared(saved):
    Path("net.arch").write_text(recorder.architecture(sample_graphs()["residual"]))
    for other in ("run.jsonl", "graph.json", "net.arch"):
        assert works("diff", "net.arch", other, "--exit-code").stdout == "the same architecture\n"


def test_a_model_is_compared_with_a_file_and_written_down(project):
    works("record", "mynet:Net", "--input", "1,4", "-o", "net.arch")
    assert works("diff", "net.arch", "mynet:Net", "--input", "2,4", "--train", "-o", "changed.md", "-o", "changed.mmd")
    text = Path("changed.md").read_text("utf-8")
    assert "x.shape: 1×4 → 2×4" in text
    assert Path("changed.mmd").read_text("utf-8").count("context") > 1
    result = run("diff", "net.arch", "mynet:Net", "--input", "2,4", "--exit-code")
    assert result.exit_code == 1
    assert result.stdout.startswith("Net: 1 changed")
    assert works("diff", "net.arch", "mynet:Net", "--input", "1,4", "--exit-code").stdout == "the same architecture\n"


def test_an_architecture_is_exported_like_any_graph(project):
    works("record", "mynet:Net", "--input", "1,4", "-o", "net.arch", "-o", "net.mmd")
    works("export", "net.arch", "-o", "again.mmd")
    assert Path("again.mmd").read_text("utf-8") == Path("net.mmd").read_text("utf-8")
    assert "Linear" in works("summary", "net.arch").stdout


def test_what_is_wrong_is_told(saved):
    assert fails("diff", "nothing.arch", "run.jsonl") == "there is no file nothing.arch"
    assert fails("diff", "graph.json", "run.jsonl", "--input", "1,4").startswith("both are recorded already")
    Path("net.arch").write_text("architecture 1\nnonsense\n")
    assert fails("diff", "net.arch", "run.jsonl").startswith("line 2: after the name nonsense there is no sign")
