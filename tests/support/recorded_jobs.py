"""One rank of four that runs jobs bare, counted by witnesses, and recorded; writes what it recorded and counted.

python recorded_jobs.py rank port folder job...
"""

import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from support.models import same, tensors
from support.rank_jobs import JOBS, RANKS, Job
from torch import Tensor
from torch.distributed.tensor.debug import CommDebugMode

from recorder import Recorder

COUNTED = {
    "all_gather": ("allgather", "all_gather"),
    "all_reduce": ("allreduce", "all_reduce"),
    "all_to_all": ("alltoall", "all_to_all"),
    "broadcast": ("broadcast",),
    "gather": ("gather",),
    "reduce_scatter": ("reduce_scatter",),
    "reduce": ("reduce",),
    "scatter": ("scatter",),
}
"""How `CommDebugMode` names what is counted, at the beginning, without a ``_``."""

BY_METHOD = {"send": "send", "recv": "recv", "recv_anysource": "recv", "barrier": "barrier"}
"""Methods of a process group which that does not count. Only Python code calls them."""


def kind(operator: str) -> str:
    name = operator.rpartition(".")[2].strip("_")
    return next(op for op, begins in COUNTED.items() if name.removeprefix("_").startswith(begins))


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Counts calls of methods, as a witness that knows nothing of hooks."""
    counted: Counter[str] = Counter()
    methods = {name: vars(dist.ProcessGroup)[name] for name in BY_METHOD}

    def counted_call(name: str) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            counted[BY_METHOD[name]] += 1
            return methods[name].__get__(self, type(self))(*args, **kwargs)

        return call

    for name in methods:
        setattr(dist.ProcessGroup, name, counted_call(name))
    try:
        yield counted
    finally:
        for name, method in methods.items():
            setattr(dist.ProcessGroup, name, method)


def plain(found: Any) -> list[Tensor]:
    return [getattr(tensor, "_local_tensor", tensor).detach().clone() for tensor in tensors(found)]


def made(name: str, rank: int) -> Job:
    torch.manual_seed(0)
    return JOBS[name](rank)


def state(job: Job, found: Any) -> list[Tensor]:
    return [*plain(found), *plain([*job.net.parameters(), *job.net.buffers()])]


def run(name: str, rank: int, folder: Path) -> None:
    job = made(name, rank)
    bare = state(job, job.step())
    job = made(name, rank)
    witness = CommDebugMode()
    # A pipeline sends what its tensors are like through other tensors, which the witness cannot run.
    with counting() as counts, nullcontext() if name in ("gpipe", "1f1b") else witness:
        job.step()
    for operator, number in witness.get_comm_counts().items():
        counts[kind(str(operator))] += number
    job = made(name, rank)
    with warnings.catch_warnings(record=True) as warned, Recorder(job.net) as r:
        warnings.simplefilter("always")
        found = job.step()
    assert same(bare, state(job, found)), f"{name} differs where it is recorded"
    events = len(r.events)
    r.events.save(folder / f"{name}-{rank}.jsonl")
    job.step()
    assert len(r.events) == events, "recorded after the block"
    said = [str(warning.message) for warning in warned if "graph-recorder" in str(warning.message)]
    (folder / f"{name}-{rank}.json").write_text(json.dumps({"counts": counts, "warned": said}))


def main(rank: str, port: str, folder: str, *names: str) -> None:
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=int(rank), world_size=RANKS)
    for name in names or JOBS:
        run(name, int(rank), Path(folder))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
