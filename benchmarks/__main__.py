"""``python -m benchmarks overhead``: the command line of the benchmarks."""

import json
import platform
from pathlib import Path

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.overhead import MODELS, MODES, measure


@click.group()
def main() -> None:
    """What recording costs."""


@main.command()
@click.option("--models", default=",".join(MODELS), show_default=True, help="Separated by commas.")
@click.option("--modes", default=",".join(MODES), show_default=True, help="Separated by commas.")
@click.option("--rounds", default=30, show_default=True, help="Interleaved; the median counts.")
@click.option("--train/--eval", default=False, help="With gradients and backward, or without.")
@click.option("--json", "path", type=click.Path(path_type=Path), help="Write the results there, too.")
def overhead(models: str, modes: str, rounds: int, train: bool, path: Path | None) -> None:
    """Time of a run in each mode, divided by the unrecorded run's."""
    results = {name: measure(name, modes.split(","), rounds, train) for name in models.split(",")}
    table = Table(title=f"{'training step' if train else 'evaluation'}, torch {torch.__version__}")
    table.add_column("model")
    for heading in ("bare, ms", *modes.split(",")):
        table.add_column(heading, justify="right")
    for name, result in results.items():
        ratios = (f"{result.ratios[mode]:.2f} ± {result.spread[mode]:.2f}" for mode in modes.split(","))
        table.add_row(name, f"{result.bare_ms:.2f}", *ratios)
    Console().print(table)
    if path is not None:
        found = {name: result._asdict() for name, result in results.items()}
        where = {"python": platform.python_version(), "torch": str(torch.__version__), "machine": platform.machine()}
        path.write_text(json.dumps({**where, "train": train, **found}, indent=1))


if __name__ == "__main__":
    main()
