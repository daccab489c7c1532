"""The command line of the benchmarks."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import Any

import click
import torch
from rich.console import Console

from benchmarks import machine, plot, ranks, results, scale, tables
from benchmarks.isolated import Died, preload
from benchmarks.models import MODELS
from benchmarks.modes import MODES
from benchmarks.overhead import Options, batches, measure_cell
from benchmarks.peers import PEERS
from benchmarks.workload import STEPS, Step

RESULTS = Path(__file__).parent / "results"
FILE = click.Path(path_type=Path, dir_okay=False)

say = Console(stderr=True, highlight=False, soft_wrap=True).print


def out() -> Console:
    """On a terminal as wide as that is, elsewhere as wide as the tables are."""
    console = Console()
    return console if console.is_terminal else Console(width=250)


def listed(known: Sequence[str]) -> Callable[[click.Context, click.Parameter, str], list[str]]:
    """Reads names separated by commas, each of them known."""

    def read(context: click.Context, parameter: click.Parameter, text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        for name in names:
            if name not in known:
                raise click.BadParameter(f"{name!r} is none of {', '.join(known)}")
        return names

    return read


@click.group()
def main() -> None:
    """What recording costs."""


@main.command()
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--models", default=",".join(MODELS), callback=listed(list(MODELS)), show_default=True)
@click.option("--modes", default=",".join(MODES), callback=listed([*MODES, *PEERS]), show_default=True)
@click.option(
    "--peers/--no-peers",
    default=True,
    show_default=True,
    help=f"In the same run, with the smallest batch, those that are installed of {', '.join(PEERS)}.",
)
@click.option(
    "--steps", default=",".join(STEPS), callback=listed(list(STEPS)), show_default=True, help="eval is under no_grad."
)
@click.option("--batches", "which", default="small,large", show_default=True, help="small, large, or numbers.")
@click.option("--rounds", default=30, show_default=True, help="Interleaved; the median counts.")
@click.option("--sample", default=0.05, show_default=True, help="Seconds of runs that make one sample.")
@click.option("--limit", default=1.5, show_default=True, help="Seconds that a mode may take of a model, in all.")
@click.option("--timeout", default=90.0, show_default=True, help="Seconds after which a process is given up.")
@click.option("--threads", default=torch.get_num_threads(), show_default=True, help="Of torch's, on the CPU.")
@click.option("--autocast/--no-autocast", default=None, help="bfloat16 in training steps; by default on CUDA only.")
@click.option("--seed", default=0, show_default=True, help="Of the order in a round.")
@click.option("--smallest", is_flag=True, help="Models and rounds so small that nothing is learnt but that it runs.")
@click.option("--json", "path", type=FILE, help="Write the results there.")
@click.option("--plot", "picture", type=FILE, help="Draw them there, as SVG.")
def overhead(
    device: str,
    models: list[str],
    modes: list[str],
    peers: bool,
    steps: list[Step],
    which: str,
    rounds: int,
    sample: float,
    limit: float,
    timeout: float,
    threads: int,
    autocast: bool | None,
    seed: int,
    smallest: bool,
    path: Path | None,
    picture: Path | None,
) -> None:
    """Time of a run in each mode, divided by the bare run's."""
    if device == "cuda" and not torch.cuda.is_available():
        raise click.UsageError("there is no CUDA device that torch can use here")
    modes = list(dict.fromkeys([*modes, *(PEERS if peers else ())]))
    options = Options(
        device=device,
        rounds=1 if smallest else rounds,
        sample=0.0 if smallest else sample,
        limit=timeout if smallest else limit,
        timeout=timeout,
        threads=threads,
        autocast=device == "cuda" if autocast is None else autocast,
        smallest=smallest,
        seed=seed,
    )
    found = results.Overhead(
        machine.describe(device, threads), {"models": models, "modes": modes, **options._asdict()}, []
    )
    preload(["benchmarks.overhead", *(name for model in models for name in MODELS[model].imports)])
    start = monotonic()
    for model in models:
        for step in steps:
            if step == "train" and not MODELS[model].trains:
                continue
            sizes = [2] if smallest else batches(model, which.split(","), device)
            for batch in sizes:
                say(f"{_since(start)} {model}, {STEPS[step]}, batch {batch}")
                here = [mode for mode in modes if mode in MODES or batch == min(sizes)]
                found.cells.append(measure_cell(model, step, batch, here, options))
    console = out()
    title = found.machine.gpu or found.machine.cpu
    for group in (MODES, PEERS):
        for table in tables.overhead_tables(found, [mode for mode in modes if mode in group], title):
            console.print(table)
    for line in dict.fromkeys(tables.notes(found)):
        console.print(line, highlight=False, markup=False)
    _keep(found, path)
    if picture is not None:
        picture.write_text(plot.overhead([found]))
    if not any(cell.modes for cell in found.cells):
        raise click.ClickException("nothing could be measured")


@main.command("scale")
@click.option("--max", "largest", default=1_000_000, show_default=True, type=click.IntRange(1000))
@click.option("--limit", default=30.0, show_default=True, help="Seconds; a slower stage goes no further.")
@click.option("--ranks", "of_ranks", is_flag=True, help="Of merging the ranks of a job, instead.")
@click.option("--world", default=1000, show_default=True, type=click.IntRange(4), help="With --ranks: how many.")
@click.option("--events", default=1200, show_default=True, type=click.IntRange(1), help="With --ranks: of each rank.")
@click.option("--json", "path", type=FILE, help="Write the results there.")
def scale_(largest: int, limit: float, of_ranks: bool, world: int, events: int, path: Path | None) -> None:
    """Time and memory per event of each stage, and how they grow; or of merging the ranks of a job."""
    if of_ranks:
        if path is not None:
            raise click.UsageError("what merging takes is printed, and not kept: leave out --json")
        _ranks(world, events)
        return
    found = results.Scale(machine.describe("cpu", torch.get_num_threads()), {"max": largest, "limit": limit}, {})
    preload(["benchmarks.scale"])
    start = monotonic()
    try:
        for size, stages in scale.measure(largest, limit):
            found.stages = stages
            say(f"{_since(start)} {size} events")
    except Died as death:
        raise click.ClickException(str(death)) from None
    console = out()
    console.print(tables.scale_table(found))
    for name, stage in found.stages.items():
        if stage.missing is not None:
            console.print(f"{name}: {stage.missing}", highlight=False, markup=False)
    _keep(found, path)


def _ranks(world: int, events: int) -> None:
    preload(["benchmarks.ranks"])
    try:
        merged = list(ranks.measure(world, events))
        cost = ranks.costs()
    except Died as death:
        raise click.ClickException(str(death)) from None
    console = out()
    console.print(tables.ranks_table(merged))
    console.print(tables.cost_in_words(cost), highlight=False, markup=False)


@main.command("plot")
@click.argument("kept", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("-o", "--output", type=FILE, default=Path("docs/images/overhead.svg"), show_default=True)
def plot_(kept: Sequence[Path], output: Path) -> None:
    """Draw kept results of overhead again; without names, all those under results/ whose names begin with overhead."""
    found: list[Any] = [results.load(path) for path in kept or sorted(RESULTS.glob("overhead*.json"))]
    of_overhead = [result for result in found if isinstance(result, results.Overhead)]
    if not of_overhead:
        raise click.UsageError("no results of overhead were given, and none are kept")
    output.write_text(plot.overhead(of_overhead))
    say(f"wrote {output}")


def _keep(found: results.Overhead | results.Scale, path: Path | None) -> None:
    if path is not None:
        results.save(found, path)
        say(f"wrote {path}")


def _since(start: float) -> str:
    return str(timedelta(seconds=round(monotonic() - start)))


if __name__ == "__main__":
    main()
