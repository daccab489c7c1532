"""What the benchmarks find, as plain data, and as the JSON files under results/."""

from pathlib import Path
from typing import Any

import msgspec

from benchmarks.figures import Spread
from benchmarks.machine import Machine

__all__ = ["Cell", "Measured", "Missing", "Overhead", "Scale", "Stage", "load", "save"]


class Measured(msgspec.Struct, tag="measured"):
    """One mode in one cell.

    Attributes:
        ratio: its time divided by the bare run's of the same round: the median over the rounds, and the quartiles.
        ns: its time, in nanoseconds a run.
        rounds: how many rounds it took part in: fewer than asked for where it is slow.
        repeats: runs in each round.
        held_bytes: Python memory that its result keeps alive; None where a traced run would have taken too long.
        peak_bytes: of the CUDA device's memory, beyond what the model itself takes; None on the CPU.
    """

    ratio: Spread
    ns: Spread
    rounds: int
    repeats: int
    held_bytes: int | None = None
    peak_bytes: int | None = None


class Missing(msgspec.Struct, tag="missing"):
    """A mode that gave no figure: it failed, or (not ``failed``) what it needs is not there."""

    reason: str
    failed: bool


class Cell(msgspec.Struct):
    """One model in one step with one batch. ``modes`` has "bare" first, whose ratio is one. A cell whose model cannot
    be made has no modes, and ``missing`` says why.
    """

    model: str
    step: str
    batch: int
    modes: dict[str, Measured | Missing]
    missing: str | None = None


class Overhead(msgspec.Struct, tag="overhead", tag_field="benchmark"):
    """What one run of that benchmark found, where, and with which options."""

    machine: Machine
    options: dict[str, Any]
    cells: list[Cell]


class Stage(msgspec.Struct):
    """One stage of the way from a run to a file.

    Attributes:
        ns: nanoseconds that it takes for so many events.
        exponent: how that grows, over the upper two decades; None of fewer than two sizes.
        held_bytes, peak_bytes: Python memory of its result, and on the way there, per event.
        missing: why there are no more sizes.
    """

    ns: dict[int, float]
    exponent: float | None = None
    held_bytes: float | None = None
    peak_bytes: float | None = None
    missing: str | None = None


class Scale(msgspec.Struct, tag="scale", tag_field="benchmark"):
    """Likewise; ``stages`` are in the order of the way from a run to a file."""

    machine: Machine
    options: dict[str, Any]
    stages: dict[str, Stage]


def save(results: Overhead | Scale, path: Path) -> None:
    path.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n")


def load(path: Path) -> Overhead | Scale:
    """Raises msgspec.ValidationError for a file that is none of ours."""
    return msgspec.json.decode(path.read_bytes(), type=Overhead | Scale)
