"""Recording beside the bare model and beside hooks that do nothing, in interleaved rounds."""

import statistics
from collections.abc import Callable, Sequence
from time import perf_counter_ns
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn

from recorder import Recorder

__all__ = ["MODELS", "MODES", "Result", "measure"]

Run = Callable[[], object]


class Chain(nn.Module):
    """Nothing but overhead: linear layers of eight, each with a relu and an addition."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(length))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.relu(layer(x)) + x
        return x


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "chain500": (lambda: Chain(500), (4, 8)),
    "mobilenet_v3_small": (torchvision.models.mobilenet_v3_small, (1, 3, 64, 64)),
    "resnet50": (torchvision.models.resnet50, (1, 3, 64, 64)),
    "chain5": (lambda: Chain(5), (4, 8)),
}
"""How to make each model, and the shape of its input."""


def hooked(net: nn.Module, run: Run) -> object:
    """With an empty forward hook on every module: the floor for anything that hooks modules."""
    handles = [module.register_forward_hook(lambda *_: None) for module in net.modules()]
    try:
        return run()
    finally:
        for handle in handles:
            handle.remove()


def modules(net: nn.Module, run: Run) -> object:
    """Modules alone are recorded."""
    with Recorder(net, functions=False):
        return run()


def recorded(net: nn.Module, run: Run) -> object:
    """As by default."""
    with Recorder(net):
        return run()


def graph(net: nn.Module, run: Run) -> object:
    """Recorded, decoded and assembled."""
    with Recorder(net) as r:
        run()
    return r.graph


MODES: dict[str, Callable[[nn.Module, Run], object]] = {
    "hooks": hooked,
    "modules": modules,
    "recorded": recorded,
    "graph": graph,
}


class Result(NamedTuple):
    """``bare_ms`` is the median time of the unrecorded run, ``ratios`` the medians of the others divided by it,
    ``spread`` half the distance between their quartiles, divided likewise.
    """

    bare_ms: float
    ratios: dict[str, float]
    spread: dict[str, float]


def measure(name: str, modes: Sequence[str], rounds: int, train: bool) -> Result:
    """Time a model in each mode, round by round, so that a slow moment of the machine hits all alike."""
    make, shape = MODELS[name]
    torch.manual_seed(0)
    net, x = make().train(train), torch.randn(2 if train else shape[0], *shape[1:])

    def run() -> object:
        if not train:
            with torch.no_grad():
                return net(x)
        net.zero_grad()
        return net(x).sum().backward()

    times: dict[str, list[int]] = {mode: [] for mode in ("bare", *modes)}
    for number in range(rounds + 1):
        for mode, taken in times.items():
            start = perf_counter_ns()
            run() if mode == "bare" else MODES[mode](net, run)
            if number:  # the first round warms up
                taken.append(perf_counter_ns() - start)
    bare = statistics.median(times.pop("bare"))
    spread = {mode: _quartiles(taken) / 2 / bare for mode, taken in times.items()}
    return Result(bare / 1e6, {mode: statistics.median(taken) / bare for mode, taken in times.items()}, spread)


def _quartiles(taken: list[int]) -> float:
    if len(taken) < 2:
        return 0.0
    low, _, high = statistics.quantiles(taken, n=4)
    return high - low
