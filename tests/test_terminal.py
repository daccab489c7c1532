"""What is printed comes out whatever the terminal, file or pipe can hold."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console
from support.models import linear, x
from torch import nn

from recorder import Recorder, dumps
from recorder.cli import main
from recorder.summary import Summary
from recorder.terminal import in_encoding, printable

ENCODINGS = ["ascii", "cp1252", "gbk", "latin-1", "utf-8"]


class Café(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.add_module("größe_層", linear())
        self.add_module("unused_é", linear())

    def forward(self, x: object) -> object:
        return self._modules["größe_層"](x)


@pytest.fixture(scope="module")
def recorded() -> Recorder:
    net = Café()
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    return r


def written(stream: io.TextIOWrapper) -> bytes:
    stream.flush()
    raw = stream.buffer
    assert isinstance(raw, io.BytesIO)
    return raw.getvalue()


def onto(monkeypatch: pytest.MonkeyPatch, encoding: str) -> io.TextIOWrapper:
    """Standard output that has this encoding and no more. In the test itself: pytest sets its own before each."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    return stream


everywhere = pytest.mark.parametrize("encoding", ENCODINGS)


@everywhere
def test_tables_and_reports(recorded: Recorder, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = onto(monkeypatch, encoding)
    print(recorded.summary())
    print(recorded.summary(columns="all", functions=True))
    print(recorded.graph.gradient_report())
    text = written(stdout).decode(stdout.encoding)
    assert "unused_" in text
    if stdout.encoding == "ascii":
        assert r"`- gr\xf6\xdfe_\u5c64" in text
        assert r"never called: unused_\xe9 (16 parameters)" in text
        assert " us" in text or " ms" in text
    if stdout.encoding == "utf-8":
        assert "└─ größe_層" in text
        assert "─────" in text
    rows = text.split("\n\n")[1].splitlines()
    starts = [
        cell_len(row[: row.index(word)]) for row, word in zip([rows[0], *rows[2:4]], ("output", "[2, 4]", "[2, 4]"))
    ]
    assert len(set(starts)) == 1


@everywhere
def test_a_table_that_has_to_be_folded(recorded: Recorder, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = onto(monkeypatch, encoding)
    text = str(Summary(recorded.graph, columns="all"))
    print(text)
    assert text.isascii() == (stdout.encoding == "ascii")


@everywhere
def test_a_console_of_rich(recorded: Recorder, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = onto(monkeypatch, encoding)
    Console(file=stdout, width=100).print(recorded.summary())
    assert b"unused_" in written(stdout)


@everywhere
def test_every_command(recorded: Recorder, encoding: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdout = onto(monkeypatch, encoding)
    stream, graph = recorded.events.save(tmp_path / "é.jsonl"), tmp_path / "é.json"
    graph.write_bytes(dumps(recorded.graph))
    for arguments in (
        ["summary", str(stream)],
        ["summary", str(graph), "--columns", "all", "--rows-of-functions"],
        ["summary", str(stream), "--as", "markdown"],
        ["summary", str(stream), "--as", "csv"],
        ["formats"],
        ["formats", "-v"],
        ["export", str(stream), "-o", str(tmp_path / "größe.dot")],
        ["export", str(stream), "-f", "dot"],
        ["--help"],
        ["summary", "--help"],
    ):
        main(arguments, standalone_mode=False)
    for arguments in (["summary", "größe_層.jsonl"], ["export", str(stream), "-f", "größe"]):
        with pytest.raises(SystemExit):
            main(arguments)
    assert stdout.errors == "strict"
    assert len(written(stdout)) > 1000


def test_markdown_stays_a_table_where_its_lines_are_written_plainer(
    recorded: Recorder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stream = onto(monkeypatch, "ascii")
    main(["summary", str(recorded.events.save(tmp_path / "run.jsonl")), "--as", "markdown"], standalone_mode=False)
    table = [line for line in written(stream).decode("ascii").splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in table}) == 1
    assert "&#9492;" in table[-1]


def test_what_an_encoding_has_stays() -> None:
    text = "└─ µ … é 層 · \N{NO-BREAK SPACE}"
    assert in_encoding(text, "utf-8") == text
    assert in_encoding(text, "ascii") == r"`- u ... \xe9 \u5c64 -  "
    assert in_encoding(text, "latin-1") == "`- µ ... é \\u5c64 · \N{NO-BREAK SPACE}"
    assert printable("plain") == "plain"


@pytest.mark.parametrize("stdout", [None, object(), io.StringIO()], ids=["none", "strange", "text"])
def test_a_standard_output_that_does_not_tell(stdout: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stdout)
    assert printable("└─ é") == "└─ é"


@pytest.mark.slow
def test_a_program_on_a_terminal_without_unicode() -> None:
    code = (
        "import torch; from recorder import Recorder\nnet = torch.nn.Sequential(torch.nn.Linear(2, 2))\n"
        "with Recorder(net) as r: net(torch.randn(1, 2))\nprint(r.summary())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, check=True,
    )  # fmt: skip
    assert b"`- 0" in done.stdout
