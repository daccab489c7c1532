"""What one kernel computes for many examples is counted, and where more was computed than was recorded, sums say so."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Net, linear, x
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.utils.flop_counter import FlopCounterMode

import recorder
from recorder import EventStream, Graph, Recorder, assemble
from recorder.analysis.metrics import measured
from recorder.figures import FIGURES
from recorder.summary import Summary


def counted(run: Callable[[], Any]) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def recorded(net: nn.Module, run: Callable[[], Any], **options: Any) -> Graph:
    with Recorder(net, **options) as r:
        run()
    return r.graph


def net() -> Net:
    return Net(
        lambda net, x: torch.relu(net.b(net.a(x))) @ net.w, a=linear(), b=linear(), w=nn.Parameter(torch.randn(4, 4))
    )


def convolutions() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))


MAPPED: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], Any]]] = {
    "inputs": (net, lambda net: vmap(net)(x(5, 4))),
    "of batches": (net, lambda net: vmap(net)(x(5, 3, 4))),
    "in pieces": (net, lambda net: vmap(net, chunk_size=2)(x(5, 4))),
    "convolutions": (convolutions, lambda net: vmap(net)(x(5, 2, 8, 8))),
    "twice": (net, lambda net: vmap(vmap(net))(x(5, 3, 4))),
    "weights": (
        linear,
        lambda net: vmap(lambda w, x: functional_call(net, {"weight": w}, (x,)), (0, None))(x(5, 4, 4), x()),
    ),
}


@pytest.mark.parametrize("name", MAPPED)
def test_all_examples_of_a_mapped_call_are_counted(name: str) -> None:
    make, run = MAPPED[name]
    model = make()
    total = measured(recorded(model, lambda: run(model))).total
    assert total["flops"] == counted(lambda: run(model)) > 0
    assert not FIGURES["flops"].is_least(total)


def test_gradients_of_each_example_are_counted() -> None:
    model = net()
    parameters = dict(model.named_parameters())
    run = lambda: vmap(grad(lambda p, x: functional_call(model, p, (x,)).sum()), (None, 0))(parameters, x(5, 4))  # noqa: E731
    total = measured(recorded(model, run)).total
    assert total["flops"] + total["flops_backward"] == counted(run)


def test_sizes_of_mapped_results_are_those_of_all_examples() -> None:
    """As those of the same call with a batch."""
    model = net()
    mapped, whole = (recorded(model, run) for run in (lambda: vmap(model)(x(5, 4)), lambda: model(x(5, 4))))
    assert [v.shape for v in mapped.inputs] == [(4,)]
    assert [v.meta for v in mapped.inputs] == [{"examples": 5}]
    assert measured(mapped).total == measured(whole).total
    assert "80 B inputs, 320 B activations" in str(Summary(mapped))


def test_backward_through_a_map_is_unknown() -> None:
    model = Net(lambda net, x: net.head(vmap(net.body)(x)), head=linear(), body=net())
    run = lambda: model(x(5, 4)).sum().backward()  # noqa: E731
    total = measured(recorded(model, run)).total
    assert total["flops"] + total["flops_backward"] < counted(run)
    assert total["flops_backward_unknown"] == 4  # relu is one of them
    assert FIGURES["flops_backward"].in_words(total["flops_backward"], total).startswith("at least")


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:FutureWarning")  # torch itself uses it
def test_tangents_are_said_to_be_missing(tmp_path: Path) -> None:
    model = net()
    run = lambda: jvp(model, (x(5, 4),), (x(5, 4),))  # noqa: E731
    with Recorder(model) as r:
        run()
    for graph in (r.graph, assemble(EventStream.load(r.events.save(tmp_path / "run.jsonl")))):
        total = measured(graph).total
        assert 0 < total["flops"] < counted(run)
        assert "at least 480 FLOPs" in str(Summary(graph))


class Own(nn.Module):
    """Computes something itself, between its parts."""

    def __init__(self) -> None:
        super().__init__()
        self.part, self.w = nn.Sequential(nn.Linear(4, 4), nn.ReLU()), nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.part(x) @ self.w


def test_sums_without_functions_are_lower_bounds(tmp_path: Path) -> None:
    model = nn.Sequential(Own(), nn.Linear(4, 2))
    run = lambda: model(x(5, 4))  # noqa: E731
    with Recorder(model, functions=False) as r:
        run()
    whole = recorded(model, run)
    assert r.graph.meta["functions"] is False
    assert "functions" not in whole.meta
    loaded = assemble(EventStream.load(r.events.save(tmp_path / "run.jsonl")))
    recorder.add_metrics(r.graph)
    saved = r.save(tmp_path / "net.json")
    assert '"unseen"' in saved.read_text("utf-8")
    for graph in (r.graph, loaded):
        found = {scope.name: graph.metrics[scope] for scope in graph.scopes}
        least = {name: FIGURES["flops"].is_least(metrics) for name, metrics in found.items()}
        assert least == {"Sequential": True, "0": True, "0.part": False}
        assert found["0.part"]["flops"] == counted(lambda: model[0].part(x(5, 4)))
        assert found["Sequential"]["flops"] < counted(run)
        text = str(Summary(graph))
        assert "at least 240 FLOPs" in text
        assert "did more than was recorded: 1 calls, between whose parts functions were not" in text
        assert "at least" in next(line for line in text.splitlines() if "activations" in line)
        # A module's own parameters are its own, whatever uses them.
        assert {s.name: graph.metrics[s]["parameters"] for s in graph.scopes} == {
            s.name: whole.metrics[s]["parameters"] for s in whole.scopes
        }
    assert "at least" not in str(Summary(whole))


def test_a_folded_table_counts_every_call_that_did_more() -> None:
    model = nn.Sequential(*(Own() for _ in range(4)))
    graph = recorded(model, lambda: model(x()), functions=False)
    folded, whole = Summary(graph, fold=True), Summary(graph)
    assert len(folded.rows) < len(whole.rows)
    assert folded.total["unseen"] == whole.total["unseen"] == 4
    assert folded.rows[0].metrics == whole.rows[0].metrics


@pytest.mark.filterwarnings("ignore:.*jit")
def test_what_torchscript_computes_inside_a_call_is_unseen() -> None:
    scripted = torch.jit.script(_product)
    model = Net(lambda net, x: net.b(scripted(net.a(x), net.w)), a=linear(), b=linear(), w=nn.Parameter(torch.eye(4)))
    graph = recorded(model, lambda: model(x()).sum().backward())
    assert graph.metrics[graph.scopes[0]]["unseen"] == 1
    told = str(Summary(graph))
    assert f"at least {2 * 2 * 2 * 4 * 4} FLOPs" in told
    assert "did more than was recorded: 1 calls" in told
    seen = net()
    alike = recorded(seen, lambda: seen(x()).sum().backward())
    assert "unseen" not in alike.metrics[alike.scopes[0]]


def _product(x: Tensor, w: Tensor) -> Tensor:
    return x @ w
