"""What is measured of values: torch itself says the same of clones, and nobody notices that they were looked at."""

import gc
import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import pytest
import torch
from support.models import Net, linear, same, x
from support.zoo import ZOO
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils.checkpoint import checkpoint

import recorder.capture.tensor_stats
from recorder import EventStream, Graph, Recorder, assemble, dumps, loads
from recorder.capture.describe import name_function
from recorder.capture.tensor_facts import outputs_of
from recorder.events import Measured, NotFinite
from recorder.graph.core import Value

NAN, INF = float("nan"), float("inf")


def stats_of(graph: Graph, node: str, output: int = 0) -> dict[str, Any]:
    (found,) = [n for n in graph.nodes if n.name == node]
    stats: dict[str, Any] = found.outputs[output].meta["stats"]
    return stats


def by_torch(tensor: Tensor) -> dict[str, Any]:
    """The same, computed in another way."""
    whole = tensor.detach().abs() if tensor.is_complex() else tensor.detach()
    finite = whole[whole.isfinite()].double()
    return {
        "norm": finite.pow(2).sum().sqrt().item(),
        "largest": finite.abs().max().item() if len(finite) else 0.0,
        "mean": finite.mean().item() if len(finite) else 0.0,
        "nan": int(whole.isnan().sum()),
        "inf": int(whole.isinf().sum()),
        "zeros": (whole == 0).double().mean().item(),
    }


class Keeping(TorchFunctionMode):
    """Keeps a clone of everything that calls make, but for what happens inside of torch's own layers."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[tuple[str, list[Tensor]]] = []
        self.inside = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if not self.inside:
            self.keep(name_function(func)[0], outputs_of(func, args, kwargs, result))
        return result

    def keep(self, name: str, made: list[Tensor]) -> None:
        if made:
            self.kept.append((name, [tensor.detach().clone() for tensor in made]))

    @contextmanager
    def around(self, net: nn.Module) -> Iterator[None]:
        handles = []
        for part in net.modules():
            torchs = type(part).__module__.startswith("torch.nn.")
            if torchs and (not part._modules or isinstance(part, nn.MultiheadAttention)):
                handles.append(part.register_forward_pre_hook(self._enter))
                handles.append(part.register_forward_hook(self._leave))
        with self:
            yield
        for handle in handles:
            handle.remove()

    def _enter(self, *_: Any) -> None:
        self.inside += 1

    def _leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self.inside -= 1
        with torch._C.DisableTorchFunction():
            self.keep(type(module).__name__, outputs_of(None, (), None, output))


def floating(value: Value) -> bool:
    return value.dtype.startswith(("float", "bfloat", "complex"))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("name", ["bert", "t5", "resnet18", "mobilenet_v3_small", "lstm", "vit"])
def test_statistics_are_those_of_the_tensors(name: str, training: bool) -> None:
    torch.manual_seed(0)
    net, batch, keeping = ZOO[name].make().train(training), ZOO[name].batch(), Keeping()
    with torch.set_grad_enabled(training), keeping.around(net), Recorder(net, values="stats") as r:
        net(**batch)
    nodes = [node for node in r.graph.nodes if node.kind == "function" or node.target.startswith("torch.nn.")]
    loss = {"CrossEntropyLoss": "cross_entropy"}  # a layer that the model makes when it needs it
    assert [kind for kind, _ in keeping.kept] == [loss.get(node.op_type, node.op_type) for node in nodes]
    compared = 0
    for node, (_, made) in zip(nodes, keeping.kept, strict=True):
        clones = list({id(tensor): tensor for tensor in made}.values())
        for value, clone in zip(node.outputs, clones):
            if floating(value) and value.meta.get("stats"):
                compared += 1
                assert value.meta["stats"] == pytest.approx(by_torch(clone), rel=1e-5, abs=1e-9), value.name
    assert compared > 0.6 * len(nodes)


def test_every_value_of_a_model_has_statistics() -> None:
    net = ZOO["bert"].make().eval()
    with torch.no_grad(), Recorder(net, values="stats") as r:
        net(**ZOO["bert"].batch())
    made = [value for node in r.graph.nodes for value in node.outputs if floating(value)]
    assert len(made) > 20
    assert [value.name for value in made if "stats" not in value.meta] == []
    assert not any("stats" in value.meta for value in r.graph.initializers)
    assert r.graph.meta["values"] == "stats"


@pytest.mark.parametrize("ask_the_device", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64])
def test_the_numbers_of_a_value(dtype: torch.dtype, ask_the_device: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if ask_the_device:  # as where reading a number would wait
        monkeypatch.setattr(recorder.capture.tensor_stats, "_numbers_of_finite", lambda *_: None)
    net = Net(lambda net, x: x.clone())
    for given in ([3.0, 0.0, -4.0, 0.0, NAN, INF, -INF, 0.0], [1.0, 2.0, -4.0, 0.0], [NAN, NAN], [-0.0, 0.0]):
        tensor = torch.tensor(given).to(dtype)
        with Recorder(net, values="stats") as r:
            net(tensor)
        assert stats_of(r.graph, "clone") == pytest.approx(by_torch(tensor))
        assert r.graph.inputs[0].meta["stats"] == stats_of(r.graph, "clone")


def test_numbers_are_finite_whatever_was_measured() -> None:
    net = Net(lambda net, x: x * 1)
    with Recorder(net, values="stats") as r:
        net(torch.full((4,), 1e308, dtype=torch.float64))
    stats = stats_of(r.graph, "mul")
    assert all(math.isfinite(number) for number in stats.values())
    assert stats["largest"] == 1e308
    assert loads(dumps(r.graph)) == r.graph


def test_what_is_written_in_place_is_measured_after_the_write() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 2
        y.add_(1)
        y[0].fill_(5)
        torch.relu_(y)
        return y

    with Recorder(net := Net(forward), values="stats") as r:
        net(torch.zeros(2, 2))
    assert [stats_of(r.graph, name)["mean"] for name in ("mul", "add_", "fill_", "relu_")] == [0, 1, 5, 3]
    given = r.graph.nodes[-1].inputs[0]  # made by the write through a view
    assert given.producer is not None
    assert given.producer.name == "fill_"
    assert given.meta["stats"]["mean"] == 3


def test_a_base_that_was_written_through_a_view_and_is_returned_is_measured() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = x * 2
        y[0].fill_(5)
        return y

    with torch.inference_mode(), Recorder(net := Net(forward), values="stats") as r:
        net(torch.ones(2, 2))
    assert r.graph.outputs[0].meta["stats"]["mean"] == 3.5
    with Recorder(net, values="stats") as r:
        net(torch.ones(2, 2))
    assert r.graph.outputs[0].meta["stats"]["mean"] == 3.5


def test_a_tensor_that_is_handed_on_says_the_same_again() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Identity(), Net(lambda net, x: x), nn.Dropout()).eval()
    with Recorder(net, values="stats") as r:
        net(x(2, 4))
    found = [node.outputs[0].meta["stats"] for node in r.graph.nodes]
    assert len(found) == 4
    assert found == [found[0]] * 4


def test_integers_and_what_nobody_initialized_are_not_measured() -> None:
    def forward(net: nn.Module, x: Tensor) -> Any:
        return x.argmax(), torch.empty(3), x.new_empty(3), torch.empty_like(x), x.to(torch.bool), x[:0]

    with Recorder(net := Net(forward), values="stats") as r:
        net(x(4))
    assert [node.name for node in r.graph.nodes if "stats" in node.outputs[0].meta] == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.eye(3).to_sparse(),
        lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8),
        lambda: torch.ones(3, device="meta"),
        lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_kinds_that_mean_something_else_by_their_elements_are_not_measured(make: Any) -> None:
    with Recorder(net := Net(lambda net, x: x.clone()), values="stats") as r:
        net(make())
    assert "stats" not in r.graph.nodes[0].outputs[0].meta
    assert r.graph.value_report().origin is None


@pytest.mark.filterwarnings("ignore:`torch.jit.trace")
def test_nothing_is_measured_inside_a_transform_or_a_trace() -> None:
    def square(x: Tensor) -> Tensor:
        return (x * x).log().sum()

    net = Net(lambda net, x: torch.func.vmap(torch.func.grad(square))(x))
    with Recorder(net, values="stats") as r:
        made = net(batch := x(3, 4))
    assert torch.allclose(made, 2 / batch)
    assert r.graph.value_report().ok
    with Recorder(net := Net(lambda net, x: net.a(x).exp(), a=linear()), values="stats") as r:
        traced = torch.jit.trace(net, x(2, 4), check_trace=False)
    assert "aminmax" not in str(traced.graph)
    assert "norm" not in str(traced.graph)


def test_what_a_recomputed_call_makes_is_not_told_of_the_call() -> None:
    inner = nn.Sequential(linear(), nn.ReLU())
    net = Net(lambda net, x: checkpoint(net.inner, x, use_reentrant=False).sum(), inner=inner)
    with Recorder(net, values="stats") as r:
        net(batch := x(2, 4)).backward()
    assert stats_of(r.graph, "inner.1")["norm"] == pytest.approx(inner(batch).norm().item())
    assert r.graph.value_report().ok


def test_the_graph_is_the_same_but_for_what_was_measured() -> None:
    for name in ("t5", "gpt2", "resnet18"):
        net, batch = ZOO[name].make().eval(), ZOO[name].batch()
        graphs = []
        for values in (None, "stats"):
            with torch.no_grad(), Recorder(net, values=values) as r:  # type: ignore[arg-type]
                net(**batch)
            graph = r.graph
            graph.meta.pop("values", None)
            for value in graph.values():
                value.meta.pop("stats", None)
            for node in graph.nodes:
                node.meta.pop("given", None)
            graphs.append(graph)
        assert graphs[0] == graphs[1]


@pytest.mark.parametrize("options", [{}, {"functions": False}, {"autograd": True, "gradients": "stats"}])
def test_the_run_is_the_same_to_the_bit(options: dict[str, Any]) -> None:
    for name in ("bert", "mobilenet_v3_small", "lstm", "transformer"):
        net, runs = ZOO[name].make().train(), []
        for values in (None, "stats"):
            torch.manual_seed(1)
            batch = ZOO[name].batch()
            net.zero_grad(set_to_none=True)
            with Recorder(net, values=values, source=values is not None, **options):  # type: ignore[arg-type]
                made = net(**batch)
                loss = sum(t.sum() for t in outputs_of(None, (), None, made) if t.is_floating_point())
                assert isinstance(loss, Tensor)
                loss.backward()  # type: ignore[no-untyped-call]
            versions = [t._version for t in (*batch.values(), *net.parameters(), loss)]
            grads = [p.grad for p in net.parameters() if p.grad is not None]
            runs.append((outputs_of(None, (), None, made), grads, torch.random.get_rng_state(), versions))
        assert same(runs[0], runs[1])


def test_autocast_and_inference_mode_are_as_they_were() -> None:
    net = Net(lambda net, x: net.b(net.a(x).exp()), a=linear(), b=linear())
    batch = x(2, 4)
    for context in (torch.autocast("cpu", torch.bfloat16), torch.inference_mode()):
        with context:
            plain = net(batch)
            with Recorder(net, values="stats") as r:
                recorded = net(batch)
                again = net(batch)
        assert same(plain, recorded)
        assert same(plain, again)
        assert r.graph.value_report().ok
        assert all("stats" in node.outputs[0].meta for node in r.graph.nodes)


def test_no_tensor_is_kept_alive() -> None:
    kept: list[ref[Any]] = []

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        y = net.a(x)
        kept.extend((ref(y), ref(z := y * 2)))
        return z.sum()

    gc.disable()
    try:
        with Recorder(net := Net(forward, a=linear()), values="stats") as r:
            net(x(2, 4))
            assert [reference() for reference in kept] == [None, None]
        assert len(r.graph.nodes) == 3
    finally:
        gc.enable()


def test_hooks_and_modes_are_gone_afterwards_and_nobody_else_pays() -> None:
    before = nn.modules.module._global_forward_hooks.copy(), nn.modules.module._global_forward_pre_hooks.copy()
    with Recorder(net := linear(), values="stats") as r:
        assert len(nn.modules.module._global_forward_pre_hooks) == len(before[1]) + 2
        net(x(2, 4))
    assert (nn.modules.module._global_forward_hooks, nn.modules.module._global_forward_pre_hooks) == before
    assert torch.overrides._get_current_function_mode_stack() == []
    with Recorder(net) as plain:
        assert len(nn.modules.module._global_forward_pre_hooks) == len(before[1]) + 1
        assert plain._session.capture._append == plain._session.capture.log.extend
        assert type(plain._session.capture._mode).__name__ == "Recording"
        net(x(2, 4))
    assert not any(isinstance(event, Measured | NotFinite) for event in plain.events)
    assert any(isinstance(event, Measured) for event in r.events)


def test_nested_recorders_and_threads_measure_what_is_theirs() -> None:
    outer = Net(lambda net, x: net.a(x) * 2, a=linear())
    with Recorder(outer, values="stats") as one, Recorder(outer, values="stats") as other:
        outer(x(2, 4))
    assert one.graph == other.graph
    assert all("stats" in node.outputs[0].meta for node in one.graph.nodes)
    with Recorder(outer, values="stats") as r:
        thread = threading.Thread(target=lambda: outer(x(2, 4) * NAN))
        thread.start()
        thread.join()
        outer(x(2, 4))
    assert len(r.graph.nodes) == 2
    assert r.graph.value_report().ok


@pytest.mark.parametrize(
    "options", [{"every": 2}, {"keep": 1}, {"stream": True}, {"functions": False}, {"source": True}]
)
def test_each_way_to_record_has_statistics(options: dict[str, Any], tmp_path: Any) -> None:
    if "stream" in options:
        options = {"stream": tmp_path / "run.jsonl"}
    net = Net(lambda net, x: net.b(net.a(x).relu()), a=linear(), b=linear())
    with Recorder(net, values="stats", **options) as r:
        for _ in range(3):
            net(x(2, 4)).sum().backward()
    graph = r.graph
    graph.lint()
    made = [node for node in graph.nodes if node.kind == "module"]
    assert len(made) == {"every": 4, "keep": 2}.get(next(iter(options)), 6)
    assert all("stats" in node.outputs[0].meta for node in graph.nodes)
    stream = EventStream.load(r.events.save(tmp_path / "saved.jsonl"))
    assert assemble(stream) == graph
    assert loads(dumps(graph)) == graph
    for part in r.graphs:
        assert part.value_report().ok
        assert all("stats" in node.outputs[0].meta for node in part.nodes)


def test_an_option_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="values='all': it is one of None, 'stats', 'digest'"):
        Recorder(linear(), values="all")  # type: ignore[arg-type]


def test_an_error_of_ours_is_told_and_harms_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("planted")

    monkeypatch.setattr(recorder.capture.tensor_stats.Measures, "measure", fail)
    net = Net(lambda net, x: net.a(x) * 2, a=linear())
    plain = net(batch := x(2, 4))
    with pytest.warns(RuntimeWarning, match="planted"), Recorder(net, values="stats") as r:
        recorded = net(batch)
    assert same(plain, recorded)
    assert [node.name for node in r.graph.nodes] == ["a", "mul"]


@pytest.mark.parametrize("scale", [1e200, 1e-200, 1.0])
def test_a_norm_whose_squares_float64_does_not_hold_is_the_norm_all_the_same(scale: float) -> None:
    plain = torch.randn(4, 4, dtype=torch.float64)
    net = Net(lambda net, x: x * scale)
    with Recorder(net, values="stats") as r:
        net(plain)
    (node,) = r.graph.nodes
    assert node.outputs[0].meta["stats"]["norm"] == pytest.approx(plain.norm().item() * scale)
