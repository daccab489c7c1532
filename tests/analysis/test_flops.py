"""FLOPs of a recording are those that `FlopCounterMode` counts in the real run, forward and backward."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net, linear, record, tensors, x
from support.zoo import CLASSIFIERS, HUGE, ZOO, Specimen
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from recorder import Graph, Node, Recorder, Value
from recorder.analysis.flops import _work_of
from recorder.analysis.metrics import Measured, measured


def attention(query: Any, key: Any, value: Any, *rest: Any, **others: Any) -> int:
    batch, heads, length, size = query
    return 2 * batch * heads * length * key[2] * (size + value[3])


def attention_backward(gradient: Any, query: Any, key: Any, value: Any, *rest: Any, **others: Any) -> int:
    """It makes the product of queries and keys again."""
    batch, heads, length, size = query
    return 2 * batch * heads * length * key[2] * (3 * size + 2 * value[3])


CPU_ATTENTION: dict[Any, Any] = {
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention,
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward,
}
"""What torch below 2.15 has no formula for, by arithmetic."""


def first(result: Any) -> Tensor:
    return tensors(result)[0].float().sum()


def counted(net: nn.Module, *args: Any, **kwargs: Any) -> tuple[int, int]:
    """Forward and backward, of a real run."""
    with FlopCounterMode(display=False, custom_mapping=CPU_ATTENTION) as counter:
        result = net(*args, **kwargs)
        forward = counter.get_total_flops()
        first(result).backward()
    return forward, counter.get_total_flops() - forward


def recorded(net: nn.Module, *args: Any, **kwargs: Any) -> Measured:
    with Recorder(net) as r:
        first(net(*args, **kwargs)).backward()
    return measured(r.graph)


def check(specimen: Specimen) -> None:
    net, batch = specimen.make().train(), specimen.batch()
    told = recorded(net, **batch).total
    assert (told["flops"], told["flops_backward"]) == counted(net, **batch)
    assert told["macs"] * 2 == told["flops"]
    assert told["parameters"] == sum(p.numel() for p in net.parameters())
    assert told["trainable"] == told["parameters"]
    assert told["parameter_bytes"] == sum(p.numel() * p.element_size() for p in net.parameters())


SAMPLE = ["googlenet", "mobilenet_v3_small", "resnet18", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_v2_t", "vit_b_16"]
OTHERS = ["bert", "gpt2", "llama", "t5", "transformer", "vit"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SAMPLE + OTHERS)
def test_models(name: str) -> None:
    check(ZOO[name])


def functions(net: Net, x: Tensor) -> Tensor:
    x = net.fc(x)  # a recording tells of the gradients of modules, and judges functions by them
    a, b, c = net.a, net.b, net.a @ x
    heads = x.view(1, 2, 2, 4)
    return sum(
        t.sum()
        for t in (
            x @ a, x.matmul(a), torch.mm(x, a), a.__rmatmul__(x), x.mm(a).addmm(x, b), torch.addmm(x, x, a),
            torch.bmm(b[None], a[None]), torch.baddbmm(b[None], b[None], a[None]),
            F.linear(x[None], weight=a, bias=None), torch.einsum("ij,jk->ik", x, a),
            torch.einsum("bij,jk", [b[None], a]), torch.tensordot(a, b, dims=([1], [0])),
            torch.inner(a, b), torch.linalg.multi_dot([a, b, x]), c,
            F.conv2d(heads, net.kernel, stride=2, padding=1), torch.conv1d(x[None], a[:, :, None]),
            F.conv_transpose2d(heads, net.kernel, output_padding=1, stride=2),
            F.scaled_dot_product_attention(heads, heads, heads, is_causal=True, scale=0.3),
            F.scaled_dot_product_attention(heads, heads, heads, attn_mask=net.mask, dropout_p=0.2),
        )
    )  # fmt: skip


def test_functions() -> None:
    net = Net(
        functions, fc=linear(), a=nn.Parameter(x(4, 4)), b=x(4, 4), kernel=nn.Parameter(x(2, 2, 3, 3)),
        mask=torch.ones(2, 2, dtype=torch.bool),
    )  # fmt: skip
    given = x(4, 4).requires_grad_()
    found = recorded(net, given)
    assert (found.total["flops"], found.total["flops_backward"]) == counted(net, given)
    assert not found.unknown


def test_a_write_in_place_is_counted_as_the_same_without() -> None:
    """`FlopCounterMode` has no formula for it, and leaves it out."""
    graph = record(Net(lambda net, x: x.clone().addmm_(x, x)), x(4, 4))
    assert {node.name: graph.metrics[node]["flops"] for node in graph.nodes} == {"clone": 0, "addmm_": 128}


LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(4, 3), (2, 5, 6, 4)),
    "same padding": (lambda: nn.Conv2d(2, 3, (3, 4), padding="same", dilation=2), (2, 2, 9, 9)),
    "valid padding": (lambda: nn.Conv1d(2, 3, 3, padding="valid"), (2, 2, 9)),
    "circular padding": (lambda: nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="circular", groups=2), (2, 2, 9, 9)),
    "reflected padding": (lambda: nn.Conv1d(2, 3, 3, padding="same", padding_mode="reflect"), (2, 2, 9)),
    "no batch": (lambda: nn.Conv2d(2, 3, 3, bias=False), (2, 9, 9)),
    "3d": (lambda: nn.Conv3d(2, 3, 2, stride=2), (1, 2, 4, 4, 4)),
    "transposed": (lambda: nn.ConvTranspose2d(4, 2, 3, stride=2, output_padding=1, groups=2), (2, 4, 5, 5)),
    "attention": (lambda: Net(lambda net, x: net.a(x, x, x), a=nn.MultiheadAttention(8, 2)), (3, 2, 8)),
    "batch first": (
        lambda: Net(lambda net, x: net.a(x, x, x, need_weights=False), a=nn.MultiheadAttention(8, 2, batch_first=True)),
        (3, 2, 8),
    ),
    "separate weights": (
        lambda: Net(lambda net, x: net.a(x, x[..., :4], x[..., :6]), a=nn.MultiheadAttention(8, 2, kdim=4, vdim=6)),
        (3, 2, 8),
    ),
    "frozen": (lambda: Net(lambda net, x: net.b(net.a(x)), a=linear().requires_grad_(False), b=linear()), (2, 4)),
    "tied": (lambda: tied(), (2, 4)),
}


def tied() -> nn.Module:
    net = Net(lambda net, x: net.b(net.a(x)), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    net.b.weight = net.a.weight
    return net


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name: str) -> None:
    make, shape = LAYERS[name]
    net = make()
    found = recorded(net, x(*shape))
    assert (found.total["flops"], found.total["flops_backward"]) == counted(net, x(*shape))
    assert found.total["flops"] > 0


def test_a_recurrent_layer_counts_its_matrices() -> None:
    """`FlopCounterMode` sees one kernel without a formula. Layers made of cells, it counts: both must agree."""

    def by_cells(net: Net, x: Tensor) -> Tensor:
        h = c = x.new_zeros(2, 8)
        for item in x:
            h, c = net.cell(item, (h, c))
        return h

    def by_hand(net: Net, x: Tensor) -> Tensor:
        h = x.new_zeros(2, 8)
        for item in x:
            h = torch.sigmoid(F.linear(item, net.cell.weight_ih) + F.linear(h, net.cell.weight_hh))[:, :8]
        return h

    cell = nn.LSTMCell(4, 8)
    told = recorded(Net(by_cells, cell=cell), x(5, 2, 4)).total
    lstm = recorded(nn.LSTM(4, 8), x(5, 2, 4)).total
    forward, _ = counted(Net(by_hand, cell=cell), x(5, 2, 4))
    assert told["flops"] == lstm["flops"] == forward
    # Two products come back for each one that went there, but for the input and the state that it
    # begins with, which need no gradient.
    assert lstm["flops_backward"] == 2 * forward - 5 * 2 * 4 * 32 * 2 - 2 * 8 * 32 * 2
    deep = recorded(nn.GRU(4, 8, num_layers=2, bidirectional=True), x(5, 2, 4)).total
    assert deep["flops"] == 2 * 10 * 2 * (4 * 24 + 8 * 24 + 16 * 24 + 8 * 24)


def test_a_fused_kernel_counts_what_it_stands_for() -> None:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).eval()
    expected, _ = counted(layer, x(2, 3, 8))
    with torch.no_grad(), Recorder(layer) as r:
        layer(x(2, 3, 8))
    (node,) = r.graph.nodes
    assert r.graph.metrics[node]["flops"] == expected
    assert r.graph.metrics[node]["parameters"] == sum(p.numel() for p in layer.parameters())


def test_what_has_no_formula_is_unknown_and_not_zero() -> None:
    net = Net(lambda net, x: torch.cdist(torch.fft.fft(net.norm(net.fc(x).view(4, 2).t()).relu()).abs(), net.v),
              fc=linear(), norm=nn.LayerNorm(4), v=torch.ones(2, 4))  # fmt: skip
    graph = record(net, x())
    assert {node.name: graph.metrics[node].get("flops") for node in graph.nodes} == {
        "fc": 64, "view": 0, "t": 0, "norm": 0, "relu": 0, "fft": None, "abs": 0, "cdist": None,
    }  # fmt: skip
    assert graph.metrics[graph.scopes[0]]["flops_unknown"] == 2
    assert measured(graph).unknown == {"fft": 1, "cdist": 1}


def test_backward_is_counted_where_it_came() -> None:
    net = Net(lambda net, x: (net.a(x), net.b(x) @ net.b.weight), a=linear(), b=linear())
    with Recorder(net) as r:
        net(x())[0].sum().backward()
    told = {node.name: r.graph.metrics[node].get("flops_backward") for node in r.graph.nodes}
    assert told == {"a": 64, "b": None, "matmul": None, "sum": 0}


class Product(nn.Module):
    """A layer of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4, 4))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return torch.sigmoid(x @ self.a.T), x @ self.b


OWN: dict[str, Callable[[], nn.Module]] = {
    "one after the other": lambda: Net(
        lambda net, x: net.c(net.b(net.a(x)[0])[0])[0], a=Product(), b=Product(), c=Product()
    ),
    "frozen inside": lambda: Net(lambda net, x: net.b(net.a(x)[0].detach())[0], a=Product(), b=Product()),
    "both outputs": lambda: Net(lambda net, x: sum(net.a(x)), a=Product()),
    "alone": Product,
}


@pytest.mark.parametrize("name", OWN)
def test_backward_of_functions_in_modules_of_ones_own(name: str) -> None:
    """A module call knows of the gradients of what it returned."""
    net = OWN[name]()
    found = recorded(net, x(2, 4))
    assert (found.total["flops"], found.total["flops_backward"]) == counted(net, x(2, 4))
    assert found.total["flops_backward"] > 0


def test_what_a_cell_begins_with_needs_no_gradient() -> None:
    told = recorded(nn.RNNCell(4, 8), x(2, 4)).total
    assert (told["flops"], told["flops_backward"]) == (2 * 2 * (32 + 64), 2 * 2 * (32 + 64))


def test_autocast_changes_no_count() -> None:
    net = Net(lambda net, x: F.linear(net.fc(x), net.fc.weight), fc=linear())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        told = recorded(net, x())
    assert told.total["flops"] == 128


def one_call(
    target: str, *shapes: tuple[int, ...], to: tuple[int, ...] = (1,), device: str = "cpu", **attributes: Any
) -> dict[str, float]:
    """The metrics of a call of a function that was recorded somewhere else, ``to`` a tensor of this shape."""
    inputs = [Value(f"x{i}", shape, "float32", device, role="input") for i, shape in enumerate(shapes)]
    output = Value("y", to, "float32", device)
    node = Node("call", "function", target.rpartition(".")[2], target, inputs=tuple(inputs), outputs=(output,))
    node.attributes |= attributes
    return measured(Graph([node], inputs=inputs, outputs=[output])).of[id(node)]


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps:0", "xpu:1"])
def test_a_device_that_is_not_here(device: str) -> None:
    heads = (1, 2, 3, 4)
    attention = one_call(
        "torch.nn.functional.scaled_dot_product_attention", heads, heads, heads, to=heads, device=device
    )  # fmt: skip
    assert attention.get("flops") == 2 * (2 * 3 * 3 * 4) * 2
    assert "flops_unknown" not in attention
    assert one_call("torch.mm", (2, 3), (3, 4), to=(2, 4), device=device)["flops"] == 48


def test_counting_leaves_no_trace(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither random numbers nor modes, of whoever asks in the middle of something."""
    net = Net(lambda net, x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5) @ net.w, w=x(4, 4))
    with Recorder(net) as r:
        net(x(1, 2, 3, 4))
        state = torch.random.get_rng_state()
        with torch.inference_mode(), torch.device("meta"), FlopCounterMode(display=False) as counter:
            _work_of.cache_clear()
            flops = r.graph.metrics[r.graph.scopes[0]]["flops"]
            assert torch.empty(1).is_meta
        assert torch.equal(torch.random.get_rng_state(), state)
        before = len(r.events)
        _work_of.cache_clear()
        flops = r.graph.metrics[r.graph.scopes[0]]["flops"]
        assert len(r.events) == before
    assert flops == 2 * (2 * 3 * 3 * 4) * 2 + 2 * 6 * 4 * 4
    assert counter.get_total_flops() == 0
    assert capfd.readouterr() == ("", "")


CALLED: list[Any] = []
"""What a recording had called by a name of its choice."""


@pytest.mark.parametrize(
    ("target", "arguments"),
    [
        ("os.system", {"arg0": "true"}),
        ("test_flops.CALLED.append", {"arg0": 1}),
        ("torch.hub.load", {"arg0": "somebody/something", "arg1": "model"}),
        ("torch.save", {"arg0": 1, "arg1": "file"}),
        ("torch.nn.modules.linear.Linear", {"in_features": 2}),
        ("torch.matmul.__globals__", {}),
        ("", {}),
    ],
)
def test_a_recording_cannot_have_anything_called(
    target: str, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "flops" not in one_call(target, (2, 2), **arguments)
    assert not CALLED
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("target", "shapes", "arguments"),
    [
        ("torch.mm", [(2, 3), (4, 5)], {}),
        ("torch.mm", [(2**62, 2**62), (2**62, 2**62)], {}),
        ("torch.mm", [(-1, 3), (3, 4)], {}),
        ("torch.mm", [(2, 3), (3, 4)], {"out": "file"}),
        ("torch.einsum", [(2, 3)], {"arg0": "ij,jk->ik"}),
        ("torch.conv2d", [(1, 1, 4, 4), (1, 1, 2, 2)], {"stride": "many"}),
        ("torch.tensordot", [(2, 3), (3, 4)], {"dims": 10**9}),
        ("torch.mm", [(2, 3), (3, 4)], {"arg2": "\ud800"}),
        ("torch.mm", [(2, 3), (3, 4)], {"arg2": object()}),
    ],
)
def test_what_torch_refuses_is_unknown(
    target: str, shapes: list[tuple[int, ...]], arguments: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    assert one_call(target, *shapes, **arguments) == {"flops_unknown": 1, "activation_bytes": 4}
    assert capfd.readouterr() == ("", "")


def test_all_classifiers_can_be_checked_by_hand() -> None:
    """Every one takes minutes: ``PYTHONPATH=tests python tests/analysis/test_flops.py`` does it, and its last run found
    no difference.
    """
    assert set(SAMPLE) <= set(CLASSIFIERS)
    assert set(CLASSIFIERS) >= HUGE


if __name__ == "__main__":
    for name, specimen in CLASSIFIERS.items():
        check(specimen)
        print(f"{name}: as FlopCounterMode has it", flush=True)
