"""What the benchmarks found, as tables for a terminal."""

from collections.abc import Iterator, Sequence

from rich.table import Table

from benchmarks.ranks import Cost, Merged
from benchmarks.results import Cell, Measured, Missing, Overhead, Scale
from benchmarks.workload import STEPS

__all__ = ["cost_in_words", "notes", "overhead_tables", "ranks_table", "scale_table"]


def overhead_tables(results: Overhead, modes: Sequence[str], title: str) -> Iterator[Table]:
    """One table for each step. A cell is the ratio to the bare run, with half the distance between its quartiles."""
    for step, name in STEPS.items():
        cells = [cell for cell in results.cells if cell.step == step and cell.modes]
        columns = [mode for mode in modes if mode != "bare" and any(mode in cell.modes for cell in cells)]
        if not columns:
            continue
        table = Table(title=f"{title}: {name}, time / bare time")
        table.add_column("model", no_wrap=True)
        for heading in ("batch", "bare, ms", *columns):
            table.add_column(heading, justify="right")
        for cell in cells:
            bare = cell.modes["bare"]
            time = f"{bare.ns.median / 1e6:.2f}" if isinstance(bare, Measured) else "–"
            table.add_row(cell.model, str(cell.batch), time, *(_ratio(cell, mode) for mode in columns))
        yield table


def _ratio(cell: Cell, mode: str) -> str:
    found = cell.modes.get(mode)
    if not isinstance(found, Measured):
        return "–"
    half = (found.ratio.high - found.ratio.low) / 2
    digits = 2 if found.ratio.median < 10 else 0
    return f"{found.ratio.median:.{digits}f} ±{half:.{digits}f}"


def notes(results: Overhead) -> Iterator[str]:
    """A line for each figure that is not there."""
    for cell in results.cells:
        where = f"{cell.model}, {cell.step}, batch {cell.batch}"
        if cell.missing is not None:
            yield f"{where}: {cell.missing}"
        for mode, found in cell.modes.items():
            if isinstance(found, Missing):
                yield f"{where}: {mode} {'failed' if found.failed else 'is left out'}: {found.reason}"


def scale_table(results: Scale) -> Table:
    """Nanoseconds and bytes per event, and how time grows: as events ** exponent."""
    all_sizes = sorted({size for stage in results.stages.values() for size in stage.ns})
    table = Table(title="ns per event")
    table.add_column("stage", no_wrap=True)
    headings = [f"{size:,}" for size in all_sizes]
    for heading in (*headings, "events / s", "exponent", "bytes held", "bytes at peak"):
        table.add_column(heading, justify="right")
    for name, stage in results.stages.items():
        costs = [f"{stage.ns[size] / size:,.0f}" if size in stage.ns else "–" for size in all_sizes]
        rate = f"{max(stage.ns) / stage.ns[max(stage.ns)] * 1e9:,.0f}" if stage.ns else "–"
        growth = "–" if stage.exponent is None else f"{stage.exponent:.2f}"
        weights = ("–" if size is None else f"{size:,.0f}" for size in (stage.held_bytes, stage.peak_bytes))
        table.add_row(name, *costs, rate, growth, *weights)
    return table


def ranks_table(jobs: Sequence[Merged]) -> Table:
    """What it takes to merge jobs, and to see that they did not fall apart."""
    table = Table(title="the ranks of a job: memory is what comes on top of the package's own")
    table.add_column("job", no_wrap=True)
    measured = ("merge, s", "MB at peak", "desync, s", "MB at peak")
    for heading in ("ranks", "events", "MB of files", *measured, "classes", "nodes", "links"):
        table.add_column(heading, justify="right")
    for job in jobs:
        table.add_row(
            job.job, f"{job.ranks:,}", f"{job.events:,}", f"{job.file_bytes / 1e6:,.0f}",
            f"{job.merge_seconds:.2f}", f"{job.merge_bytes / 1e6:.0f}",
            f"{job.desync_seconds:.2f}", f"{job.desync_bytes / 1e6:.0f}",
            f"{job.classes:,}", f"{job.nodes:,}", f"{job.links:,}",
        )  # fmt: skip
    return table


def cost_in_words(cost: Cost) -> str:
    """What one operation between ranks costs, in microseconds."""
    more = (cost.recorded - cost.bare) / 1e3, (cost.streamed - cost.bare) / 1e3
    return (
        f"one all_reduce on the fake backend: bare {cost.bare / 1e3:.1f} µs, recorded {more[0]:.1f} µs more, "
        f"streamed {more[1]:.1f} µs more"
    )
