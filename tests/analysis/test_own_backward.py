"""Of a `torch.autograd.Function` backward is not seen, and sums say so; of what ran without gradients it is known."""

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
import torch.nn.functional as F
from support.models import Net
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from recorder import Recorder


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, weight = ctx.saved_tensors
        return gradients[0] @ weight.T, x.T @ gradients[0]


def product(x: Tensor, weight: Tensor) -> Tensor:
    result: Tensor = Product.apply(x, weight)  # type: ignore[no-untyped-call]
    return result


def quietly(function: Callable[..., Tensor], *args: Tensor) -> Tensor:
    with torch.no_grad():
        return function(*args)


OWN: dict[str, Callable[..., Tensor]] = {
    "returned": lambda net, x: product(net.a(x), net.w),
    "to a function": lambda net, x: product(net.a(x), net.w) * 2,
    "to a layer": lambda net, x: net.b(product(net.a(x), net.w)),
    "beside another way": lambda net, x: (h := net.a(x)) + product(h, net.w),
    "beside another way, to a layer": lambda net, x: net.b((h := net.a(x)) + product(h, net.w)),
}
KNOWN: dict[str, Callable[..., Tensor]] = {
    "plain": lambda net, x: net.b((h := net.a(x)) + h @ net.w),
    "a mask": lambda net, x: (h := net.a(x)) * quietly(lambda h: (h > 0).float(), h),
    "a layer without gradients": lambda net, x: net.a(x) + quietly(net.b, x),
    "a choice": lambda net, x: (h := net.a(x))[quietly(lambda h: (h @ net.w).argmax(0), h)],
    "detached": lambda net, x: (h := net.a(x)) + h.detach() @ net.w.detach(),
}


def measured(forward: Callable[..., Tensor], loss: Callable[[Tensor], Tensor], gradients: Any) -> tuple[Any, int]:
    """What the recording says, and what torch counts in backward."""
    net = Net(forward, a=nn.Linear(4, 4), b=nn.Linear(4, 4), w=nn.Parameter(torch.randn(4, 4)))
    batch = torch.randn(5, 4)
    with Recorder(net, gradients=gradients) as r:
        loss(net(batch)).backward()
    with FlopCounterMode(display=False) as witness:
        result = loss(net(batch))
        before = witness.get_total_flops()
        result.backward()
    return r.summary().total, witness.get_total_flops() - before


@pytest.mark.parametrize("gradients", ["calls", "on", "stats"])
@pytest.mark.parametrize("loss", [Tensor.sum, lambda out: F.mse_loss(out, torch.zeros(out.shape))])
@pytest.mark.parametrize("name", OWN)
def test_a_sum_over_a_backward_of_ones_own_is_a_lower_bound(
    name: str, loss: Callable[[Tensor], Tensor], gradients: Literal["calls", "on", "stats"]
) -> None:
    told, truth = measured(OWN[name], loss, gradients)
    assert told["flops_backward_unknown"] == 1
    assert told["flops_backward"] == truth - 2 * 160


@pytest.mark.parametrize("gradients", ["calls", "on", "stats"])
@pytest.mark.parametrize("name", KNOWN)
def test_what_ran_without_gradients_makes_no_doubt(name: str, gradients: Literal["calls", "on", "stats"]) -> None:
    told, truth = measured(KNOWN[name], Tensor.sum, gradients)
    assert "flops_backward_unknown" not in told
    assert told["flops_backward"] == truth


def test_where_it_cannot_be_told_apart_it_is_in_doubt() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        h: Tensor = net.a(x)
        return h + quietly(torch.matmul, h, net.w)

    told, truth = measured(forward, Tensor.sum, "calls")
    assert (told["flops_backward"], told["flops_backward_unknown"]) == (truth, 1)
    told, truth = measured(forward, Tensor.sum, "on")
    assert (told["flops_backward"], told.get("flops_backward_unknown")) == (truth, None)
