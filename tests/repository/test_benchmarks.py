"""The benchmarks run, at their smallest size, so that they cannot rot. What they measure is not tested here."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import StatisticsError
from time import sleep
from xml.etree import ElementTree

import pytest
import torch

import recorder.views
from benchmarks import results
from benchmarks.figures import exponent, ratios, spread
from benchmarks.isolated import Died, isolated
from benchmarks.machine import Machine
from benchmarks.models import MODELS
from benchmarks.modes import MODES, LeftOut, Mode
from benchmarks.overhead import Options, measure
from benchmarks.peers import PEERS
from benchmarks.plot import overhead as plotted
from benchmarks.results import Cell, Measured, Missing, Overhead, Scale
from benchmarks.scale import VIEWS, sizes, synthetic
from benchmarks.workload import Workload
from recorder import assemble

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}  # tests run side by side, and torch's threads wait for each other


def benchmarks(*arguments: str | Path) -> str:
    command = [sys.executable, "-m", "benchmarks", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def measure_overhead(folder: Path, *arguments: str) -> Overhead:
    benchmarks("overhead", "--smallest", "--no-peers", *arguments, "--json", folder / "out.json")
    found = results.load(folder / "out.json")
    assert isinstance(found, Overhead)
    return found


PEERS_IN_TORCH = ["torch.fx", "FlopCounterMode"]  # those that load in no time


def test_overhead_of_every_mode(tmp_path: Path) -> None:
    modes = ",".join([*MODES, *PEERS_IN_TORCH])
    found = measure_overhead(tmp_path, "--models", "chain", "--modes", modes, "--plot", str(tmp_path / "out.svg"))
    assert [(cell.model, cell.step) for cell in found.cells] == [
        ("chain", step) for step in ("eval-grad", "eval", "train")
    ]
    known = {**MODES, **{name: PEERS[name] for name in PEERS_IN_TORCH}}
    for cell in found.cells:
        assert cell.missing is None
        assert set(cell.modes) == {name for name, mode in known.items() if cell.step in mode.steps}
        for mode, one in cell.modes.items():
            if isinstance(one, Missing):
                assert mode == "stream", one.reason
                assert not one.failed
            else:
                assert one.ns.median > 0
                assert one.ratio.low <= one.ratio.median <= one.ratio.high
                assert one.held_bytes is not None
        bare = cell.modes["bare"]
        assert isinstance(bare, Measured)
        assert bare.ratio.median == 1
    held = {mode: one.held_bytes or 0 for mode, one in found.cells[0].modes.items() if isinstance(one, Measured)}
    assert held["bare"] < held["recorded"] < held["graph"]
    assert ElementTree.parse(tmp_path / "out.svg").getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_every_model_is_recorded(tmp_path: Path) -> None:
    found = measure_overhead(tmp_path, "--modes", "recorded", "--steps", "eval")
    assert {cell.model for cell in found.cells} == set(MODELS)
    for cell in found.cells:
        assert isinstance(cell.modes["recorded"], Measured), cell


def test_a_mode_that_cannot_run_is_said_to_be_missing_and_the_others_are_measured() -> None:
    def fails(_: Workload) -> None:
        raise ValueError("the first line\nand more")

    def is_left_out(_: Workload) -> None:
        raise LeftOut("not here")

    options = Options("cpu", rounds=3, sample=0, limit=1, timeout=1, threads=1, autocast=False, smallest=True)
    workload = Workload("chain", "eval", 2, "cpu", autocast=False, smallest=True)
    modes = {"fails": Mode(fails), "left out": Mode(is_left_out), "bare": MODES["bare"], "twice": Mode(twice)}
    found = dict(measure(modes, workload, options))
    assert found["fails"] == Missing("ValueError: the first line", failed=True)
    assert found["left out"] == Missing("not here", failed=False)
    assert isinstance(found["twice"], Measured)
    assert found["twice"].rounds == 3


def twice(workload: Workload) -> None:
    workload()
    workload()


def test_a_process_that_hangs_raises_or_dies_is_given_up() -> None:
    for function, said in ((hang, "no result within 0.5 s"), (fail, "KeyError: 'why'"), (die, "exit status 3")):
        results = isolated(function, timeout=0.5 if function is hang else 60)
        if function is not hang:
            assert next(results) == "begun"
        with pytest.raises(Died, match=said):
            list(results)


def hang() -> Iterator[str]:
    sleep(60)
    yield "too late"


def fail() -> Iterator[str]:
    yield "begun"
    raise KeyError("why")


def die() -> Iterator[str]:
    yield "begun"
    os._exit(3)


def test_scale(tmp_path: Path) -> None:
    table = benchmarks("scale", "--max", "1000", "--json", tmp_path / "out.json")
    found = results.load(tmp_path / "out.json")
    assert isinstance(found, Scale)
    assert {"record", "decode", "assemble", "lint", "stream save", "stream load", "graph dumps", "graph loads"} < set(
        found.stages
    )
    assert {"view collapse", "export dot", "export mermaid", "export json", "export onnx-json"} < set(found.stages)
    for name, stage in found.stages.items():
        assert name in table
        assert stage.missing is None
        assert stage.ns[1000] > 0
        assert stage.peak_bytes is not None


@pytest.mark.skipif(
    not hasattr(torch.distributed.ProcessGroup, "register_pre_hook"),
    reason="below torch 2.14 process groups do not tell of what is issued",
)
def test_scale_of_ranks() -> None:
    table = benchmarks("scale", "--ranks", "--world", "8", "--events", "100").splitlines()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in table if "│" in line]
    assert [(job, ranks, classes) for job, ranks, *_, classes, _, _ in rows] == [
        ("FSDP2", "8", "1"), ("FSDP2, without summaries", "8", "1"), ("pipelines of 4", "8", "4"),
    ]  # fmt: skip
    assert all(int(events.replace(",", "")) >= 8 * 27 and int(links) > 10 for _, _, events, *_, links in rows)
    assert re.search(r"bare [\d.]+ µs, recorded -?[\d.]+ µs more, streamed -?[\d.]+ µs more", "\n".join(table))


def test_every_view_is_measured() -> None:
    assert set(VIEWS) == set(recorder.views.__all__), "benchmarks/scale.py has the arguments to measure each view by"


def test_what_scale_measures_is_a_graph() -> None:
    stream = synthetic(1000)
    assert 1000 <= len(stream) < 1300
    assemble(stream).lint()
    assert sizes(1_000_000) == [1000, 3162, 10_000, 31_623, 100_000, 316_228, 1_000_000]
    assert sizes(5000) == [1000, 3162, 5000]


def test_a_spread_is_the_median_between_quartiles() -> None:
    assert spread([5, 1, 2, 3, 4]) == (3, 2, 4)
    assert spread([7]) == (7, 7, 7)
    with pytest.raises(StatisticsError):
        spread([])


def test_ratios_are_taken_within_the_round() -> None:
    """The second round was ten times as slow: the ratio does not notice, whichever rounds the mode took part in."""
    bare = {0: 1.0, 1: 10.0, 2: 1.0}
    assert ratios({0: 2.0, 1: 20.0, 2: 2.0}, bare) == (2, 2, 2)
    assert ratios({1: 30.0}, bare) == (3, 3, 3)


@pytest.mark.parametrize("power", [0.5, 1, 2])
def test_the_exponent_of_a_power_is_found(power: float) -> None:
    assert exponent({size: 3 * size**power for size in (1000, 10_000, 100_000)}) == pytest.approx(power)


def test_the_exponent_is_that_of_the_upper_two_decades() -> None:
    assert exponent({10: 1e9, 1000: 1e3, 10_000: 1e4, 100_000: 1e5}) == pytest.approx(1)
    assert exponent({1000: 1.0}) is None


def test_a_plot_shows_what_is_there_and_what_is_not() -> None:
    def took(ratio: float) -> Measured:
        return Measured((ratio, ratio, ratio), (1.0, 1.0, 1.0), 1, 1)  # type: ignore[arg-type]

    machine = Machine("2026-01-02T03:04+00:00", "A <CPU>", 2, 2, "Linux", None, {"torch": "2.15"}, None)

    def words_of(*cells: Cell) -> list[str | None]:
        found = results.msgspec.to_builtins(Overhead(machine, {}, list(cells)))  # as it comes from a file
        svg = ElementTree.fromstring(plotted([results.msgspec.convert(found, Overhead)]))
        return [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]

    under_no_grad = (
        Cell("chain", "eval", 4, {"bare": took(1), "recorded": took(2.5), "torchlens": took(360)}),
        Cell("gpt2", "eval", 1, {"bare": took(1), "recorded": took(1), "torchlens": Missing("no", True)}),
    )
    words = words_of(*under_no_grad)
    assert {"500 tiny layers", "GPT-2 small, 64 tokens", "graph-recorder", "torchlens"} < set(words)
    assert [word for word in words if word in ("2.50", "360", "1.00", "–")] == ["2.50", "360", "1.00", "–"]
    assert any("A <CPU>" in str(word) for word in words)
    assert "Time of one evaluation under no_grad, where the bare model's is 1" in words
    words = words_of(*under_no_grad, Cell("chain", "eval-grad", 4, {"bare": took(1), "recorded": took(7.5)}))
    assert "Time of one evaluation with gradients on, where the bare model's is 1" in words
    assert [word for word in words if word in ("2.50", "7.50")] == ["7.50"]
