"""Pictures: real files from the real programs, and what happens where a program is missing or fails."""

import shutil
import struct
import sysconfig
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from recorder_exporters.dot import DotExporter

import recorder
from recorder import ExportError, OptionError
from recorder.testing import chain, sample_graphs

SAMPLES = sample_graphs()
PURE = shutil.which("graphviz-pure", path=sysconfig.get_path("scripts"))

needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz's dot on PATH: apt install graphviz")
needs_pure = pytest.mark.skipif(PURE is None, reason='needs graphviz-pure: pip install "graph-recorder[graphviz]"')


def words(svg: str | bytes) -> list[str]:
    texts = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    return ["".join(text.itertext()).replace("\xa0", " ").strip() for text in texts]


def size(png: str | bytes) -> tuple[int, int]:
    assert isinstance(png, bytes)
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


@needs_dot
@pytest.mark.parametrize("name", SAMPLES)
def test_svg(name: str) -> None:
    svg = recorder.export(SAMPLES[name], "svg")
    assert isinstance(svg, str)
    drawn = words(svg)
    if name != "hostile":
        assert {node.op_type for node in SAMPLES[name].nodes} <= set(drawn)
    assert SAMPLES[name].name + (": nothing was recorded" if name == "empty" else "") in drawn
    assert recorder.export(sample_graphs()[name], "svg") == svg


@needs_dot
def test_png() -> None:
    small = size(recorder.export(SAMPLES["tiny"], "png", dpi=50))
    large = size(recorder.export(SAMPLES["tiny"], "png", dpi=100))
    assert large == pytest.approx((2 * small[0], 2 * small[1]), abs=3)


@needs_dot
def test_pdf() -> None:
    pdf = recorder.export(SAMPLES["tiny"], "pdf")
    assert isinstance(pdf, bytes)
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    assert b"D:2" not in pdf, "the time of writing makes the same graph give other bytes"


@needs_dot
def test_save_picks_by_suffix(tmp_path: Path) -> None:
    for suffix in (".dot", ".gv", ".svg", ".png", ".pdf"):
        assert recorder.save(SAMPLES["tiny"], tmp_path / f"net{suffix}").stat().st_size > 500
    assert (tmp_path / "net.gv").read_text(encoding="utf-8") == DotExporter().export(SAMPLES["tiny"])


def only(monkeypatch: pytest.MonkeyPatch, program: str | None) -> None:
    """Make this the one program that is installed."""
    known = {} if program is None else {Path(program).name: program}
    monkeypatch.setattr(shutil, "which", lambda name, path=None: known.get(name))


@needs_pure
@pytest.mark.parametrize("name", SAMPLES)
def test_graphviz_pure_stands_in_for_graphviz(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, PURE)
    assert any(line.startswith(SAMPLES[name].name) for line in words(recorder.export(SAMPLES[name], "svg")))
    assert min(size(recorder.export(SAMPLES[name], "png", dpi=40))) > 10


@needs_pure
def test_graphviz_pure_writes_no_pdf(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, PURE)
    with pytest.raises(ExportError, match="apt install graphviz"):
        recorder.export(SAMPLES["tiny"], "pdf")


@pytest.mark.parametrize("format", ["svg", "png", "pdf"])
def test_without_any_program_the_error_says_what_to_install(format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, None)
    with pytest.raises(ExportError, match=r'apt install graphviz.*pip install "graph-recorder\[graphviz\]"'):
        recorder.export(SAMPLES["tiny"], format)


def stand_in(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "dot"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    only(monkeypatch, str(program))


def test_the_programs_complaint_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "cat > /dev/null; echo 'syntax error in line 3' >&2; exit 1", monkeypatch)
    with pytest.raises(ExportError, match="syntax error in line 3"):
        recorder.export(SAMPLES["tiny"], "svg")


def test_a_program_that_dies_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "exit 3", monkeypatch)
    with pytest.raises(ExportError, match="status 3"):
        recorder.export(chain(2_000), "svg")  # more text than a pipe holds unread


def test_a_layout_that_takes_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, "exec sleep 20", monkeypatch)
    with pytest.raises(ExportError, match=r"0\.2 seconds.*depth=1"):
        recorder.export(SAMPLES["tiny"], "svg", timeout=0.2)


def test_pictures_take_the_options_of_dot() -> None:
    options = {f.name: {o.name: o for o in f.options} for f in recorder.formats()}
    for name in ("svg", "png", "pdf"):
        assert options["dot"].items() <= options[name].items()
    assert options["png"].keys() - options["svg"].keys() == {"dpi"}
    with pytest.raises(OptionError, match="direction"):
        recorder.export(SAMPLES["tiny"], "svg", nonsense=1)
    with pytest.raises(OptionError):
        recorder.export(SAMPLES["tiny"], "svg", direction="up")
    with pytest.raises(OptionError):
        recorder.export(SAMPLES["tiny"], "png", dpi=0)
    with pytest.raises(OptionError):
        recorder.export(SAMPLES["tiny"], "svg", depth=-1)
