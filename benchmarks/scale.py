"""How the cost of each stage grows with the number of events: from a run to a graph, to its views, to files and back.

A stage stops growing once the next size would take longer than its limit. Recording is timed on a real network,
called again and again; everything behind it on a stream of the same shape that `recorder.testing` writes.
"""

import gc
import tempfile
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from time import thread_time_ns
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.clock import held_bytes
from benchmarks.figures import exponent
from benchmarks.isolated import Died, isolated
from benchmarks.results import Stage
from recorder import (
    EventStream,
    Graph,
    Recorder,
    assemble,
    collapse,
    collapse_to_fit,
    dumps,
    expand,
    export,
    fold,
    formats,
    hide,
    loads,
    readable,
    select,
    unfold,
    without_accumulation,
)
from recorder.testing import StreamBuilder

__all__ = ["VIEWS", "measure", "sizes", "stages", "synthetic"]

BLOCKS = 32
TRACED = 30_000
"""How many events memory is weighed at: tracing is slow, and memory per event hardly depends on it."""

PICTURES = ("svg", "png", "pdf")
"""Formats whose time is Graphviz's."""

EXPORT_OPTIONS: dict[str, dict[str, Any]] = {"dot": {"depth": None}, "mermaid": {"depth": None, "limits": "none"}}
"""All of it: by themselves drawings show what can be read, and GitHub's limits leave nothing of a hundred thousand."""

VIEWS: dict[str, Callable[[Graph], object]] = {
    "collapse": lambda graph: collapse(graph, 1),
    "collapse_to_fit": lambda graph: collapse_to_fit(graph, lambda view: len(view.nodes) < 100),
    "expand": lambda graph: expand(collapse(graph, 0), depth=2),
    "fold": fold,
    "unfold": lambda graph: unfold(fold(graph), fqn="*"),
    "select": lambda graph: select(graph, descendants="0.linear"),
    "hide": lambda graph: hide(graph, op_type="relu"),
    "readable": readable,
    "without_accumulation": without_accumulation,
}
"""Every view of `recorder.views`, with the arguments to measure it by."""


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.linear(x)) + x


def synthetic(events: int) -> EventStream:
    """What recording ``nn.Sequential(Block(), …)``, called until there are so many events, would give."""
    build = StreamBuilder("Sequential")
    while len(build.stream) < events:
        x = build.tensor((1, 8))
        with build.call("", "Sequential", [x]) as net:
            for number in range(BLOCKS):
                with build.call(f"{number}", "Block", [x]) as block:
                    h = build.op(f"{number}.linear", "Linear", [x], (1, 8), weight=(8, 8), bias=(8,))
                    h = build.op(None, "relu", [h], (1, 8))
                    x = build.op(None, "add", [h, x], (1, 8))
                    block.outputs = [x]
            net.outputs = [x]
    return build.stream


class Recording:
    """A real network, called as often as gives so many events."""

    def __init__(self, events: int) -> None:
        torch.manual_seed(0)
        self.net, self.x = nn.Sequential(*(Block() for _ in range(BLOCKS))), torch.randn(1, 8)
        self.calls = 1
        once = len(self.decoded().events)
        self.calls = -(-events // once)
        self.events = self.calls * once

    def bare(self) -> None:
        with torch.no_grad():
            for _ in range(self.calls):
                self.net(self.x)

    def recorded(self) -> Recorder:
        with Recorder(self.net) as r:
            self.bare()
        return r

    def decoded(self) -> Recorder:
        r = self.recorded()
        assert len(r.events)
        return r


def stages(stream: EventStream, folder: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    """Each stage behind recording by its name, ready to be run."""
    yield "assemble", lambda: assemble(stream)
    yield "stream save", lambda: stream.save(folder / "run.jsonl")
    stream.save(folder / "run.jsonl")
    yield "stream load", lambda: EventStream.load(folder / "run.jsonl")
    graph = assemble(stream)
    yield "lint", graph.lint
    for name, view in VIEWS.items():
        yield f"view {name}", partial(view, graph)
    yield "graph dumps", lambda: dumps(graph)
    yield "graph loads", partial(loads, dumps(graph))
    for format in formats():
        if format.name not in PICTURES:
            yield f"export {format.name}", partial(export, graph, format.name, **EXPORT_OPTIONS.get(format.name, {}))


def sizes(largest: int) -> list[int]:
    """Half decades from a thousand on, up to the largest: 1000, 3162, 10000 and so on."""
    halves = (round(10 ** (half / 2)) for half in range(6, 20))
    return [*(size for size in halves if size < largest), largest]


def measure(largest: int, limit: float) -> Iterator[tuple[int, dict[str, Stage]]]:
    """What is known of each stage after each size, and at the end, with memory and exponents.

    Args:
        largest: how many events the last size has.
        limit: seconds; a stage that would take longer, or dies, has no further sizes.
    """
    found: dict[str, Stage] = {}
    last = 0
    for size in sizes(largest):
        for stage in found.values():
            if stage.missing is None and stage.ns[last] * size / last > limit * 1e9:
                stage.missing = f"{size} events would take over {limit:g} s"
        for name, ns in _each(_time, size, found, timeout=60 + 4 * limit):
            found.setdefault(name, Stage({})).ns[size] = ns
        last = size
        yield size, found
    traced = min(TRACED, largest)
    for name, (held, peak) in _each(_weigh, traced, {}, timeout=60 + 4 * limit):
        found[name].held_bytes, found[name].peak_bytes = held / traced, peak / traced
    for stage in found.values():
        stage.exponent = exponent(stage.ns)
    yield largest, found


def _each(
    measured: Callable[[int, Collection[str]], Iterator[tuple[str, Any]]],
    size: int,
    found: dict[str, Stage],
    timeout: float,
) -> Iterator[tuple[str, Any]]:
    """What ``measured`` gives for each stage that is not done, in a process of its own; one that dies is done."""
    done = {name for name, stage in found.items() if stage.missing is not None}
    while True:
        begun = ""
        try:
            for name, value in isolated(measured, size, done, timeout=timeout):
                begun = name
                if value is not None:
                    done.add(name)
                    yield name, value
        except Died as death:
            if not begun or begun in done:
                raise
            found.setdefault(begun, Stage({})).missing = f"{size} events: {death}"
            done.add(begun)
        else:
            return


def _time(size: int, done: Collection[str]) -> Iterator[tuple[str, float | None]]:
    """Each stage's name with None when it begins, and with its nanoseconds."""
    if not {"record", "decode"} <= set(done):
        yield "record", None
        recording = Recording(size)
        bare, recorded = _timed(recording.bare), _timed(recording.recorded)
        share = size / recording.events
        yield "record", max(recorded - bare, 1.0) * share
        yield "decode", _timed(lambda r: r.events, recording.recorded) * share
    stream = synthetic(size)
    with tempfile.TemporaryDirectory() as folder:
        for name, run in stages(stream, Path(folder)):
            if name not in done:
                yield name, None
                yield name, _timed(run) * size / len(stream)


def _weigh(size: int, done: Collection[str]) -> Iterator[tuple[str, tuple[int, int] | None]]:
    """Likewise with bytes: what the result holds, and the peak on the way."""
    if not {"record", "decode"} <= set(done):
        yield "record", None
        recording = Recording(size)
        yield "record", held_bytes(recording.recorded)
        yield "decode", held_bytes(recording.decoded)
    with tempfile.TemporaryDirectory() as folder:
        for name, run in stages(synthetic(size), Path(folder)):
            if name not in done:
                yield name, None
                yield name, held_bytes(run)


def _timed(run: Callable[..., object], *made: Callable[[], object]) -> float:
    """Nanoseconds that a run takes of this thread's time on the CPU, which other work on the machine hardly changes:
    the median of as many runs as take a tenth of a second, after one that warms up.

    What the runs give stays until the last of them. Otherwise a small size would be measured in memory that the run
    before had left, a large one in memory fresh from the system, which takes a quarter longer; and in some runs the
    collector would take apart what earlier ones gave.

    Args:
        run: what is timed.
        *made: make what it is given, anew for each run, and outside of its time.
    """
    taken: list[float] = []
    results: list[object] = []
    gc.collect()
    while sum(taken) < 0.1e9:
        given = [make() for make in made]
        start = thread_time_ns()
        results.append((given, run(*given)))
        taken.append(thread_time_ns() - start)
    return median(taken[1:] or taken)
