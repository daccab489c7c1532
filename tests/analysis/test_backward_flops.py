"""FLOPs of backward are those of the gradients that were computed, in each pass: beside what torch dispatched."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.models import Net, linear, x
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from recorder import Recorder
from recorder.analysis.metrics import measured
from recorder.capture.backward_hooks import Gradients
from recorder.figures import FIGURES


class Dispatched(TorchDispatchMode):
    """Adds up torch's own formulas; `FlopCounterMode` refuses `torch.autograd.grad` of a part."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        return result


def dispatched(run: Callable[[], Any]) -> int:
    with Dispatched() as counter:
        run()
    return counter.flops


def layers() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4, bias=False), nn.Linear(4, 4))


def convolutions() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))


def twice(net: nn.Module, x: Tensor) -> None:
    loss = net(x).sum()
    loss.backward(retain_graph=True)
    loss.backward()


def each_alone(net: nn.Module, x: Tensor) -> None:
    loss = net(x).sum()
    torch.autograd.grad(loss, x, retain_graph=True)
    torch.autograd.grad(loss, list(net.parameters()))


RUNS: dict[str, Callable[[nn.Module, Tensor], Any]] = {
    "everything": lambda net, x: net(x).sum().backward(),
    "inputs": lambda net, x: torch.autograd.grad(net(x).sum(), x),
    "inputs in backward": lambda net, x: net(x).sum().backward(inputs=[x]),
    "parameters": lambda net, x: torch.autograd.grad(net(x).sum(), list(net.parameters())),
    "the last one": lambda net, x: torch.autograd.grad(net(x).sum(), list(net.parameters())[-1]),
    "a frozen net": lambda net, x: net.requires_grad_(False)(x).sum().backward(),
    "twice": twice,
    "each alone": each_alone,
}


@pytest.mark.parametrize("gradients", ["calls", "on", "stats"])
@pytest.mark.parametrize("name", RUNS)
def test_what_was_computed_is_counted(name: str, gradients: Gradients) -> None:
    for make, shape in ((layers, (5, 4)), (layers, (2, 3, 4)), (convolutions, (2, 2, 8, 8))):
        net, given = make(), x(*shape).requires_grad_()
        with Recorder(net, gradients=gradients) as r:
            RUNS[name](net, given)
        total = measured(r.graph).total
        assert total["flops"] + total["flops_backward"] == dispatched(lambda: RUNS[name](net, given))  # noqa: B023
        assert "flops_backward_unknown" not in total


def test_the_two_halves_are_not_the_same() -> None:
    """Or the comparison above would say nothing."""
    net, given = layers(), x(5, 4).requires_grad_()
    counts = {name: dispatched(lambda: run(net, given)) for name, run in RUNS.items() if name != "a frozen net"}  # noqa: B023
    assert len(set(counts.values())) >= 5


class Product(nn.Module):
    """A layer of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def test_functions_beside_layers_in_a_partial_pass() -> None:
    """Where gradients are recorded at functions, each tells; else nobody knows which of theirs were computed."""
    net, given = nn.Sequential(linear(), Product(), linear()), x(5, 4).requires_grad_()
    run = lambda: torch.autograd.grad(net(given).sum(), given)  # noqa: E731
    with Recorder(net, gradients="on") as told:
        run()
    with Recorder(net) as untold:
        run()
    total = measured(told.graph).total
    assert total["flops"] + total["flops_backward"] == dispatched(run)
    total = measured(untold.graph).total
    assert total["flops"] + total["flops_backward"] < dispatched(run)
    assert total["flops_backward_unknown"] == 1
    assert FIGURES["flops_backward"].in_words(total["flops_backward"], total) == "at least 320"


def test_a_layer_of_several_products_in_a_partial_pass_is_unknown() -> None:
    net = Net(lambda net, x: net.last(net.attention(x, x, x)[0]), attention=nn.MultiheadAttention(4, 2), last=linear())
    given = x(5, 2, 4).requires_grad_()
    with Recorder(net) as r:
        torch.autograd.grad(net(given).sum(), given)
    told = {node.name: r.graph.metrics[node] for node in r.graph.nodes}
    assert told["attention"]["flops_backward_unknown"] == 1
    assert "flops_backward" not in told["attention"]
    assert told["last"]["flops_backward"] == told["last"]["flops"]


def test_what_is_differentiated_again_is_a_lower_bound() -> None:
    net, given = layers(), x(5, 4).requires_grad_()

    def penalty() -> None:
        (gradient,) = torch.autograd.grad(net(given).sum(), given, create_graph=True)
        gradient.norm().backward()

    with Recorder(net) as r:
        penalty()
    total = measured(r.graph).total
    assert total["flops"] < total["flops"] + total["flops_backward"] < dispatched(penalty)
    assert FIGURES["flops_backward"].is_least(total)


RECURRENT: dict[str, Callable[[], nn.Module]] = {
    "rnn": lambda: nn.RNN(4, 8),
    "gru": lambda: nn.GRU(4, 8),
    "deep": lambda: nn.GRU(4, 8, num_layers=2, bidirectional=True),
    "batch first": lambda: nn.GRU(4, 8, batch_first=True),
    "projected": lambda: nn.LSTM(4, 8, proj_size=3),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("name", RECURRENT)
@pytest.mark.parametrize("begins", ["with nothing", "with a state", "with a state that is trained"])
def test_the_first_step_of_a_recurrent_layer(name: str, begins: str) -> None:
    """Its own kernels are dispatched one by one, but where all of a layer is one (an LSTM on a CPU)."""
    net, given = RECURRENT[name](), x(6, 2, 4)
    batch = 6 if name == "batch first" else 2
    layers = 4 if name == "deep" else 1
    trained = begins == "with a state that is trained"
    state: Any = x(layers, batch, 3 if name == "projected" else 8).requires_grad_(trained)
    state = (state, x(layers, batch, 8)) if name == "projected" else state
    run = lambda: net(given, *([] if begins == "with nothing" else [state]))[0].sum().backward()  # noqa: E731
    total = recorded_total(net, run)
    assert total["flops"] + total["flops_backward"] == dispatched(run)


def test_a_fused_lstm_counts_as_its_steps() -> None:
    """Those of the same layer with a projection, less the projection itself, are dispatched one by one."""
    for length, batch in ((6, 2), (1, 3)):
        net, given = nn.LSTM(4, 8), x(length, batch, 4)
        total = recorded_total(net, lambda: net(given)[0].sum().backward())  # noqa: B023
        steps, state = 2 * length * batch * 32, 2 * (length - 1) * batch * 32
        assert total["flops"] == steps * (4 + 8)
        assert total["flops_backward"] == steps * (4 + 8) + state * 8  # of weights, and of all states but the first


def test_sequences_of_several_lengths() -> None:
    net = nn.GRU(4, 8)
    packed = nn.utils.rnn.pack_sequence([x(5, 4), x(3, 4), x(1, 4)])
    run = lambda: net(packed)[0].data.sum().backward()  # noqa: E731
    total = recorded_total(net, run)
    assert total["flops"] + total["flops_backward"] == dispatched(run)


def recorded_total(net: nn.Module, run: Callable[[], Any]) -> dict[str, Any]:
    with Recorder(net) as r:
        run()
    return measured(r.graph).total
