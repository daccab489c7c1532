"""Where the first NaN or Inf is, and what is not to blame for it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Block, Net, linear, x
from torch import Tensor, nn

from recorder import Graph, GraphError, Recorder, dumps, loads
from recorder.analysis.gradient_report import NotFinite


def first(r: Recorder) -> NotFinite:
    found = r.graph.gradient_report().not_finite
    assert found is not None
    assert loads(dumps(r.graph)).gradient_report().not_finite == found
    return found


def halves() -> nn.Module:
    net = nn.Sequential(*[nn.Linear(8, 8, bias=False, dtype=torch.float16) for _ in range(4)])
    for parameter in net.parameters():
        parameter.data.fill_(100.0)
    return net


@pytest.mark.parametrize("how", ["method", "function", "grad", "keyword"])
def test_a_loss_that_was_not_finite_is_forwards_fault(how: str) -> None:
    net = halves()
    with Recorder(net, gradients="stats") as r:
        loss = net(torch.full((1, 8), 10.0, dtype=torch.float16)).float().sum()
        if how == "method":
            loss.backward()
        elif how == "function":
            torch.autograd.backward(loss)
        elif how == "keyword":
            torch.autograd.backward(tensors=[loss])
        else:
            torch.autograd.grad([loss], list(net.parameters()))
    if torch.__version__ < "2.11" and how in ("function", "keyword"):
        pytest.skip("nobody sees it called")
    found = first(r)
    assert (found.call, found.born, found.inf) == ("sum", "forward", 1)
    assert str(found) == (
        "the loss itself, of sum, had 1 Inf already: forward made it; record with values='stats' to see where"
    )
    assert not r.graph.gradient_report().ok


def test_a_loss_of_an_own_module_is_named_by_what_made_it() -> None:
    class Normalise(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / (x - x).sum()

    net = nn.Sequential(nn.Linear(4, 4), Normalise(), nn.Linear(4, 2))
    with Recorder(net, gradients="stats") as r:
        F.cross_entropy(net(torch.randn(3, 4)), torch.tensor([0, 1, 1])).backward()
    found = first(r)
    assert (found.call, found.born, found.nan) == ("cross_entropy", "forward", 1)


def test_of_several_passes_the_first_fault_counts() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    with Recorder(net, gradients="stats") as r:
        net(x()).backward(torch.full((2, 4), float("inf")))
        (net(x()).sum() * float("nan")).backward()
    assert (first(r).call, first(r).born) == ("fc", "before")
    with Recorder(net, gradients="stats") as r:
        (net(x()).sum() * float("nan")).backward()
        net(x()).backward(torch.full((2, 4), float("inf")))
    assert (first(r).call, first(r).born) == ("mul", "forward")


@pytest.mark.parametrize("gradients", ["calls", "on"])
def test_the_loss_is_measured_where_that_was_asked_for(gradients: Any) -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    with Recorder(net, gradients=gradients) as r:
        (net(x()).sum() * float("nan")).backward()
    assert "backward_starts" not in r.graph.meta
    with Recorder(net, gradients="stats") as r:
        other = torch.ones(3, requires_grad=True)
        other.sum().backward()  # nothing of the model's
        net(x()).sum().backward()
    (start,) = r.graph.meta["backward_starts"]
    assert (start["value"], start["shape"], start["nan"]) == ("sum:0", [], 0)
    graphs = r.graphs
    assert [graph.meta["backward_starts"][0]["value"] for graph in graphs] == ["sum:0"]


class Broken(torch.autograd.Function):
    """Passes on NaN, and is not seen by a recording."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return gradients[0] * float("nan")


def without_functions(graph: Graph) -> Graph:
    """As if gradients had been recorded at calls of modules alone."""
    for node in graph.nodes:
        if node.kind == "function":
            node.meta.pop("backward", None)
    return graph


def test_what_has_no_gradient_is_no_suspect() -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        h = net.a(x)
        mask = (h > 0).float() * 2
        aside = h.detach().exp()
        return net.b((h.sin() * mask + aside) * h.argmax(dim=1)[:, None])  # type: ignore[no-any-return]

    net = Net(forward, a=linear(), b=linear())
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    graph = without_functions(r.graph)
    a = next(node for node in graph.nodes if node.name == "a")
    a.meta["backward"]["arrived"][0]["nan"] = 1
    found = graph.gradient_report().not_finite
    assert found is not None
    assert (found.call, found.born, set(found.suspects)) == ("a", "before", {"sin", "mul_1", "add", "mul_2"})


def test_what_is_seen_in_part_is_a_suspect() -> None:
    """Of an attention only the last autograd node is seen, so what it hands on may come from any other."""
    net = Net(lambda net, x: net.attention(net.a(x), net.a(x), net.a(x))[0], a=linear(), attention=None)
    net.attention = nn.MultiheadAttention(4, 2, batch_first=True)
    with Recorder(net, gradients="stats") as r:
        out = net(x(2, 3, 4))
        out.sum().backward()
    for node in r.graph.nodes:
        if node.name.startswith("a"):
            for caption in node.meta.get("backward", {}).get("arrived", ()):
                caption["nan"] = 1 if node.fqn == "a" else 0
    found = r.graph.gradient_report().not_finite
    assert found is not None
    assert (found.born, found.suspects) == ("before", ("attention",))


def test_a_function_is_named_that_makes_it() -> None:
    net = nn.Sequential(linear(), Block(lambda _, x: x.relu().sqrt()), linear())
    torch.manual_seed(1)
    with torch.no_grad():
        net[0].weight.fill_(-1.0)
    with Recorder(net, gradients="stats") as r:
        net(torch.ones(2, 4)).sum().backward()
    found = first(r)
    assert (found.call, found.born) == ("1.sqrt", "inside")


def test_what_no_recording_sees_has_its_neighbours_for_suspects() -> None:
    net = Net(lambda net, x: net.b(Broken.apply(net.a(x))), a=linear(), b=linear())
    with Recorder(net, gradients="stats") as r:
        net(x()).sum().backward()
    found = first(r)
    assert (found.call, found.born, found.suspects) == ("a", "before", ("clone",))


@pytest.mark.parametrize(
    "starts", [1, [1], [{"value": "sum:0"}], [{"value": 1, "shape": [], "dtype": "x", "order": 0}]]
)
def test_what_a_file_says_of_where_backward_began_is_checked(starts: Any) -> None:
    with Recorder(net := linear()) as r:
        net(x()).sum().backward()
    r.graph.meta["backward_starts"] = starts
    with pytest.raises(GraphError, match="backward_starts"):
        loads(dumps(r.graph))


def test_a_gradient_that_was_nan_before_is_not_blamed_on_the_call() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for spoilt in (True, False):
        net.zero_grad()
        if spoilt:
            net[1].bias.grad = torch.full((4,), float("nan"))
        with Recorder(net, gradients="stats") as r:
            net(x()).sum().backward()
        if spoilt:
            assert (first(r).born, first(r).parameter) == ("held", "1.bias")
            assert "what 1 added to it was finite" in str(first(r))
        else:
            assert r.graph.gradient_report().ok


def test_a_sum_of_gradients_that_is_too_large_is_not_blamed_on_the_call() -> None:
    net = nn.Linear(4, 1, bias=False).half()
    with Recorder(net, gradients="stats") as r:
        for _ in range(3):
            (net(torch.full((1, 4), 300.0).half()) * 100).sum().backward()
    assert net.weight.grad is not None
    assert net.weight.grad.isinf().all()
    assert (first(r).born, first(r).parameter) == ("held", "weight")
