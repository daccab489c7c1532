"""Our own ways to run a model: bare, under hooks that do nothing, and recorded with more and more done of it.

A mode runs the workload once and returns what it holds on to afterwards, so that its memory can be weighed. All that
a user pays each time is inside: a recorder is made, started and stopped, hooks are registered and removed.
"""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from benchmarks.workload import Step, Workload
from recorder import Recorder

__all__ = ["EVALUATIONS", "MODES", "LeftOut", "Mode"]

EVALUATIONS: tuple[Step, ...] = ("eval", "eval-grad")


class LeftOut(Exception):
    """The mode cannot run here; the message says why."""


class Mode(NamedTuple):
    """``run`` is one run of the workload, in the steps that it makes sense for."""

    run: Callable[[Workload], object]
    steps: tuple[Step, ...] = ("eval", "eval-grad", "train")


def bare(workload: Workload) -> object:
    """Nothing around it."""
    workload()
    return None


def hooks(workload: Workload) -> object:
    """An empty forward hook on every module: the floor for anything that hooks modules."""
    handles = [module.register_forward_hook(lambda *_: None) for module in workload.net.modules()]
    try:
        workload()
    finally:
        for handle in handles:
            handle.remove()
    return None


def recorded(workload: Workload, **options: Any) -> Recorder:
    with Recorder(workload.net, **options) as r:
        workload()
    return r


def streamed(workload: Workload) -> Recorder:
    """Events go to a file while the run goes on."""
    with TemporaryDirectory() as folder:
        return recorded(workload, stream=Path(folder) / "run.jsonl")


def graph(workload: Workload) -> object:
    """Recorded, decoded and assembled."""
    r = recorded(workload)
    return r, r.graph


def exported(format: str) -> Callable[[Workload], object]:
    """Up to the text in one format."""

    def run(workload: Workload) -> object:
        r = recorded(workload)
        return r, r.export(format)

    return run


MODES = {
    "bare": Mode(bare),
    "hooks": Mode(hooks),
    "modules": Mode(lambda workload: recorded(workload, functions=False)),
    "recorded": Mode(recorded, EVALUATIONS),
    "backward": Mode(recorded, ("train",)),
    "gradients": Mode(lambda workload: recorded(workload, gradients="on"), ("train",)),
    "statistics": Mode(lambda workload: recorded(workload, gradients="stats"), ("train",)),
    "values": Mode(lambda workload: recorded(workload, values="stats")),
    "digests": Mode(lambda workload: recorded(workload, values="digest")),
    "memory": Mode(lambda workload: recorded(workload, memory=True), ("train",)),
    "stream": Mode(streamed),
    "graph": Mode(graph),
    "dot": Mode(exported("dot")),
    "mermaid": Mode(exported("mermaid")),
    "json": Mode(exported("json")),
}
"""``recorded`` and ``backward`` are both a recorder as it is by default, around forward and around a training step."""
