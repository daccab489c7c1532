"""What autograd keeps, against torch's own hooks on saved tensors; nothing lives longer, and nothing is unpacked."""

import gc
from collections import Counter
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
import torch
from support.memory import needs_memory
from support.models import Block, Net, linear, same, tensors, x
from support.saved_witness import Saved, saved_in
from support.zoo import ZOO
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from recorder import EventStream, Graph, Recorder, assemble
from recorder.capture.written_savings import _SAVINGS
from recorder.figures import FIGURES

pytestmark = needs_memory

MODELS = [
    "resnet18", "mobilenet_v3_small", "densenet121", "googlenet", "squeezenet1_1", "shufflenet_v2_x0_5", "swin_t",
    "efficientnet_b0", "vit_b_32", "mnasnet0_5", "regnet_y_400mf", "alexnet", "vgg11_bn", "convnext_tiny",
    "bert", "gpt2", "llama", "t5", "vit", "lstm", "transformer",
]  # fmt: skip


def total(outputs: Any) -> Tensor:
    return sum((t.float().mean() for t in tensors(outputs) if t.is_floating_point()), torch.zeros(()))


def both(net: nn.Module, forward: Callable[[], Any]) -> tuple[Saved, Graph]:
    """What the witness says of a step of training, and the recording of the same."""
    torch.manual_seed(1)
    saved = saved_in(net, lambda: total(forward()))
    torch.manual_seed(1)
    with Recorder(net, memory=True) as r:
        total(forward()).backward()
    net.zero_grad()
    return saved, r.graph


def by_module(graph: Graph) -> Counter[str | None]:
    """What is told of the calls of each module, and of all outside of them."""
    found: Counter[str | None] = Counter()
    for place in (*graph.scopes, *graph.nodes):
        if place.fqn is not None:
            found[place.fqn] += graph.metrics[place].get("saved_bytes", 0)
        elif place.scope is None:
            found[None] += graph.metrics[place].get("saved_bytes", 0)
    return +found


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_is_what_torch_keeps_whole_and_in_each_module(name: str) -> None:
    torch.manual_seed(0)
    net, batch = ZOO[name].make().train(), ZOO[name].batch()
    saved, graph = both(net, lambda: net(**batch))
    graph.lint()
    report = graph.memory_report()
    assert report.by_kind["saved"] == saved.total > 0
    names = dict(net.named_modules())
    assert {n: size for n, size in by_module(graph).items() if n is None or n in names} == saved.by_module
    assert report.by_kind["parameters"] == _bytes(net.parameters())
    assert report.by_kind["buffers"] == _bytes(net.buffers())
    assert not report.unknown


def _bytes(held: Any) -> int:
    return sum({t.untyped_storage()._cdata: t.untyped_storage().nbytes() for t in held}.values())


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 32), nn.Linear(32, 8)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.narrow(torch.nn.functional.gelu(self.wide(self.norm(x))))


class Stack(nn.Module):
    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer() for _ in range(4))
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x) if self.reentrant is None else checkpoint(layer, x, use_reentrant=self.reentrant)
        return x * x


@pytest.mark.parametrize("reentrant", [None, True, False])
def test_a_checkpoint_keeps_what_it_is_given(reentrant: bool | None) -> None:
    net, given = Stack(reentrant), torch.randn(3, 8, requires_grad=True)
    saved, graph = both(net, lambda: net(given))
    assert graph.memory_report().by_kind["saved"] == saved.total
    assert by_module(graph)[""] == saved.by_module[""] == saved.total


def test_a_function_of_the_users_keeps_what_it_saves() -> None:
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, t: Tensor) -> Tensor:
            made = t * t
            ctx.save_for_backward(t, made)
            return made.clone()

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            return gradient * 2 * ctx.saved_tensors[0]

    net = Net(lambda self, t: Square.apply(self.fc(t)) + 1, fc=linear())
    saved, graph = both(net, lambda: net(x()))
    assert graph.memory_report().by_kind["saved"] == saved.total == 3 * 32  # what fc is given, its result, the square


@pytest.mark.parametrize("functions", [True, False])
def test_a_storage_counts_once_and_whole_by_whom_it_is_kept_first(functions: bool) -> None:
    def forward(self: Any, t: Tensor) -> Tensor:
        whole = self.fc(t)
        return whole[:, :2].exp() * whole[:, 2:].sigmoid() @ self.after(whole).T[:2]

    net = Net(forward, fc=linear(), after=linear())
    given = x()
    saved = saved_in(net, lambda: net(given))
    with Recorder(net, memory=True, functions=functions) as r:
        net(given).sum().backward()
    assert r.graph.memory_report().by_kind["saved"] == saved.total
    assert by_module(r.graph)["fc"] == saved.by_module["fc"] == 32
    assert by_module(r.graph)[""] == saved.by_module[""]


def test_a_number_in_a_function_is_no_tensor_and_one_of_the_users_is() -> None:
    net = Net(lambda self, t: self.fc(t) * 2.5 * self.scale.to(torch.float64), fc=linear(), scale=torch.tensor(2.0))
    saved, graph = both(net, lambda: net(x()))
    assert graph.memory_report().by_kind["saved"] == saved.total


def test_what_hooks_of_the_users_keep_instead_counts_and_no_hook_is_called() -> None:
    calls: list[str] = []

    def pack(tensor: Tensor) -> Any:
        calls.append("pack")
        return "on a disk" if tensor.shape == (2, 4) else tensor.half()

    def unpack(packed: Any) -> Tensor:
        calls.append("unpack")
        return torch.zeros(2, 4) if packed == "on a disk" else packed.float()

    net = Net(lambda self, t: self.fc(t).exp()[:, :2].exp(), fc=linear())
    with torch.autograd.graph.saved_tensors_hooks(pack, unpack), Recorder(net, memory=True) as r:
        out = net(x()).sum()
        assert "unpack" not in calls
    assert r.graph.memory_report().by_kind["saved"] == 2 * 2 * 2  # the last exp's, of half the precision
    out.backward()
    assert calls.count("unpack") == calls.count("pack")


def test_offloading_counts_where_it_lies() -> None:
    net = Net(lambda self, t: self.fc(t).exp(), fc=linear())
    with torch.autograd.graph.save_on_cpu(), Recorder(net, memory=True) as r:
        net(x()).sum().backward()
    assert r.graph.memory_report().by_kind["saved"] == 32 + 32


WRITES: dict[str, Callable[..., Any]] = {
    "__setitem__": lambda t: t.__setitem__(0, 1.0),
    "add_": lambda t: t.add_(1),
    "clamp_": lambda t: t.clamp_(0, 1),
    "copy_": lambda t: t.copy_(torch.ones(2)),
    "fill_": lambda t: t.fill_(2.0),
    "pow_": lambda t: t.pow_(3),
    "sub_": lambda t: t.sub_(1),
    "threshold": lambda t, inplace: nn.functional.threshold(t, 0.1, 0.0, inplace=inplace),
}
WRITES |= {
    name: getattr(Tensor, name)
    for name in (
        "abs_",
        "exp_",
        "log_",
        "neg_",
        "relu_",
        "round_",
        "rsqrt_",
        "sigmoid_",
        "sin_",
        "sqrt_",
        "tanh_",
        "zero_",
    )
}
WRITES |= {
    name: getattr(nn.functional, name)
    for name in (
        "alpha_dropout",
        "celu",
        "dropout",
        "elu",
        "hardsigmoid",
        "hardswish",
        "hardtanh",
        "leaky_relu",
        "mish",
        "relu",
        "relu6",
        "selu",
        "silu",
    )
}
LAYERS = {kind.lower(): kind for kind in dir(nn)}
IN_LAYERS = [name for name in WRITES if not name.endswith("_") and name.replace("_", "") in LAYERS]
IN_LAYERS.remove("alpha_dropout")  # whose layer does not write in place, whatever it is told


@pytest.mark.parametrize(
    ("name", "layer"), [*((name, False) for name in WRITES), *((name, True) for name in IN_LAYERS)]
)
def test_what_writes_into_tensor_views_keep_is_known_by_their_function(name: str, layer: bool) -> None:
    arguments = (0.1, 0.0) if name == "threshold" else ()
    module = getattr(nn, LAYERS[name.replace("_", "")])(*arguments, inplace=True) if layer else nn.Identity()

    def forward(self: Any, t: Tensor) -> Tensor:
        made = self.fc(t) + 2
        view = made[:, 0]
        if layer:
            self.module(view)
        elif name.endswith("_"):
            WRITES[name](view)
        else:
            WRITES[name](view, inplace=True)
        return made * 1.0

    net = Net(forward, fc=linear(), module=module)
    saved, graph = both(net, lambda: net(x()))
    report = graph.memory_report()
    assert report.by_kind["saved"] == saved.total
    assert not report.unknown
    assert report.estimated == (8 if saved.total == 32 + 8 else 0)  # beside what fc is given, of two elements
    assert report.timeline[-1].saved == 0


def test_every_function_whose_savings_are_known_is_tried() -> None:
    assert {name.replace("_", "") for name in WRITES} == {name.replace("_", "") for name in _SAVINGS}


def test_a_write_into_a_tensor_view_that_may_keep_anything_is_told() -> None:
    def forward(self: Any, t: Tensor) -> Tensor:
        made = self.fc(t)
        made[:, 0].mul_(t[:, 1])
        return made

    net = Net(forward, fc=linear())
    saved, graph = both(net, lambda: net(x()))
    report = graph.memory_report()
    assert report.by_kind["saved"] <= saved.total
    assert len(report.unknown) == 1
    assert graph.metrics[graph.scopes[0]]["saved_unknown"] == 1
    assert "at least" in (FIGURES["saved_bytes"].said(graph, graph.scopes[0]) or "")


# The run is what it was


def test_nothing_is_kept_alive_and_what_is_gone_is_known() -> None:
    alive: list[Any] = []

    def forward(self: Any, t: Tensor) -> Tensor:
        first = self.fc(t)
        alive.append(ref(first))
        second = first + 1
        del first
        assert alive[-1]() is None
        return self.after(second)

    net = Net(forward, fc=linear(), after=linear())
    gc.disable()
    try:
        with Recorder(net, memory=True) as r:
            net(x()).sum().backward()
    finally:
        gc.enable()
    last = r.graph.memory_report().timeline[-1]
    assert last.saved == 0
    assert last.gradients == _bytes(net.parameters())


def test_a_write_that_backward_refuses_is_refused_as_before() -> None:
    net = Net(lambda self, t: self.fc(t).exp(), fc=linear())
    with Recorder(net, memory=True):
        made = net(x())
        made.mul_(2)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            made.sum().backward()


def test_gradients_are_added_in_place_where_they_were() -> None:
    def addresses(block: Any) -> list[bool]:
        """Whether the sum of three gradients lies where the first of them did."""
        net = Net(lambda self, t: self.fc(t), fc=linear())
        lies: list[int] = []
        with block(net):
            made = net(x())
            made.grad_fn.register_prehook(lambda gradients: lies.append(gradients[0].data_ptr()))

            def noted(gradients: Any) -> None:
                lies.append(gradients[0].data_ptr())

            parts = [made.exp(), made.sin(), made.tanh()]
            for part in parts:
                part.grad_fn.register_hook(lambda given, _: noted(given))
            sum(part.sum() for part in parts).backward()
        return [address == lies[-1] for address in lies[:-1]]

    assert addresses(lambda net: Recorder(net, memory=True)) == addresses(lambda net: Recorder(net, gradients="on"))


def test_training_is_the_same_over_steps() -> None:
    def trained(recorded: bool) -> list[Tensor]:
        torch.manual_seed(0)
        net = nn.Sequential(linear(), nn.BatchNorm1d(4), nn.Dropout(), linear())
        optimizer = torch.optim.AdamW(net.parameters(), lr=0.1)
        r = Recorder(net, memory=True)
        for _ in range(3):
            if recorded:
                r.__enter__()
            net(x()).pow(2).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
            if recorded:
                r.__exit__(None, None, None)
        return [*net.parameters(), *net.buffers(), torch.get_rng_state()]

    assert same(trained(True), trained(False))


# Kinds, phases, steps


def test_an_optimizer_and_its_gradients_have_their_bytes() -> None:
    net = nn.Sequential(linear(), linear())
    optimizer = torch.optim.Adam(net.parameters())
    with Recorder(net, memory=True) as r:
        for _ in range(2):
            net(x()).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    report = r.graph.memory_report()
    held = _bytes(net.parameters())
    state = _bytes(t for s in optimizer.state.values() for t in s.values())
    assert report.by_kind["parameters"] == report.by_kind["gradients"] == held
    assert report.by_kind["optimizer"] == state > 2 * held
    assert report.timeline[-1].gradients == 0
    assert r.graph.meta["memory"]["optimizers"] == ["Adam"]
    assert {moment.phase for moment in report.timeline} == {"forward", "backward", "optimizer"}


def test_several_steps_keep_as_much_as_one() -> None:
    net, given, held = nn.Sequential(linear(), nn.ReLU(), linear()), x(), []
    saved = saved_in(net, lambda: net(given))
    with Recorder(net, memory=True) as r:
        for _ in range(3):
            out = net(given)
            held.append(out)  # as a log of losses does
            out.sum().backward()
    assert r.graph.memory_report().by_kind["saved"] == saved.total


def test_another_optimizer_is_none_of_the_models() -> None:
    net, other = linear(), nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([other])
    with Recorder(net, memory=True) as r:
        net(x()).sum().backward()
        other.sum().backward()
        optimizer.step()
    assert r.graph.memory_report().by_kind["optimizer"] == 0


def test_on_meta_it_is_the_same_as_with_numbers() -> None:
    def reported(device: str) -> dict[str, int]:
        with torch.device(device):
            net = Net(lambda self, t: self.block(t).exp(), block=Block(lambda self, t: self.fc(t), fc=linear()))
            optimizer = torch.optim.AdamW(net.parameters())
            with Recorder(net, memory=True) as r:
                net(torch.ones(2, 4)).sum().backward()
                optimizer.step()
        report = r.graph.memory_report()
        return {**report.by_kind, "peak": report.peak_bytes}

    assert reported("meta") == reported("cpu")


def test_it_is_saved_and_loaded(tmp_path: Any) -> None:
    net = nn.Sequential(linear(), nn.ReLU(), linear())
    with Recorder(net, memory=True, stream=tmp_path / "run.jsonl") as r:
        net(x()).sum().backward()
    assert str(assemble(EventStream.load(tmp_path / "run.jsonl")).memory_report()) == str(r.graph.memory_report())


def test_nothing_is_recorded_of_it_where_nobody_asked() -> None:
    net = linear()
    with Recorder(net) as r:
        net(x()).sum().backward()
    assert "memory" not in r.graph.meta
    assert all("saved" not in node.meta for node in r.graph.nodes)
    assert "memory=True" in r.graph.memory_report().unknown[0]
