"""What it takes to put the ranks of a large job together, and what one operation between ranks costs.

torch's fake backend runs one rank of a job of any size in one process: what it issues is recorded, and arrives at once.
The others of an FSDP2 job do the same as that one, so their streams are written from its own. Those of pipelines are
written by hand: four stages in each, which send, receive and reduce.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter_ns
from typing import Any, NamedTuple

import msgspec

from benchmarks.isolated import isolated
from recorder import EventStream, Recorder
from recorder.events import Collective, Event, Group, Header, RankSummary

__all__ = ["Cost", "Merged", "costs", "fleet", "measure", "pipelines"]

STAGES = 4
MICROBATCHES = 8


class Merged(NamedTuple):
    """What was merged, of how many ranks and events, and what it took: seconds, and bytes over those that Python and
    the package take by themselves.
    """

    job: str
    ranks: int
    events: int
    file_bytes: int
    merge_seconds: float
    merge_bytes: int
    desync_seconds: float
    desync_bytes: int
    classes: int
    nodes: int
    links: int


class Cost(NamedTuple):
    """Nanoseconds of one all_reduce on the fake backend: bare, and recorded into memory or into a file."""

    bare: float
    recorded: float
    streamed: float


def measure(ranks: int, events: int) -> Iterator[Merged]:
    """The jobs, one after another."""
    for job, ended in (("FSDP2", True), ("FSDP2, without summaries", False)):
        with TemporaryDirectory() as folder:
            (per_rank,) = isolated(_fleet, Path(folder), ranks, events, ended, timeout=900)
            yield _merged(job, Path(folder), ranks, per_rank * ranks)
    with TemporaryDirectory() as folder:
        yield _merged("pipelines of 4", Path(folder), ranks, pipelines(Path(folder), ranks))


def costs(calls: int = 2000) -> Cost:
    """What one operation between ranks costs."""
    (cost,) = isolated(_costs, calls, timeout=300)
    return cost


def fleet(folder: Path, ranks: int, events: int, ended: bool = True) -> int:
    """Streams of an FSDP2 job of so many ranks, of at least so many events in each; gives how many there are. Where the
    blocks have not ``ended``, no rank has said what it did in short. It makes a process group of torch's fake backend:
    call it in a process of its own.
    """
    stream = _one_rank(ranks, events)
    if not ended:
        stream = EventStream((event for event in stream if not isinstance(event, RankSummary)), stream.header)
    for rank in range(ranks):
        header = msgspec.structs.replace(stream.header, meta={**stream.header.meta, "rank": rank})
        EventStream(_of_rank(stream, rank), header).save(folder / f"{rank}.jsonl")
    return len(stream)


def pipelines(folder: Path, ranks: int) -> int:
    """Streams of so many ranks in pipelines of four stages, whose stages reduce with those of the others; gives how
    many events there are in all.
    """
    replicas = ranks // STAGES
    written = 0
    for rank in range(replicas * STAGES):
        events = list(_stage(rank, replicas))
        meta = {"rank": rank, "world_size": replicas * STAGES}
        EventStream(events, Header(model="Pipeline", meta=meta)).save(folder / f"{rank}.jsonl")
        written += len(events)
    return written


def _fleet(folder: Path, ranks: int, events: int, ended: bool) -> Iterator[int]:
    yield fleet(folder, ranks, events, ended)


def _of_rank(stream: EventStream, rank: int) -> Iterator[Event]:
    """What another rank of the same job would have written."""
    for event in stream:
        if isinstance(event, Group):
            yield msgspec.structs.replace(event, rank=rank)
        elif isinstance(event, RankSummary):
            groups = tuple(msgspec.structs.replace(group, rank=rank) for group in event.groups)
            yield msgspec.structs.replace(event, groups=groups)
        else:
            yield event


def _fake_group(ranks: int) -> None:
    from torch import distributed
    from torch.testing._internal.distributed.fake_pg import FakeStore

    distributed.init_process_group("fake", rank=0, world_size=ranks, store=FakeStore())


def _one_rank(ranks: int, events: int) -> EventStream:
    """Rank 0 as it recorded itself: training steps until there are so many events."""
    import torch
    from torch import nn
    from torch.distributed.fsdp import fully_shard

    _fake_group(ranks)
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(4)]
    net = nn.Sequential(*layers)
    for layer in layers:
        fully_shard(layer)
    fully_shard(net)
    steps = 1
    while True:
        with Recorder(net) as r:
            for _ in range(steps):
                net(torch.randn(4, 8)).square().mean().backward()
        if len(r.events) >= events:
            return r.events
        steps = max(steps + 1, steps * events // len(r.events))


def _stage(rank: int, replicas: int) -> Iterator[Event]:
    """One stage of one pipeline: all of forward, then all of backward, then one reduction among its replicas."""
    pipeline, stage = divmod(rank, STAGES)
    first, size = pipeline * STAGES, replicas * STAGES
    yield Group(0, f"pipeline {pipeline}", f"{first}-{first + STAGES - 1}", rank)
    yield Group(1, f"stage {stage}", f"{stage}-{size - STAGES + stage}:{STAGES}" if replicas > 1 else str(stage), rank)
    number = 0
    for phase, before, after in (("forward", stage - 1, stage + 1), ("backward", stage + 1, stage - 1)):
        for micro in range(MICROBATCHES):
            for op_type, peer in (("recv", before), ("send", after)):
                if 0 <= peer < STAGES:
                    shape = ((4, 8),)
                    tensors: dict[str, Any] = {"inputs" if op_type == "send" else "outputs": shape}
                    yield Collective(
                        number, 0, micro, op_type, number, peer=first + peer, phase=phase, dtype="float32", **tensors
                    )
                    number += 1
    yield Collective(number, 1, 0, "all_reduce", number, inputs=((64,),), outputs=((64,),), dtype="float32")


def _merged(job: str, folder: Path, ranks: int, events: int) -> Merged:
    files = list(folder.glob("*.jsonl"))
    merged = _run(folder, MERGE)
    apart = _run(folder, "result = [recorder.desync(pattern).ok]")
    assert apart["result"] == [True], "a job without a fault is said to have fallen apart"
    return Merged(
        job, ranks, events, sum(file.stat().st_size for file in files), merged["seconds"], merged["bytes"],
        apart["seconds"], apart["bytes"], *merged["result"],
    )  # fmt: skip


# Linux tells the peak of a program there; what getrusage tells is that of whoever started it, too.
PROGRAM = """
import json, re, sys, time
import recorder

def peak():
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", file.read())[1])

recorder.merge, recorder.desync
pattern = sys.argv[1]
before = peak()
start = time.perf_counter()
{what}
seconds = time.perf_counter() - start
print(json.dumps({{"seconds": seconds, "bytes": peak() - before, "result": result}}))
"""

MERGE = """graph = recorder.merge(pattern)
tops = [scope for scope in graph.scopes if scope.parent is None]
result = [len(tops), len(graph.nodes), len(graph.links)]"""


def _run(folder: Path, what: str) -> dict[str, Any]:
    """Time and memory of a program in a process of its own, which has the package alone imported."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(what=what), str(folder / "*.jsonl")],
        check=True, capture_output=True, text=True, timeout=900,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def _costs(calls: int) -> Iterator[Cost]:
    import torch
    from torch import distributed, nn

    _fake_group(1000)
    net, tensor = nn.Identity(), torch.ones(8)

    def took(recorders: Iterable[Recorder]) -> float:
        begins = perf_counter_ns()
        for recorder in recorders:
            with recorder:
                begins = perf_counter_ns()
                for _ in range(calls):
                    distributed.all_reduce(tensor)
                ends = perf_counter_ns()
            return (ends - begins) / calls
        for _ in range(calls):
            distributed.all_reduce(tensor)
        return (perf_counter_ns() - begins) / calls

    with TemporaryDirectory() as folder:
        rounds = [
            (took([]), took([Recorder(net)]), took([Recorder(net, stream=Path(folder, f"{turn}-{{rank}}.jsonl"))]))
            for turn in range(5)
        ]
    yield Cost(*(sorted(times)[2] for times in zip(*rounds)))
