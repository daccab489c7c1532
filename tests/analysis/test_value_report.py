"""The report of what is wrong with values: it names where the first NaN or Inf was made, and nobody else."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Block, Net, linear, x
from support.zoo import ZOO
from torch import Tensor, nn

import recorder.capture.held_tensors
from recorder import EventStream, Graph, Recorder, assemble, dumps, loads
from recorder.analysis.value_report import ValueReport

NAN, INF = float("nan"), float("inf")


def report_of(r: Recorder, folder: Path | None = None) -> ValueReport:
    """The report; on the way, a saved and loaded recording must give the same one."""
    r.graph.lint()
    report = r.graph.value_report()
    assert str(loads(dumps(r.graph)).value_report()) == str(report)
    if folder is not None:
        stream = EventStream.load(r.events.save(folder / "run.jsonl"))
        assert str(assemble(stream).value_report()) == str(report)
    return report


def recorded(net: nn.Module, *inputs: Any, **options: Any) -> Graph:
    with Recorder(net, values="stats", **options) as r:
        net(*inputs)
    report_of(r)
    return r.graph


def origin(graph: Graph) -> str | None:
    node = graph.value_report().origin
    return None if node is None else node.name


# Planted: what a function or a layer makes of finite values, and its name


def _out(net: nn.Module, x: Tensor) -> Tensor:
    buffer = torch.zeros(2, 4)
    torch.log(-x.detach().abs() - 1, out=buffer)
    return buffer


def _in_place(net: nn.Module, x: Tensor) -> Tensor:
    y = x.abs().neg() - 1
    y.sqrt_()
    return y


def _through_a_view(net: nn.Module, x: Tensor) -> Tensor:
    y = x.clone()
    y[0].div_(0)
    return y * 2


def _without_gradients(net: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return (x - x).reciprocal() + x


def _autocast(net: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.float16):
        return F.linear(x + 1000, torch.full((4, 4), 1000.0))


PLANTED: dict[str, tuple[Callable[[nn.Module, Tensor], Tensor], str]] = {
    "log": (lambda net, x: torch.log(-x.abs() - 1), "log"),
    "log of zero": (lambda net, x: (x * 0).log() + x, "log"),
    "sqrt": (lambda net, x: (-x.abs() - 1).sqrt(), "sqrt"),
    "division": (lambda net, x: x / (x - x).sum(), "div"),
    "power": (lambda net, x: (-x.abs() - 1) ** 0.5, "pow"),
    "overflow": (lambda net, x: (x.abs() + 100).exp(), "exp"),
    "half": (lambda net, x: (x.half() + 300) * 300, "mul"),
    "a cast": (lambda net, x: (x + 1e6).to(torch.float16), "to"),
    "Inf less Inf": (lambda net, x: x.masked_fill(x == x, INF) - x.masked_fill(x == x, INF), "sub"),
    "zero times a number that is Inf": (lambda net, x: (x * 0).mul(-INF), "mul"),
    "zero times Inf": (lambda net, x: (x * 0) * torch.full((4,), -INF), "mul"),
    "all masked": (lambda net, x: x.masked_fill(x == x, -INF).softmax(-1), "softmax"),
    "in place": (_in_place, "sqrt_"),
    "through a view": (_through_a_view, "div_"),
    "out": (_out, "log"),
    "no_grad": (_without_gradients, "reciprocal"),
    "autocast": (_autocast, "linear"),
    "an index": (lambda net, x: x.clone().index_fill_(0, torch.tensor([0]), 0).log()[:1] + x, "log"),
    "a norm of zeros": (lambda net, x: (x * 0) / (x * 0).norm(dim=1, keepdim=True), "div"),
    "clamped too late": (lambda net, x: torch.tanh((x * 0 + 1e30) * 1e30), "mul"),
}


@pytest.mark.parametrize("depth", [0, 1, 3])
@pytest.mark.parametrize("kind", PLANTED)
def test_what_made_it_is_named_at_any_depth(kind: str, depth: int, tmp_path: Path) -> None:
    function, maker = PLANTED[kind]
    part: nn.Module = Block(function)
    for _ in range(depth):
        part = Net(
            lambda net, x: net.after(net.part(net.before(x)).float()), before=linear(), part=part, after=linear()
        )
    with Recorder(part, values="stats") as r:
        part(x(2, 4))
    report = report_of(r, tmp_path)
    prefix = ".".join(["part"] * depth)
    found = origin(r.graph)
    assert found is not None
    assert found.rstrip("_0123456789") == (f"{prefix}." if prefix else "") + maker.rstrip("_")
    assert not report.ok
    assert not report.others
    assert not report.given
    assert str(report).startswith(f"first value that is not finite:\n  {found} (")


def test_the_words_say_where_and_why(tmp_path: Path) -> None:
    inner = Block(lambda net, x: x.half() * 300)
    with Recorder(net := nn.Sequential(linear(), inner), values="stats", source=True) as r:
        net[0].weight.data.fill_(100)
        net(torch.full((1, 4), 2.0))
    text = str(report_of(r, tmp_path))
    line = inner.function.__code__.co_firstlineno
    assert f"1.mul (in Block 1, {__file__}:{line}) made 4 Inf of 4 elements" in text
    assert "the largest that it was given was 800, and float16 holds no more than 65504" in text


@pytest.mark.parametrize("functions", [True, False])
def test_a_layer_of_torchs_that_overflows_is_named(functions: bool) -> None:
    net = nn.Sequential(*[nn.Linear(8, 8, bias=False, dtype=torch.float16) for _ in range(4)])
    overflowed = []
    for number, layer in enumerate(net):
        layer.weight.data.fill_(100.0)
        layer.register_forward_hook(lambda m, a, o, n=number: overflowed.append(n) if o.isinf().any() else None)
    graph = recorded(net, torch.full((1, 8), 10.0, dtype=torch.float16), functions=functions)
    assert origin(graph) == str(overflowed[0])


def test_what_is_made_after_the_model_is_named_too() -> None:
    net = linear()
    with Recorder(net, values="stats") as r:
        torch.log(net(x(2, 4)).abs().neg()).mean().backward()
    assert origin(r.graph) == "log"


def test_a_second_one_elsewhere_is_listed_and_what_follows_from_the_first_is_not() -> None:
    net = Net(
        lambda net, x: (net.a(x.abs().neg()).abs().neg().log(), (net.b(x) * 0).reciprocal().log1p()),
        a=linear(),
        b=linear(),
    )
    report = recorded(net, x(2, 4)).value_report()
    assert report.origin is not None
    assert (report.origin.name, [node.name for node in report.others]) == ("log", ["reciprocal"])
    assert "made elsewhere, too:\n  reciprocal" in str(report)


# Given


def test_a_nan_that_came_with_the_input_is_nobodys_fault(tmp_path: Path) -> None:
    net, batch = nn.Sequential(linear(), nn.ReLU(), linear()), x(2, 4)
    batch[0, 0] = NAN
    with Recorder(net, values="stats") as r:
        net(batch)
    report = report_of(r, tmp_path)
    assert (report.origin, report.given, report.ok) == (None, ("input",), False)
    assert "input input came with NaN, seen first in 0 (Linear)" in str(report)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("bad", [NAN, INF])
def test_a_bad_parameter_or_buffer_is_told_as_such(bad: float, functions: bool, tmp_path: Path) -> None:
    batch_norm = nn.BatchNorm1d(4).eval()
    assert batch_norm.running_mean is not None
    batch_norm.running_mean[0] = bad
    for net, name in (
        (nn.Sequential(linear(), nn.Linear(4, 4)), "1.weight"),
        (nn.Sequential(batch_norm), "0.running_mean"),
    ):
        if name == "1.weight":
            net[1].weight.data[0, 0] = bad
        with Recorder(net, values="stats", functions=functions) as r:
            net(x(2, 4))
        report = report_of(r, tmp_path)
        assert (report.origin, report.given) == (None, (name,))
        assert f"{name} came with {'NaN' if bad is NAN else 'Inf'}" in str(report)


def test_a_parameter_that_a_function_uses_is_told_as_such() -> None:
    net = Net(lambda net, x: F.linear(x, net.w), w=nn.Parameter(torch.full((4, 4), NAN)))
    assert recorded(net, x(2, 4)).value_report().given == ("w",)


@pytest.mark.parametrize("write", ["data", "optimizer"])
def test_parameters_that_a_step_spoils_are_told_in_the_next_call(write: str) -> None:
    net = nn.Sequential(linear(), linear())
    optimizer = torch.optim.SGD(net.parameters(), lr=INF)
    with Recorder(net, values="stats") as r:
        net(x(2, 4)).sum().backward()
        assert r.graph.value_report().ok
        if write == "optimizer":
            optimizer.step()
        else:
            net[0].weight.data.fill_(NAN)
        net(x(2, 4))
        net[0].weight.data.fill_(1)
        net[1].weight.data.fill_(1)
        net(x(2, 4))
    report = report_of(r)
    assert report.origin is None
    assert report.given[0] == "0.weight"
    assert [node.name for node in r.graph.nodes if "given" in node.meta] == (
        ["0#1", "1#1"] if write == "optimizer" else ["0#1"]
    )
    assert [part.value_report().ok for part in r.graphs] == [True, False, True]
    told = r.graphs[1].value_report()
    assert (told.origin, told.given[0]) == (None, "0.weight")


def test_a_static_input_that_is_filled_anew_is_looked_at_anew() -> None:
    net, batch = linear(), torch.zeros(2, 4)
    with Recorder(net, values="stats", functions=False) as r:
        net(batch)
        batch.fill_(NAN)
        net(batch)
    report = report_of(r)
    assert (report.origin, report.given) == (None, ("input",))


def test_what_functions_made_unseen_is_not_blamed_on_the_next_layer() -> None:
    net = Net(lambda net, x: net.b(net.a(x).abs().neg().log()), a=linear(), b=linear())
    graph = recorded(net, x(2, 4), functions=False)
    assert origin(graph) is None
    assert not graph.value_report().ok
    assert origin(recorded(net, x(2, 4))) == "log"


def test_a_loss_with_a_bad_weight_is_not_blamed() -> None:
    net, loss = linear(), nn.CrossEntropyLoss(weight=torch.full((4,), NAN))
    with Recorder(net, values="stats") as r:
        loss(net(x(2, 4)), torch.tensor([0, 1]))
    report = report_of(r)
    assert (report.origin, report.given) == (None, ("CrossEntropyLoss.weight",))


def test_a_lazy_layer_is_told_what_it_makes() -> None:
    net = nn.Sequential(nn.LazyLinear(4), Block(lambda net, x: x.abs().neg().log()))
    assert origin(recorded(net, x(2, 4))) == "1.log"


# Deliberate, discarded, unknown: silent


def _masked(kind: str) -> Callable[[nn.Module, Tensor], Tensor]:
    mask = torch.ones(4, 4).tril().bool()

    def forward(net: nn.Module, scores: Tensor) -> Tensor:
        if kind == "masked_fill":
            scores = scores.masked_fill(~mask, -INF)
        elif kind == "full":
            scores = scores + torch.full((4, 4), -INF).triu(1)
        elif kind == "finfo":
            scores = scores.half() + torch.full((4, 4), torch.finfo(torch.float16).min, dtype=torch.float16).triu(1)
            scores = scores + torch.full((4, 4), torch.finfo(torch.float16).min, dtype=torch.float16).triu(1)
        elif kind == "where":
            scores = torch.where(mask, scores, torch.tensor(-INF))
        elif kind == "log":
            scores = scores + mask.float().log()
        elif kind == "assigned":
            scores = scores.clone()
            scores[~mask] = -INF
        elif kind == "generated":
            scores = scores + nn.Transformer.generate_square_subsequent_mask(4)
        elif kind == "attention":
            return F.scaled_dot_product_attention(scores[None], scores[None], scores[None], attn_mask=mask)
        return scores.softmax(-1)

    return forward


@pytest.mark.parametrize("kind", ["masked_fill", "full", "finfo", "where", "log", "assigned", "generated", "attention"])
def test_masks_are_no_fault(kind: str) -> None:
    report = recorded(Net(_masked(kind)), x(4, 4)).value_report()
    assert str(report) == "no fault found in the values"


def test_a_mask_that_is_given_is_no_fault_until_it_masks_all() -> None:
    net = nn.MultiheadAttention(4, 2, batch_first=True)
    mask = torch.full((3, 3), -INF).triu(1)
    one = Net(lambda net, x, mask: net.a(x, x, x, attn_mask=mask)[0], a=net)
    assert recorded(one, x(1, 3, 4), mask).value_report().ok
    report = recorded(one, x(1, 3, 4), mask.fill_(-INF)).value_report()
    assert report.origin is not None
    assert report.origin.op_type == "MultiheadAttention"
    assert "input_1 had Inf, and NaN was made of it" in str(report)


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: torch.where(x > 0, x.log(), 0.0),
        lambda net, x: x.sqrt().nan_to_num(),
        lambda net, x: x.log().clamp(-1, 1) if False else (x * 0).log().clamp(-1, 1),
        lambda net, x: x + ((x * 0).log() * 2).to(torch.long),
        lambda net, x: (x.half() * 60000).clamp(-60000, 60000),
        lambda net, x: x.masked_fill(x < 0, INF),
        lambda net, x: x + torch.tensor(INF),
    ],
)
def test_what_is_discarded_or_was_asked_for_is_no_fault(forward: Any) -> None:
    report = recorded(Net(forward), x(4, 4)).value_report()
    assert str(report) == "no fault found in the values"


def test_memory_that_nobody_initialized_is_nobodys_fault() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        buffer = torch.empty(8, 4)
        buffer.view(-1).untyped_storage().copy_(torch.full((32,), NAN).untyped_storage())
        buffer[:4] = x
        kept = buffer.view(8, 4)[:4] * 2
        net.cache[:4] = kept
        other = torch.empty_like(x)
        torch.mul(kept, 2, out=other)
        return net.cache[:4] + other

    net = Net(forward, cache=torch.full((8, 4), NAN))
    assert str(recorded(net, x(4, 4)).value_report()) == "no fault found in the values"


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    "name", ["bert", "gpt2", "llama", "t5", "vit", "lstm", "transformer", "resnet18", "googlenet", "mobilenet_v3_small"]
)
def test_a_clean_run_is_silent(name: str, training: bool) -> None:
    torch.manual_seed(0)
    net, batch = ZOO[name].make().train(training), ZOO[name].batch()
    if name in ("bert", "gpt2", "llama", "t5"):
        batch["attention_mask"] = torch.ones(2, 7, dtype=torch.long).tril(5)
    if name == "transformer":
        batch["tgt_mask"] = nn.Transformer.generate_square_subsequent_mask(4)
        batch["src_key_padding_mask"] = torch.zeros(2, 5).index_fill(1, torch.tensor([4]), -INF)
    for options in ({}, {"functions": False}):
        with torch.set_grad_enabled(training), Recorder(net, values="stats", **options) as r:  # type: ignore[arg-type]
            net(**batch)
        assert str(r.graph.value_report()) == "no fault found in the values"
        assert r.graph.value_report().ok


@pytest.mark.parametrize("name", ["bert", "resnet18", "llama"])
def test_a_layer_of_a_model_that_is_spoilt_is_named(name: str) -> None:
    torch.manual_seed(0)
    net, batch = ZOO[name].make().eval(), ZOO[name].batch()
    layers = [(n, part) for n, part in net.named_modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    spoilt, layer = layers[len(layers) // 2]
    layer.register_forward_hook(lambda module, args, output: output.mul_(1e38).mul_(1e38))
    with torch.no_grad(), Recorder(net, values="stats") as r:
        net(**batch)
    found = r.graph.value_report().origin
    assert found is not None
    assert found.op_type == "mul_"
    assert any(
        value.producer is not None and value.producer.fqn == spoilt for value in found.inputs[0].producer.inputs
    ) or (  # type: ignore[union-attr]
        found.inputs[0].producer.fqn == spoilt  # type: ignore[union-attr]
    )


# Dead and saturated


def test_dead_activations_are_named_and_masks_are_not() -> None:
    net = nn.Sequential(
        nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), Block(lambda net, x: F.relu(x)), nn.Linear(8, 8), nn.ReLU()
    )
    net[0].bias.data.fill_(-100)
    net[2].bias.data.fill_(-100)
    report = recorded(net, x(2, 4)).value_report()
    assert [node.name for node in report.dead] == ["1", "3.relu"]
    assert not report.ok
    assert "dead: nothing but zeros:\n  1 (ReLU)\n  3.relu (in Block 3)" in str(report)
    zeros = Net(lambda net, x: (torch.zeros(8) + x * torch.zeros(2, 8), (x * 0).relu(), x.clamp(min=100) * (x > 9)))
    assert recorded(zeros, x(2, 8)).value_report().ok


def test_a_layer_that_is_dead_in_one_call_of_several_is_alive() -> None:
    net = nn.Sequential(nn.ReLU())
    with Recorder(net, values="stats") as r:
        net(-torch.ones(2, 8))
        net(torch.ones(2, 8))
    assert report_of(r).ok
    with Recorder(net, values="stats") as r:
        net(-torch.ones(2, 8))
        net(-torch.ones(2, 8))
    assert [node.name for node in report_of(r).dead] == ["0"]


@pytest.mark.parametrize(
    "activation", [nn.Sigmoid(), nn.Tanh(), nn.Hardtanh(), nn.Hardsigmoid(), nn.ReLU6(), Block(lambda net, x: x.tanh())]
)
def test_saturated_activations_are_named(activation: nn.Module) -> None:
    net = nn.Sequential(activation)
    ends = torch.tensor([100.0, -100.0] * 8).view(2, 8)
    assert [node.name for node in recorded(net, ends).value_report().saturated] == [
        "0.tanh" if isinstance(activation, Block) else "0"
    ]
    assert recorded(net, torch.linspace(-2, 2, 16).view(2, 8)).value_report().ok
    assert recorded(nn.Sequential(nn.Hardtanh(-2, 2)), ends).value_report().ok


# What cannot be told


def test_a_recording_without_values_says_what_to_do() -> None:
    with Recorder(net := linear()) as r:
        net(x(2, 4))
    report = r.graph.value_report()
    assert not report.ok
    assert report.unknown
    assert "record with Recorder(net, values='stats')" in str(report)
    assert "no fault" not in str(report)


class Doubled(Tensor):
    pass


def test_what_a_subclass_made_is_not_blamed_on_others() -> None:
    net = Net(lambda net, x: x.as_subclass(Doubled).neg().log().as_subclass(Tensor) * 2)
    report = recorded(net, x(2, 4).abs() + 1).value_report()
    assert (report.origin, report.ok) == (None, False)
    assert "made unseen" in str(report)


def test_what_could_not_be_measured_is_said_and_nobody_blamed() -> None:
    net = Net(lambda net, x: x.to_sparse().sqrt().to_dense() * 2)
    report = recorded(net, -x(2, 4).abs() - 1).value_report()
    assert report.origin is None
    assert not report.ok
    assert "not all that it was given was measured" in str(report)


def test_parameters_whose_squares_overflow_are_finite() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    with torch.no_grad():
        net[0].weight.fill_(1e30)
        net[1].weight.fill_(1e30)
    graph = recorded(net, torch.ones(2, 4))
    assert origin(graph) == "1"
    assert not graph.value_report().given


def test_what_modules_hold_is_told_where_a_device_says_it_later(monkeypatch: pytest.MonkeyPatch) -> None:
    later = lambda tensors: torch.stack(torch._foreach_norm(tensors, INF))  # noqa: E731
    monkeypatch.setattr(recorder.capture.held_tensors, "_largest", later)
    net = nn.Sequential(linear(), nn.BatchNorm1d(4), linear())
    with Recorder(net, values="stats") as r:
        net(x(2, 4))
        net[2].weight.data[0, 0] = NAN
        net(x(2, 4))
    assert r.graph.value_report().given == ("2.weight",)
    assert [part.value_report().ok for part in r.graphs] == [True, False]


def _copied_over(net: nn.Module, x: Tensor) -> Tensor:
    buffer = torch.full((2, 4), NAN)
    buffer.copy_(x.abs().neg().log() if net.training else x)
    return (buffer * 0).reciprocal()


def _written_over(net: nn.Module, x: Tensor) -> Tensor:
    buffer = torch.full((2, 4), NAN)
    torch.log(x.abs().neg(), out=buffer)
    return buffer * 2


def test_what_is_only_written_over_was_not_given() -> None:
    assert origin(recorded(Net(_copied_over).eval(), x(2, 4))) == "reciprocal"
    assert origin(recorded(Net(_copied_over), x(2, 4))) == "log"
    assert origin(recorded(Net(_written_over), x(2, 4))) == "log"


class Own(nn.Parameter):
    pass


def test_a_layer_whose_weight_could_not_be_measured_is_not_blamed() -> None:
    layer = linear()
    layer.weight = Own(torch.full((4, 4), NAN))
    graph = recorded(nn.Sequential(linear(), layer), x(2, 4))
    report = graph.value_report()
    assert (report.origin, report.ok) == (None, False)
    assert "the result of 1 is not finite: not all that it was given was measured" in str(report)


UNMEASURED: dict[str, Callable[[Tensor], Tensor]] = {
    "sparse": lambda t: t.to_sparse().sqrt(),
    "rows": lambda t: t.relu().to_sparse_csr() * NAN,
    "a subclass": lambda t: t.as_subclass(Doubled).log(),
    "jagged": lambda t: torch.nested.as_nested_tensor([t, t[:1]], layout=torch.jagged).log(),
    "meta": lambda t: t.to("meta").log(),
}


@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
@pytest.mark.parametrize("kind", UNMEASURED)
@pytest.mark.parametrize("bad", [False, True])
def test_what_no_measured_value_vouches_for_is_not_said_to_be_sound(kind: str, bad: bool) -> None:
    given = x(2, 4).abs() + 1
    report = recorded(Net(lambda net, x: UNMEASURED[kind](x)), -given if bad else given).value_report()
    assert (report.origin, report.ok) == (None, False)
    assert "could not be measured" in str(report)
    assert "no fault" not in str(report)


def test_an_unmeasured_value_is_vouched_for_by_what_was_made_of_it() -> None:
    for forward in (
        lambda net, x: x.relu().to_sparse().to_dense() * 2,
        lambda net, x: torch.func.vmap(torch.sin)(x) * 2,
        lambda net, x: x.as_subclass(Doubled).neg().as_subclass(Tensor) * 2,
    ):
        report = recorded(Net(forward), x(2, 4)).value_report()
        assert str(report) == "no fault found in the values"


@pytest.mark.parametrize(
    ("forward", "name"),
    [
        (lambda net, x: x.masked_fill(x > 0, NAN), "masked_fill"),
        (lambda net, x: x + torch.full((4,), NAN), "full"),
        (lambda net, x: net.a(x * NAN), "mul"),
        (lambda net, x: x + torch.zeros(4).fill_(NAN), "fill_"),
    ],
)
def test_a_nan_that_was_asked_for_and_came_to_something_is_told(forward: Any, name: str) -> None:
    graph = recorded(Net(forward, a=linear(4, 4)), x(2, 4))
    assert origin(graph) == name
    assert "asked to, by an argument that is NaN" in str(graph.value_report())


@pytest.mark.parametrize(
    "forward",
    [
        lambda net, x: x.masked_fill(x > 0, NAN).nanmean(),
        lambda net, x: torch.where((y := x.masked_fill(x > 0, NAN)).isnan(), 0.0, y),
    ],
)
def test_a_nan_that_marks_what_is_missing_is_no_fault(forward: Any) -> None:
    assert recorded(Net(forward), x(2, 4)).value_report().ok


@pytest.mark.parametrize("criterion", [F.cross_entropy, nn.CrossEntropyLoss(), lambda o, y: F.nll_loss(o, y)])
def test_a_loss_is_named_that_is_infinite_because_its_target_is_masked(criterion: Any) -> None:
    net, target = linear(4, 4), torch.tensor([0, 1])
    for masked, sound in (([3], True), ([0], False)):
        with Recorder(net, values="stats") as r:
            out = net(x(2, 4)).index_fill(1, torch.tensor(masked), -INF)
            loss = criterion(out, target)
        assert bool(loss.isfinite()) == sound
        report = report_of(r)
        assert report.ok == sound
        assert sound or (report.origin is r.graph.nodes[-1] and "had Inf, from index_fill, and Inf" in str(report))
