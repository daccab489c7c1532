"""When a value is measured: after each write whoever did it, by the recording thread alone, and no more than that.

What is told is compared with what torch says of the tensor at that moment.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net, linear, same, x
from torch import Tensor, distributed, nn
from torch.utils._python_dispatch import TorchDispatchMode

import recorder.capture.tensor_stats
import recorder.capture.value_hooks
from recorder import Graph, Recorder
from recorder.capture.tensor_stats import Measures
from recorder.capture.value_hooks import ValueHooks
from recorder.events import Measured, NotFinite


def recorded(net: nn.Module, *inputs: Any, **options: Any) -> Graph:
    with Recorder(net, values="stats", **options) as r:
        net(*inputs)
    r.graph.lint()
    return r.graph


def means(graph: Graph, *names: str) -> list[float]:
    nodes = {node.name: node for node in graph.nodes}
    return [nodes[name].outputs[0].meta["stats"]["mean"] for name in names]


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads that have measured something, once for each tensor."""
    threads: list[int] = []
    original = Measures.measure

    def measure(self: Measures, tensor: Any) -> Any:
        threads.append(threading.get_ident())
        return original(self, tensor)

    monkeypatch.setattr(Measures, "measure", measure)
    return threads


def test_a_write_that_keeps_the_version_is_seen() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 0
        with torch.autograd._unsafe_preserve_version_counter(y):
            y.add_(3)
        return y

    assert means(recorded(Net(forward), x(2, 2)), "mul", "add_") == [0, 3]


@pytest.mark.parametrize("inference", [False, True])
def test_what_is_written_to_out_is_measured_again(inference: bool) -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        buffer = torch.zeros(2, 2)
        torch.add(x * 0, 3, out=buffer)
        return buffer

    with torch.inference_mode(inference):
        graph = recorded(Net(forward), x(2, 2))
    assert means(graph, "zeros", "add") == [0, 3]
    assert graph.outputs[0].meta["stats"]["mean"] == 3


def test_what_is_given_by_keyword_is_looked_at_before_the_call() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 0
        y[0].fill_(4)
        return torch.abs(input=y)

    (given,) = recorded(Net(forward), x(2, 2)).nodes[-1].inputs
    assert given.meta["stats"]["mean"] == 2


@pytest.mark.parametrize("inference", [False, True])
def test_writes_between_calls_are_seen_where_functions_are_not(inference: bool) -> None:
    net = linear()
    with torch.inference_mode(inference):
        batch = torch.zeros(2, 4)
        with Recorder(net, values="stats", functions=False) as r:
            net(batch)
            batch.fill_(float("nan"))
            net(batch)
    report = r.graph.value_report()
    assert (report.origin, report.given) == (None, ("input",))


def test_the_same_bits_as_another_dtype_are_measured_anew() -> None:
    net = Net(lambda net, x: (x * 1).view(torch.bfloat16))
    batch = torch.tensor([1.0, 2.0, 3.0, 4.0] * 2, dtype=torch.bfloat16).view(torch.float32)
    (node,) = [node for node in recorded(net, batch).nodes if node.op_type == "view"]
    truth = batch.view(torch.bfloat16).double()
    assert node.outputs[0].meta["stats"]["mean"] == pytest.approx(truth.mean().item())
    assert node.outputs[0].meta["stats"]["norm"] == pytest.approx(truth.norm().item())


def test_memory_that_a_resize_adds_is_not_measured() -> None:
    net = Net(lambda net, x: (x.new_empty(0).resize_(4), x.new_empty(0).resize_as_(x)))
    made = {n.op_type: n.outputs[0] for n in recorded(net, x(3)).nodes if n.op_type.startswith("resize")}
    assert sorted(made) == ["resize_", "resize_as_"]
    assert not any("stats" in value.meta for value in made.values())


def test_a_parameter_that_a_function_uses_has_no_statistics() -> None:
    net = Net(lambda net, x: F.linear(x, net.w) + net.b, w=nn.Parameter(x(4, 4)), b=x(4))
    graph = recorded(net, x(2, 4))
    assert sorted(value.name for value in graph.initializers) == ["b", "w"]
    assert not any("stats" in value.meta for value in graph.initializers)


@pytest.mark.parametrize("options", [{"gradients": "stats"}, {"gradients": "on", "source": True}, {"autograd": True}])
def test_functions_are_measured_beside_their_gradients(options: dict[str, Any]) -> None:
    net = Net(lambda net, x: (net.a(x).relu() * 2).sum(), a=linear())
    with Recorder(net, values="stats", **options) as r:
        net(batch := x(2, 4)).backward()
    truth = [torch.relu(net.a(batch)), 2 * torch.relu(net.a(batch))]
    expected = [tensor.mean().item() for tensor in (*truth, truth[1].sum())]
    assert means(r.graph, "relu", "mul", "sum") == pytest.approx(expected, abs=1e-6)


def test_only_the_recording_thread_measures(measuring: list[int]) -> None:
    other = nn.Sequential(linear(), nn.ReLU())

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        thread = threading.Thread(target=lambda: other(torch.ones(2, 4)))
        thread.start()
        thread.join()
        return net.a(x)  # type: ignore[no-any-return, operator]

    graph = recorded(Net(forward, a=linear()), x(2, 4))
    assert [node.name for node in graph.nodes] == ["a"]
    assert set(measuring) == {threading.get_ident()}


def test_each_tensor_is_measured_once(measuring: list[int]) -> None:
    recorded(nn.Sequential(linear(), linear(), nn.Identity()), x(2, 4))
    assert len(measuring) == 3  # the input, and two results


def test_steps_that_are_left_out_are_not_measured(measuring: list[int]) -> None:
    net, batch = Net(lambda net, x: net.a(x).relu() * 2, a=linear()), x(2, 4)
    counts = []
    with Recorder(net, values="stats", every=2):
        for _ in range(4):
            before = len(measuring)
            net(batch)
            counts.append(len(measuring) - before)
    assert counts[0] >= 3
    assert (counts[1], counts[3]) == (0, 0)


def test_what_is_gone_is_forgotten_and_what_is_alive_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.capture.value_hooks, "_CROWD", 10)
    net = Net(lambda net, x: net.a(x) * 2, a=linear())
    with Recorder(net, values="stats") as r:
        kept = [net(x(2, 4)) for _ in range(20)]
        hooks = r._session.capture.watchers.values
        assert isinstance(hooks, ValueHooks)
        for _ in range(200):
            net(x(2, 4))
        assert all(id(tensor) in hooks._seen for tensor in kept)
        assert len(hooks._seen) < 150
        assert hooks._crowded >= len(kept)  # else every call would look through all of them
    assert len([event for event in r.events if isinstance(event, Measured)]) >= 3 * 220


@pytest.mark.parametrize("context", [nullcontext, torch.inference_mode])
def test_the_run_is_the_same(context: Any) -> None:
    net = Net(lambda net, x: net.a(x).add_(1).mul(other=x), a=linear())
    with context():
        plain = net(batch := x(2, 4))
        with Recorder(net, values="stats"):
            assert same(net(batch), plain)


def test_lists_of_what_is_given_are_looked_into() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 0
        y[0].fill_(4)
        return torch.cat([y, x])

    given, _ = recorded(Net(forward), x(2, 2)).nodes[-1].inputs
    assert given.meta["stats"]["mean"] == 2


def test_what_is_no_part_of_the_recording_is_not_measured(measuring: list[int]) -> None:
    net = linear()
    with Recorder(net, values="stats") as r:
        net(x(2, 4))
        before = len(measuring)
        other = torch.ones(3) * 2
        nn.functional.relu(other.sum())
        assert len(measuring) == before
    assert [node.name for node in r.graph.nodes] == ["Linear"]


@pytest.mark.parametrize("where", ["_made", "_met", "look"])
def test_whatever_of_ours_fails_is_told(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("planted")

    net = nn.Sequential(linear(), nn.ReLU())
    plain = net(batch := x(2, 4))
    monkeypatch.setattr(ValueHooks, where, fail)
    with pytest.warns(RuntimeWarning, match="planted"), Recorder(net, values="stats", functions=False):
        assert same(net(batch), plain)


def test_a_lazy_layer_that_overflows_in_its_first_call_is_named() -> None:
    net = nn.Sequential(nn.LazyLinear(4, dtype=torch.float16))
    net[0].register_forward_pre_hook(lambda layer, args: (layer.weight.data.fill_(100), None)[1])
    report = recorded(net, torch.full((1, 4), 1000, dtype=torch.float16)).value_report()
    assert report.origin is not None
    assert report.origin.name == "0"


@contextmanager
def one_rank() -> Iterator[None]:
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@pytest.mark.filterwarnings("ignore:not followed in this recording. torch.distributed")  # below torch 2.14
def test_what_a_collective_writes_is_measured_when_it_is_used(measuring: list[int]) -> None:
    """It may go on after the call has returned, and to measure it would be to wait for it, or to race."""
    counts: list[int] = []

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 1
        counts.append(len(measuring))
        work = distributed.all_reduce(y, async_op=True)
        counts.append(len(measuring))
        assert work is not None
        work.wait()
        z = y * 2
        counts.append(len(measuring))
        return z

    with one_rank():
        graph = recorded(Net(forward), batch := x(2, 4))
    assert [node.op_type for node in graph.nodes] == ["mul", "all_reduce", "mul"]
    assert (counts[1] - counts[0], counts[2] - counts[1]) == (0, 2)  # the second time it is y that is used, and z
    assert graph.nodes[-1].inputs[0].meta["stats"]["mean"] == pytest.approx(batch.mean().item(), abs=1e-6)


def test_parameters_that_functions_are_given_are_not_measured(measuring: list[int]) -> None:
    net = Net(lambda net, x: F.linear(x, net.w, net.b), w=nn.Parameter(x(4, 4)), b=x(4))
    recorded(net, x(2, 4))
    assert len(measuring) == 2  # the input, and the result


def test_what_only_stands_in_another_order_is_not_measured_again(measuring: list[int]) -> None:
    net = Net(lambda net, x: (x * 1).view(-1).unsqueeze(0).t().clone() * 2)
    graph = recorded(net, x(2, 4))
    assert len(measuring) == 3  # the input, and two products
    assert all("stats" in node.outputs[0].meta for node in graph.nodes)


@pytest.mark.parametrize("functions", [True, False])
def test_each_of_several_results_has_its_own(functions: bool) -> None:
    net, batch = nn.Sequential(nn.LSTM(4, 3), Net(lambda net, made: (*made[0].chunk(3), made[1][0]))), x(3, 2, 4)
    with torch.no_grad():
        made, (hidden, cell) = net[0](batch)
        graph = recorded(net, batch, functions=functions)
    lstm = graph.nodes[0]
    told = [value.meta["stats"]["mean"] for value in lstm.outputs]
    assert told == pytest.approx([t.mean().item() for t in (made, hidden, cell)], abs=1e-6)
    if functions:
        told = [value.meta["stats"]["mean"] for value in graph.nodes[1].outputs]
        assert told == pytest.approx([t.mean().item() for t in made.chunk(3)], abs=1e-6)


def test_floats_of_eight_bits_are_measured() -> None:
    batch = x(4, 4).to(torch.float8_e4m3fn)
    stats = recorded(Net(lambda net, x: x.clone()), batch).nodes[0].outputs[0].meta["stats"]
    truth = batch.double()
    assert stats["norm"] == pytest.approx(truth.norm().item())
    assert stats["largest"] == truth.abs().max().item()


def test_measures_that_wait_are_read_once_however_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a device: there the numbers are put together by the thousand."""
    monkeypatch.setattr(recorder.capture.tensor_stats, "_numbers_of_finite", lambda *_: None)
    monkeypatch.setattr(recorder.capture.tensor_stats, "_MANY", 3)
    measures = Measures(mean=True)
    tensors = [torch.full((2,), float(number)) for number in range(10)]
    told = [measures.measure(tensor) for tensor in tensors]
    assert all(one is not None and one.mean() is None for one in told)
    measures.read()
    assert [one.mean() for one in told if one is not None] == list(range(10))
    for one in told:
        assert one is not None
        one.row = None
    measures.read()
    assert [one.row for one in told if one is not None] == [None] * 10


def test_nothing_is_told_of_what_a_transform_wraps() -> None:
    inside: list[Any] = []

    def square(x: Tensor) -> Tensor:
        inside.append(Measures().measure(x))
        return (x * x).log().sum()

    net = Net(lambda net, x: torch.func.grad(square)(x))
    graph = recorded(net, batch := x(4).abs() + 1)
    assert torch.allclose(net(batch), 2 / batch)
    assert inside == [None, None]
    assert graph.value_report().ok


class Seeing(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("bad", [0.0, float("inf")])
def test_a_mode_of_the_users_sees_nothing_of_it(bad: float) -> None:
    net, batch, seen = Net(lambda net, x: net.a(x) * 2, a=linear()), x(2, 4) + bad, []
    for values in (None, "stats"):
        with Seeing() as mode, Recorder(net, values=values):  # type: ignore[arg-type]
            net(batch)
        seen.append(mode.seen)
    assert seen[0] == seen[1]
    assert seen[0]


def test_what_modules_hold_is_told_when_it_has_changed() -> None:
    net = nn.Sequential(linear(), linear())
    with Recorder(net, values="stats") as r:
        for number in range(6):
            if number in (2, 4):
                net[0].weight.data.fill_(float("nan") if number == 2 else 1)
            net(x(2, 4))
    told = [event for event in r.events if isinstance(event, NotFinite)]
    assert [len(event.nan) for event in told] == [1, 0]


@pytest.mark.filterwarnings("ignore:not followed in this recording. torch.distributed")  # below torch 2.14
def test_of_what_was_written_and_not_measured_nothing_is_told() -> None:
    with one_rank(), Recorder(net := linear(), values="stats") as r, torch.no_grad():
        made = net(x(2, 4))
        distributed.all_reduce(made)
    first, last = r.graph.nodes
    assert "stats" in first.outputs[0].meta
    assert (last.op_type, "stats" in last.outputs[0].meta) == ("all_reduce", False)


def test_a_tensor_beside_one_that_was_made_unseen_is_told_by_its_own_place() -> None:
    """What functions made of two tensors stands for both of them, where functions are not recorded."""
    net = Net(lambda net, x, y: net.two(net.a(x) * net.b(x), y), a=linear(), b=linear(), two=nn.Bilinear(4, 4, 2))
    still = torch.ones(2, 4)
    with Recorder(net, values="stats", functions=False) as r:
        net(x(2, 4), still)
        still.fill_(float("nan"))
        net(x(2, 4), still)
    (node,) = [node for node in r.graph.nodes if node.name == "two#1"]
    assert [node.inputs[int(at)].name for at, content in node.meta["given"].items() if content == "nan"] == ["input_1"]
    assert r.graph.value_report().given == ("input_1",)
