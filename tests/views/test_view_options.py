"""The options that every format has: which view of the graph an exporter is given."""

import json
import shutil
from pathlib import Path
from typing import Any

import onnx
import pytest
from support.command import runner
from support.strategies import blocks

import recorder
from recorder import Graph, OptionError, assemble, collapse, fold, hide, loads, readable, select
from recorder.cli import main
from recorder.plugins.manager import Plugins
from recorder.plugins.options import VIEW_OPTIONS
from recorder.testing import chain, sample_graphs

GRAPH = assemble(blocks(12, pairs=3))
RESIDUAL = sample_graphs()["residual"]


class Seen:
    """Keeps the graph that it is given."""

    name, suffixes, media_type = "seen", (".seen",), "text/plain"
    graph: Graph

    def export(self, graph: Graph, *, size: int = 1) -> str:
        self.graph = graph
        return str(size)


class Roomy(Seen):
    room = 20


class Own(Seen):
    room = 1

    def export(self, graph: Graph, *, depth: str = "mine") -> str:  # type: ignore[override]
        self.graph = graph
        return depth


class Coloured(Seen):
    room = 20

    def export(self, graph: Graph, *, colour_by: str = "kind") -> str:  # type: ignore[override]
        self.graph = graph
        return colour_by


def given(exporter: Seen, graph: Graph = GRAPH, **options: Any) -> Graph:
    Plugins(entries=()).export(exporter, graph, options)
    return exporter.graph


def test_without_options_all_is_given_to_what_is_no_drawing() -> None:
    assert given(Seen()) is GRAPH
    assert json.loads(str(recorder.export(GRAPH, "json")))["nodes"][-1]["name"] == "pairs.5.exp"
    onnx_model = onnx.load_from_string(str(recorder.export(GRAPH, "onnx-json")).encode(), format="json")
    assert len(onnx_model.graph.node) == 36


def test_a_drawing_is_given_what_it_has_room_for() -> None:
    assert given(Roomy()) == fold(GRAPH)
    assert given(Roomy(), RESIDUAL) is RESIDUAL
    large = chain(5_000, blocks=50)
    assert given(Roomy(), large) == readable(large, 20)
    assert len(given(Roomy(), large).nodes) <= 20
    assert given(Roomy(), large, depth=None) is large
    assert given(Roomy(), large, fold=True) == readable(large, 20)


def test_what_is_asked_for_is_given() -> None:
    assert given(Roomy(), depth=None) is GRAPH
    assert given(Roomy(), depth=2, fold=False) == GRAPH
    assert given(Roomy(), depth=1) == collapse(GRAPH, 1)  # as it fits, it is not folded
    assert given(Roomy(), depth=2) == fold(GRAPH)
    assert given(Seen(), depth=1) == collapse(GRAPH, 1)
    assert given(Seen(), fold=True, depth=1) == collapse(fold(GRAPH), 1)
    assert given(Seen(), depth=None, fold=True) == fold(GRAPH)
    assert given(Seen(), hide="identities, views") == hide(GRAPH, ["identities", "views"])
    assert given(Seen(), scope="pairs.3") == select(GRAPH, scope="pairs.3")
    assert given(Seen(), around="pairs.3", radius=2) == select(GRAPH, around="pairs.3", radius=2)
    assert Plugins(entries=()).export(Seen(), GRAPH, {"size": 3, "depth": 0}) == "3"


def test_an_exporter_gets_its_own_option_of_that_name() -> None:
    own = Own()
    assert Plugins(entries=()).export(own, GRAPH, {"depth": "theirs", "fold": True}) == "theirs"
    assert own.graph == fold(GRAPH)
    assert given(Own()) is GRAPH


@pytest.mark.parametrize("what", ["kind", "flops", "gradient"])
def test_what_repeats_is_drawn_once_in_any_colours(what: str) -> None:
    assert given(Coloured(), colour_by=what) == fold(GRAPH)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"depth": -1}, "depth is -1"),
        ({"depth": "deep"}, "depth: int"),
        ({"fold": 1}, "fold: bool"),
        ({"hide": "shapes"}, "'shapes' is none of the kinds"),
        ({"scope": "nope"}, "there is no scope 'nope'"),
        ({"deep": 1}, "its options are: size: int = 1; and those of every format: depth"),
    ],
    ids=str,
)
def test_what_cannot_be_given_is_an_error_that_says_so(options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        given(Seen(), **options)


def test_every_installed_format_takes_them(tmp_path: Path) -> None:
    for format in recorder.formats():
        if format.name not in ("svg", "png", "pdf") or shutil.which("dot"):
            assert recorder.export(GRAPH, format.name, depth=1, fold=True)
    assert [o.name for o in VIEW_OPTIONS] == ["depth", "fold", "hide", "scope", "around", "radius", "hooks"]
    path = recorder.save(GRAPH, tmp_path / "net.json", depth=1, fold=True)
    assert loads(path.read_bytes()) == collapse(fold(GRAPH), 1)


def test_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    whole = recorder.save(GRAPH, "whole.json")

    def made(*arguments: str) -> Graph:
        result = runner().invoke(main, ["export", str(whole), "-o", "view.json", *arguments])
        assert result.exit_code == 0, result.output
        return loads(Path("view.json").read_bytes())

    assert made() == GRAPH
    assert made("--depth", "1") == collapse(GRAPH, 1)
    assert made("--depth", "1", "--fold") == collapse(fold(GRAPH), 1)
    assert made("--depth", "all", "--no-fold") == GRAPH
    assert made("--hide", "views,identities") == hide(GRAPH, ["views", "identities"])
    assert made("--scope", "pairs.3") == select(GRAPH, scope="pairs.3")
    assert made("--around", "pairs.3", "--option", "radius=2") == select(GRAPH, around="pairs.3", radius=2)
    result = runner().invoke(main, ["export", str(whole), "-f", "json", "--depth", "deep"])
    assert (result.exit_code, "depth" in result.stderr) == (2, True)
    listed = runner().invoke(main, ["formats", "--verbose"]).output
    assert "depth: int | Literal['auto'] | None = 'auto'" in listed


def test_a_recording_is_drawn_as_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["record", "torch.nn:Linear", "--kwargs", '{"in_features": 4, "out_features": 4}', "--input", "2,4"]
    result = runner().invoke(main, [*arguments, "-o", "net.json", "--depth", "0", "--fold"])
    assert result.exit_code == 0, result.output
    assert [node.op_type for node in loads(Path("net.json").read_bytes()).nodes] == ["Linear"]
