"""Which operations are known to take no floating-point operations, which have a formula, and which are unknown."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net, linear, x
from torch import Tensor, nn
from torch.utils.flop_counter import flop_registry, register_flop_formula

from recorder import EventStream, Recorder, annotate, assemble
from recorder.analysis.metrics import Measured, measured

LONG = torch.tensor([0, 1, 2])


def of(function: Callable[..., Any], *shapes: tuple[int, ...], grad: bool = True, **members: Any) -> Measured:
    """Of a function that is called in a module, with gradients for all that it is given."""
    net = Net(lambda net, *args: function(*args), **members)
    inputs = [torch.randn(*shape, requires_grad=grad) for shape in shapes]
    with Recorder(net) as r:
        result = net(*inputs)
        if grad:
            result.float().sum().backward()
    return measured(r.graph)


def sampled(x: Tensor) -> Tensor:
    return F.grid_sample(x, torch.zeros(1, 3, 3, 2), align_corners=False).sum()


FREE: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "activations": (
        lambda x: F.gelu(x) + F.silu(x) + F.hardswish(x) + F.softplus(x) + F.mish(x) + F.relu6(x) + F.logsigmoid(x)
        + F.prelu(x, torch.ones(1)) + F.glu(torch.cat([x, x], -1)) + F.threshold(x, 0.0, 0.0) + x.tanh() + F.rrelu(x),
        (3, 3),
    ),
    "arithmetic": (lambda x: 2 * x**2 - x / 3 + torch.addcmul(x, x, x).clamp(0, 1).exp() + torch.lerp(x, x, 0.5), (3,)),
    "in place": (lambda x: x.clone().add_(1).mul_(2).relu_(), (3, 3)),
    "norms": (
        lambda x: F.layer_norm(x, (3,)) + F.group_norm(x, 3) + F.batch_norm(x, None, None, training=True)
        + F.instance_norm(x) + F.rms_norm(x, (3,)) + F.normalize(x) + F.local_response_norm(x, 2) + x.norm(),
        (3, 3, 3),
    ),
    "sums": (
        lambda x: x.mean(0) + x.std(1) + x.amax(0) + x.logsumexp(0) + x.prod(0) + x.cumsum(0).var(0) + x.softmax(-1),
        (3, 3),
    ),
    "order": (lambda x: x.sort()[0] + x.topk(3)[0] + x.median() + x.argmax(-1) + x.quantile(0.5), (3, 3)),
    "pools": (
        lambda x: F.avg_pool2d(F.max_pool2d(x, 2), 2) + F.adaptive_avg_pool2d(x, 1) + F.lp_pool2d(x, 2, 4),
        (1, 2, 4, 4),
    ),
    "losses": (
        lambda x: F.cross_entropy(x, LONG) + F.mse_loss(x, 2 * x) + F.huber_loss(x, 2 * x) + F.nll_loss(x, LONG)
        + F.binary_cross_entropy_with_logits(x, x.detach().sigmoid()) + F.triplet_margin_loss(x, x, x)
        + F.kl_div(x.log_softmax(-1), x.detach().softmax(-1), reduction="batchmean")
        + F.cosine_embedding_loss(x, x, torch.ones(3)),
        (3, 3),
    ),
    "images": (
        lambda x: F.interpolate(x, scale_factor=2, mode="bilinear").sum() + sampled(x)
        + F.pad(x, (1, 1, 1, 1), mode="reflect").sum() + F.pixel_shuffle(x, 2).sum()
        + F.fold(F.unfold(x, 2), (4, 4), 2).sum(),
        (1, 4, 4, 4),
    ),
    "moves": (
        lambda x: x.gather(0, LONG.expand(3, 3)) + x[LONG] + x.index_select(0, LONG) + x.roll(1, 0) + x.tril()
        + torch.where(x > 0, x, 0.0) + x.masked_fill(x > 0, 0.0) + torch.stack([x, x]).sum(0) + x.flip(0)
        + torch.zeros(3, 3).scatter_add(0, LONG.expand(3, 3), x) + F.one_hot(LONG) + x.diag().diag_embed(),
        (3, 3),
    ),
    "random": (
        lambda x: F.dropout(x) + torch.randn(3, 3) + torch.rand_like(x) + torch.bernoulli(torch.full((3, 3), 0.5))
        + F.gumbel_softmax(x) + torch.multinomial(x.softmax(-1), 1) + torch.linspace(0, 1, 3),
        (3, 3),
    ),
    "types": (lambda x: x.double().half().to(torch.bfloat16).float().type_as(x), (3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", FREE)
def test_what_takes_no_product_is_known_and_takes_none(name: str) -> None:
    function, shape = FREE[name]
    found = of(function, shape)
    assert not found.unknown
    assert (found.total["flops"], found.total["flops_backward"], found.total["flops_unknown"]) == (0, 0, 0)


UNKNOWN: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "fft": (lambda x: torch.fft.fft(x).abs(), (4,)),
    "rfft2": (lambda x: torch.fft.rfft2(x).abs(), (4, 4)),
    "stft": (lambda x: torch.stft(x, 8, window=torch.ones(8), return_complex=True).abs(), (64,)),
    "inv": (torch.linalg.inv, (3, 3)),
    "inverse": (lambda x: x.inverse(), (3, 3)),
    "svd": (lambda x: torch.linalg.svd(x)[1], (3, 3)),
    "norm": (lambda x: torch.linalg.norm(x, 2), (3, 3)),  # the largest singular value
    "nuclear": (lambda x: torch.norm(x, "nuc"), (3, 3)),
    "cdist": (lambda x: torch.cdist(x, x + 1), (3, 3)),
    "cdist of many": (lambda x: torch.cdist(x, x + 1), (30, 3)),
    "pdist": (F.pdist, (3, 3)),
    "qr": (lambda x: torch.linalg.qr(x)[0], (3, 3)),
    "det": (torch.det, (3, 3)),
    "solve": (lambda x: torch.linalg.solve(x, x), (3, 3)),
    "matrix_exp": (torch.matrix_exp, (3, 3)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_formula_is_unknown(name: str) -> None:
    function, shape = UNKNOWN[name]
    found = of(function, shape, grad=False)
    assert found.total["flops_unknown"] == 1
    assert "flops" not in found.total


PRODUCTS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]], int]] = {
    "mv": (torch.mv, [(3, 4), (4,)], 2 * 12),
    "matrix @ vector": (lambda a, b: a @ b, [(2, 3, 4), (4,)], 2 * 24),
    "vector @ matrix": (lambda a, b: a @ b, [(4,), (4, 3)], 2 * 12),
    "dot": (torch.dot, [(4,), (4,)], 2 * 4),
    "outer": (torch.outer, [(4,), (3,)], 2 * 12),
    "addmv": (torch.addmv, [(3,), (3, 4), (4,)], 2 * 12),
    "addr": (torch.addr, [(4, 3), (4,), (3,)], 2 * 12),
    "addbmm": (torch.addbmm, [(3, 5), (2, 3, 4), (2, 4, 5)], 2 * 120),
    "baddbmm": (torch.baddbmm, [(2, 3, 5), (2, 3, 4), (2, 4, 5)], 2 * 120),
    "by keyword": (lambda a, b, c: torch.addmm(mat2=c, input=a, mat1=b), [(3, 5), (3, 4), (4, 5)], 2 * 60),
    "chain": (torch.chain_matmul, [(3, 4), (4, 5), (5, 2)], 2 * (3 * 4 * 2 + 4 * 5 * 2)),
    "power": (lambda a: torch.linalg.matrix_power(a, 3), [(3, 3)], 2 * 2 * 27),
    "bilinear": (F.bilinear, [(2, 3), (2, 4), (5, 3, 4)], 2 * 120 + 2 * 40),
    "einsum": (lambda *t: torch.einsum("bi,kij,bj->bk", *t), [(2, 3), (5, 3, 4), (2, 4)], 2 * 120 + 2 * 40),
    "einsum of lists": (lambda a, b: torch.einsum(a, [0, 1], b, [1, 2], [0, 2]), [(2, 3), (3, 4)], 2 * 24),
    "linear without a batch": (F.linear, [(4,), (3, 4)], 2 * 12),
    "aten": (lambda a, b: torch.ops.aten.linear.default(a, b), [(2, 4), (3, 4)], 2 * 24),
    "aten with a list": (lambda a, b: torch.ops.aten.einsum.default("ij,jk->ik", [a, b]), [(2, 3), (3, 4)], 2 * 24),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*chain_matmul")
@pytest.mark.parametrize("name", PRODUCTS)
def test_products_count_what_they_compute(name: str) -> None:
    """Backward takes two products for each: one for either gradient."""
    function, shapes, flops = PRODUCTS[name]
    found = of(function, *shapes)
    assert not found.unknown
    assert (found.total["flops"], found.total["flops_backward"]) == (flops, 2 * flops)


@pytest.mark.parametrize("size", [(2, 5), (0,)])
@pytest.mark.parametrize(
    ("function", "flops"), [(torch.mm, 80), (torch.matmul, 80), (torch.mul, 0), (torch.linalg.multi_dot, 80)]
)
def test_what_is_written_to_is_no_factor(function: Callable[..., Tensor], flops: int, size: tuple[int, ...]) -> None:
    def called(a: Tensor, b: Tensor) -> Tensor:
        if function is torch.mul:
            return torch.mul(a, a, out=torch.empty(size if size == (0,) else a.shape))
        given: Any = ([a, b],) if function is torch.linalg.multi_dot else (a, b)
        return function(*given, out=torch.empty(size))

    found = of(called, (2, 4), (4, 5), grad=False)
    assert (found.total["flops"], dict(found.unknown or {})) == (flops, {})


@torch.library.custom_op("recorder_tests::scaled", mutates_args=())
def scaled(a: Tensor, b: Tensor, times: int = 3) -> Tensor:
    return a @ b * times


@pytest.fixture
def formula() -> Any:
    @register_flop_formula(torch.ops.recorder_tests.scaled)
    def of_scaled(a: Any, b: Any, times: int = 3, *, out_shape: Any = None, **others: Any) -> int:
        return times * a[0] * a[1] * b[1] + out_shape[0]

    yield
    del flop_registry[torch.ops.recorder_tests.scaled]


def test_an_operator_of_ones_own_is_unknown() -> None:
    found = of(lambda a, b: scaled(a, b), (2, 3), (3, 4), grad=False)
    assert found.unknown == {"scaled": 1}


@pytest.mark.usefixtures("formula")
@pytest.mark.parametrize(
    ("called", "times"),
    [
        (lambda a, b: scaled(a, b, times=5), 5),
        (lambda a, b: scaled(a, b), 3),
        (lambda a, b: torch.ops.recorder_tests.scaled(a, b, 7), 7),
        (lambda a, b: torch.ops.recorder_tests.scaled.default(a, b), 3),
    ],
)
def test_a_formula_that_was_registered_is_used(called: Callable[..., Tensor], times: int) -> None:
    found = of(called, (2, 3), (3, 4), grad=False)
    assert not found.unknown
    assert found.total["flops"] == times * 24 + 2


@pytest.mark.usefixtures("formula")
def test_what_backward_of_ones_own_does_is_not_known() -> None:
    class Own(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
            ctx.save_for_backward(weight)
            return x @ weight

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Any:
            return gradients[0] @ ctx.saved_tensors[0].T, None

    net = Net(lambda net, x: net.b(Own.apply(net.a(x), net.w)), a=linear(), b=linear(), w=torch.ones(4, 4))
    with Recorder(net) as r:
        net(x()).sum().backward()
    total = measured(r.graph).total
    assert total["flops"] == 3 * 64
    assert total["flops_backward"] == 64 + 2 * 64  # of a, whose input needs none, and of b, whose input got one
    assert total["flops_backward_unknown"] == 1


def test_a_recording_of_an_operator_calls_it_not(tmp_path: Any) -> None:
    """Nor is it looked for: a formula that was not registered here is none."""
    ran: list[int] = []

    @torch.library.custom_op("recorder_tests::seen", mutates_args=())
    def seen(a: Tensor) -> Tensor:
        ran.append(1)
        return a.clone()

    net = Net(lambda net, x: seen(x))
    with Recorder(net) as r:
        net(x())
    r.events.save(tmp_path / "run.jsonl")
    graph = annotate(assemble(EventStream.load(tmp_path / "run.jsonl")))
    ran.clear()
    assert measured(graph).unknown == {"seen": 1}
    assert not ran


LATE: dict[str, Callable[[], nn.Module]] = {
    "lazy": lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10)),
    "made in forward": lambda: Net(made_in_forward),
}


def made_in_forward(net: nn.Module, x: Tensor) -> Tensor:
    if not hasattr(net, "conv"):
        net.conv, net.fc = nn.Conv2d(1, 8, 3), nn.Linear(288, 10)
    result: Tensor = net.fc(net.conv(x).relu().flatten(1))
    return result


@pytest.mark.parametrize("name", LATE)
def test_layers_that_are_made_in_the_first_call_count_in_it(name: str) -> None:
    net = LATE[name]()
    totals = []
    for _ in range(2):
        with Recorder(net) as r:
            net(torch.randn(1, 1, 8, 8))
        totals.append(r.summary().total)
    assert totals[0]["flops"] == totals[1]["flops"] == 2 * 8 * 36 * 9 + 2 * 288 * 10
    assert totals[0]["flops_unknown"] == 0


@pytest.mark.filterwarnings("ignore:.*weight_norm")
def test_weights_that_hooks_make_are_as_large_as_the_layer_says() -> None:
    net = torch.nn.utils.weight_norm(nn.Linear(4, 3))
    with Recorder(net) as r:
        net(torch.randn(2, 4)).sum().backward()
    found = measured(r.graph)
    assert (found.total["flops"], found.total["flops_backward"]) == (48, 48)
    assert not found.unknown
