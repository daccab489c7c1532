"""The report on memory: its peak against torch's profiler, its advice against what checkpoints save, its words."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
import torchvision
from support.memory import needs_memory
from support.models import Net, linear, tensors, x
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker, _ModState
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint
from transformers import GPT2Config, GPT2LMHeadModel

import recorder
from recorder import Graph, GraphError, Recorder
from recorder.events import Enter, Leave, Module, Op

pytestmark = needs_memory


class Layer(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = (
            nn.LayerNorm(width),
            nn.Linear(width, 4 * width),
            nn.Linear(4 * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(torch.nn.functional.gelu(self.wide(self.norm(x))))


class Stack(nn.Module):
    """Layers, each of which is a checkpoint if its name is among ``checkpointed``."""

    def __init__(self, width: int = 64, *, checkpointed: Any = ()) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(width) for _ in range(5))
        self.head = nn.Linear(width, 10)
        self.checkpointed = set(checkpointed)

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            if f"layers.{number}" in self.checkpointed:
                x = checkpoint(layer, x, use_reentrant=False)
            else:
                x = layer(x)
        return self.head(x.flatten(0, 1)).pow(2).mean()


def recorded(net: nn.Module, *given: Any) -> Graph:
    with Recorder(net, memory=True) as r:
        net(*given).backward()
    return r.graph


def profiled(net: nn.Module, *given: Tensor) -> int:
    """The peak of a step by torch's profiler, which sees every allocation, with what was there before."""
    before = {
        t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in (*net.parameters(), *net.buffers(), *given)
    }
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        net(*given).backward()
    now = highest = 0
    for event in profiler.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            highest = max(highest, now)
    net.zero_grad()
    return highest + sum(before.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: Stack(), (8, 32, 64)),
        (lambda: nn.Sequential(torchvision.models.resnet18(), Net(lambda _, t: t.pow(2).mean())), (4, 3, 96, 96)),
    ],
    ids=["transformer", "resnet18"],
)  # fmt: skip
def test_the_peak_is_what_the_profiler_says(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    net, given = make(), torch.randn(shape)
    witness = profiled(net, given)
    report = recorded(net, given).memory_report()
    assert 0.9 * witness <= report.peak_bytes <= 1.02 * witness
    assert report.peak_phase == "backward"
    assert report.peak_at is not None
    assert sum(report.at_peak.values()) == report.peak_bytes == max(moment.total for moment in report.timeline)


def _gpt2() -> tuple[nn.Module, Tensor]:
    config = GPT2Config(n_layer=2, n_embd=32, n_head=2, vocab_size=100, use_cache=False)
    return GPT2LMHeadModel(config), torch.randint(0, 100, (2, 16))


TRACKED: dict[str, Callable[[], tuple[nn.Module, Tensor]]] = {
    "resnet18": lambda: (torchvision.models.resnet18(num_classes=8), torch.randn(2, 3, 64, 64)),
    "mobilenet_v3_small": lambda: (torchvision.models.mobilenet_v3_small(num_classes=8), torch.randn(2, 3, 64, 64)),
    "gpt2": _gpt2,
}


@pytest.mark.slow
@pytest.mark.parametrize("fake", [True, False], ids=["fake tensors", "numbers"])
@pytest.mark.parametrize("name", TRACKED)
def test_the_peak_is_what_torchs_own_tracker_says(name: str, fake: bool) -> None:
    """Private to torch, a dispatch mode that sees every operator. It does not count what it did not see made, as the
    batch; what an optimizer needs while it steps it takes for its state.
    """

    def prepared() -> tuple[nn.Module, Tensor, torch.optim.Optimizer]:
        torch.manual_seed(0)
        net, batch = TRACKED[name]()
        return net, batch, torch.optim.Adam(net.parameters())

    def step(net: nn.Module, batch: Tensor, optimizer: torch.optim.Optimizer) -> None:
        outputs = tensors(net(batch))
        outputs[0].float().pow(2).mean().backward()
        del outputs
        optimizer.step()

    with FakeTensorMode() if fake else nullcontext():
        net, batch, optimizer = prepared()
        tracker = MemTracker()
        tracker.track_external(net, optimizer)
        with tracker:
            step(net, batch, optimizer)
        net, batch, optimizer = prepared()
        with Recorder(net, memory=True) as r:
            step(net, batch, optimizer)
    (snapshot,) = tracker.get_tracker_snapshot("peak").values()
    witness = {getattr(kind, "value", kind): size for kind, size in snapshot.items()}
    report = r.graph.memory_report()
    given = batch.untyped_storage().nbytes()
    assert report.peak_phase == "optimizer"
    assert report.peak_bytes - given == pytest.approx(witness["Total"], rel=0.002)
    assert report.at_peak["parameters"] == witness["Parameter"]
    assert report.at_peak["buffers"] == witness["Buffer"]
    assert report.at_peak["gradients"] == witness["Gradient"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACKED)
def test_after_each_module_there_is_what_torchs_own_tracker_says(name: str) -> None:
    """In forward, module by module. What is freed when a function returns has no moment of its own in a recording:
    after a layer the most counts that was there, after a module with an inside what was there last.
    """

    def run(net: nn.Module, batch: Tensor) -> None:
        outputs = tensors(net(batch))
        outputs[0].float().pow(2).mean().backward()

    with FakeTensorMode():
        torch.manual_seed(0)
        net, batch = TRACKED[name]()
        tracker = MemTracker()
        tracker.track_external(net)
        with tracker:
            run(net, batch)
        torch.manual_seed(0)
        twin, batch = TRACKED[name]()
        with Recorder(twin, memory=True) as r:
            run(twin, batch)
    witness = {
        stats.mod_fqn.partition(".")[2]: [next(iter(snapshot.values()))["Total"] for snapshot in snapshots]
        for stats in tracker.memory_tracking.values()
        if (snapshots := stats.snapshots.get(_ModState.POST_FW))
    }
    timeline = r.graph.memory_report().timeline
    times = [moment.ns for moment in timeline]
    modules: dict[int, str] = {}
    calls: dict[int, int] = {}
    found: dict[str, list[int]] = defaultdict(list)
    for event in r.events:
        if isinstance(event, Module):
            modules[event.module] = event.fqn
        elif isinstance(event, Enter):
            calls[event.call] = event.module
        elif isinstance(event, Leave):
            found[modules[calls[event.call]]].append(timeline[bisect_right(times, event.stop_ns) - 1].total)
        elif isinstance(event, Op) and event.module is not None:
            last = times[bisect_right(times, event.stop_ns) - 1]
            found[modules[event.module]].append(max(m.total for m in timeline if m.ns == last))
    given = batch.untyped_storage().nbytes()  # which the tracker did not see made
    away = {found[fqn][i] - size for fqn, sizes in witness.items() for i, size in enumerate(sizes)}
    assert len(witness) > 20
    assert away in ({0}, {given}), name


def test_the_advice_saves_what_it_says() -> None:
    given = torch.randn(4, 16, 64)
    plain = recorded(Stack(), given).memory_report()
    (advice,) = plain.advice
    names = [scope.name for scope in advice.scopes]
    assert names == [f"layers.{n}" for n in range(5)]
    followed = recorded(Stack(checkpointed=names), given).memory_report()
    assert plain.by_kind["saved"] - followed.by_kind["saved"] == advice.bytes > 0
    assert followed.peak_bytes < plain.peak_bytes
    assert followed.advice == ()


def test_what_it_costs_is_one_forward_more_of_these() -> None:
    net, given = Stack(), torch.randn(4, 16, 64)
    graph = recorded(net, given)
    (advice,) = graph.memory_report().advice
    linears = 2 * 2 * 4 * 16 * 64 * 256 * 5  # two matrix products of 64 by 256 for each of 64 rows, in five layers
    assert advice.flops == linears
    assert advice.share == pytest.approx(linears / (linears + 2 * 64 * 64 * 10))


def test_places_add_up() -> None:
    graph = recorded(Stack(), torch.randn(4, 16, 64))
    report = graph.memory_report()
    root = graph.scopes[0]
    assert report.by_place[root] == report.by_kind["saved"]
    nodes = sum(n for place, n in report.by_place.items() if isinstance(place, recorder.Node))
    assert nodes == sum(keeper.bytes * keeper.calls for keeper in report.keepers) == report.by_kind["saved"]
    assert {scope.name: report.by_place[scope] for scope in graph.scopes}["layers.3"] == report.by_place[
        next(scope for scope in graph.scopes if scope.name == "layers.2")
    ]


def test_it_reads_like_this() -> None:
    text = str(recorded(Stack(), torch.randn(4, 16, 64)).memory_report())
    lines = text.splitlines()
    assert lines[0].startswith("peak ")
    assert "reached in backward of layers.4" in lines[0]
    assert "kept for backward" in lines[0]
    assert "  layers.*.narrow  65.5 kB × 5" in lines
    assert any(line.startswith("  checkpoint each of the 5 Layer, layers.0 … layers.4: keeps ") for line in lines)


def test_a_document_has_it_all() -> None:
    graph = recorded(Stack(), torch.randn(4, 16, 64))
    again = recorder.loads(recorder.dumps(graph))
    report = again.memory_report()
    assert str(report) == str(graph.memory_report())


@pytest.mark.parametrize(
    "told", [{"timeline": [[0, None, "sideways", 1, 1, 1, 1, 1, 1]]}, {"kept": [{"bytes": -5, "by": []}]}, {"kept": 3}]
)
def test_a_document_that_tells_something_else_is_refused(told: dict[str, Any]) -> None:
    graph = recorded(Stack(), torch.randn(4, 16, 64))
    graph.meta["memory"] |= told
    with pytest.raises(GraphError, match="memory"):
        recorder.loads(recorder.dumps(graph))


def test_a_folded_view_tells_of_the_whole() -> None:
    graph = recorded(Stack(), torch.randn(4, 16, 64))
    assert str(recorder.fold(graph).memory_report()) == str(graph.memory_report())


def test_evaluation_keeps_nothing() -> None:
    net = nn.Sequential(linear(), nn.ReLU())
    with torch.no_grad(), Recorder(net, memory=True) as r:
        net(x())
    report = r.graph.memory_report()
    assert report.by_kind["saved"] == 0
    assert report.unknown == ("what backward would keep: nothing was recorded that requires a gradient",)
    assert report.peak_phase == "forward"
