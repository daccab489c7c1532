"""What recording costs: every mode beside the bare run, in interleaved rounds.

All modes of ours share a process and its rounds; each peer has a process with bare rounds of its own.
"""

import gc
import random
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch

from benchmarks.clock import held_bytes, peak_bytes, time_ns
from benchmarks.figures import ratios, spread
from benchmarks.isolated import Died, in_a_line, isolated
from benchmarks.models import MODELS
from benchmarks.modes import MODES, LeftOut, Mode
from benchmarks.peers import PEERS
from benchmarks.results import Cell, Measured, Missing
from benchmarks.workload import Step, Workload

__all__ = ["Options", "batches", "measure", "measure_cell"]


class Options(NamedTuple):
    """``sample`` is how many seconds of runs make one sample, so that a tiny model is not lost in the clock's noise;
    ``limit`` how many seconds one mode of one cell may take in all, ``timeout`` when a process is given up.
    """

    device: str
    rounds: int
    sample: float
    limit: float
    timeout: float
    threads: int
    autocast: bool
    smallest: bool
    seed: int = 0


def measure_cell(model: str, step: Step, batch: int, modes: Sequence[str], options: Options) -> Cell:
    """Each of the modes that make sense in this step, beside the bare run."""
    cell = Cell(model, step, batch, {})
    wanted = [name for name in modes if name != "bare" and step in (MODES | PEERS)[name].steps]
    groups = [["bare", *(name for name in wanted if name in MODES)], *([name] for name in wanted if name in PEERS)]
    for group in groups:
        try:
            for name, found in isolated(_measure, model, step, batch, group, options, timeout=options.timeout):
                cell.modes[name] = found
        except Died as death:
            if "bare" in group:
                cell.missing = str(death)
                break
            cell.modes[group[0]] = Missing(str(death), failed=True)
    return cell


def _measure(
    model: str, step: Step, batch: int, names: Sequence[str], options: Options
) -> Iterator[tuple[str, Measured | Missing]]:
    """In a process of its own."""
    torch.set_num_threads(options.threads)
    if options.smallest:
        gc.freeze()  # nothing is learnt from the times, and a collection looks at all that was imported
    workload = Workload(model, step, batch, options.device, autocast=options.autocast, smallest=options.smallest)
    yield from measure({name: (MODES | PEERS)[name] for name in names}, workload, options)


def measure(modes: dict[str, Mode], workload: Workload, options: Options) -> Iterator[tuple[str, Measured | Missing]]:
    """Time the modes round by round, each once a round in a shuffled order; a slow mode leaves when its time is up."""
    bare = _Contestant(MODES["bare"], workload, options)
    contestants = {}
    for name, mode in modes.items():
        try:
            contestants[name] = bare if name == "bare" else _Contestant(mode, workload, options)
        except LeftOut as reason:
            yield name, Missing(str(reason), failed=False)
        except Exception as error:
            yield name, Missing(in_a_line(error), failed=True)

    shuffled = random.Random(options.seed)
    others = [contestant for contestant in contestants.values() if contestant is not bare]
    for number in range(max(contestant.rounds for contestant in others or [bare])):
        running = [bare, *(contestant for contestant in others if number < contestant.rounds)]
        shuffled.shuffle(running)
        gc.collect()  # what earlier rounds left is not for this one to clear away; within it, the collector is on
        for contestant in running:
            contestant.sample(number)
    for name, contestant in contestants.items():
        yield name, contestant.measured(bare)


class _Contestant:
    """One mode: how often it runs, and the time of each round. To make one is to warm it up."""

    def __init__(self, mode: Mode, workload: Workload, options: Options) -> None:
        self._run = lambda: mode.run(workload)
        self._device = options.device
        first = time_ns(self._run, 1, self._device)
        if first < options.limit * 1e9:
            # what imports, compiles and allocates does so in the first run; caches and allocators settle a little later
            once = min(time_ns(self._run, 1, self._device) for _ in range(2))
        else:
            once = first
        self.repeats = max(1, int(options.sample * 1e9 / once))
        fewest = 3 if once < options.limit * 1e9 else 1  # quartiles of fewer say nothing
        self.rounds = min(options.rounds, max(fewest, int(options.limit * 1e9 / (once * self.repeats))))
        self._weighed = once * 4 < options.limit * 1e9  # a traced run takes several times as long
        self.times: dict[int, float] = {}

    def sample(self, number: int) -> None:
        self.times[number] = time_ns(self._run, self.repeats, self._device)

    def measured(self, bare: "_Contestant") -> Measured:
        return Measured(
            ratios(self.times, bare.times),
            spread(list(self.times.values())),
            len(self.times),
            self.repeats,
            held_bytes=held_bytes(self._run)[0] if self._weighed else None,
            peak_bytes=peak_bytes(self._run) if self._device == "cuda" else None,
        )


def batches(model: str, which: Sequence[str], device: str) -> list[int]:
    """Sizes of batches: "small" and "large" are the model's own for this device, a number is itself."""
    own = MODELS[model].batches[device]
    return list(dict.fromkeys({"small": own[0], "large": own[-1]}.get(word) or int(word) for word in which))
