"""FLOPs where a wrong guess gives another figure: each against `FlopCounterMode` of the real run, or arithmetic."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net, x
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, flop_registry, register_flop_formula

from recorder import Graph, Node, Recorder, Value
from recorder.analysis.metrics import Measured, measured


def recorded(net: nn.Module, *inputs: Any, backward: bool = False) -> Measured:
    with Recorder(net) as r:
        result = net(*inputs)
        if backward:
            (result[0] if isinstance(result, tuple) else result).sum().backward()
    return measured(r.graph)


def one_call(target: str, *shapes: tuple[int, ...], to: tuple[int, ...], **attributes: Any) -> Measured:
    """A call that a file tells of."""
    inputs = [Value(f"x{i}", shape, "float32", "cpu", role="input") for i, shape in enumerate(shapes)]
    output = Value("y", to, "float32", "cpu")
    name = target.rpartition(".")[2]
    node = Node("call", "function", name, target, inputs=tuple(inputs), outputs=(output,), attributes=attributes)
    return measured(Graph([node], inputs=inputs, outputs=[output]))


def test_what_was_given_by_keyword_in_another_order_is_not_another_product() -> None:
    """Both orders of these two can be multiplied; what came out tells which it was."""
    found = recorded(Net(lambda net, a, b: torch.matmul(other=b, input=a)), x(2, 5), x(5, 2))
    assert (found.total["flops"], found.total["flops_unknown"]) == (2 * 2 * 5 * 2, 0)


@pytest.mark.parametrize(
    ("target", "shapes", "attributes"),
    [
        ("torch.mm", [(2, 3), (3, 4), (4, 5)], {}),
        ("torch.mm", [(2, 3), (3, 4)], {"alpha": 2}),
        ("torch.matmul", [(2, 3), (3, 4)], {"out": "<something>"}),
        ("torch.nn.functional.linear", [(2, 3), (4, 3)], {"out": "<something>"}),
        ("torch.nn.init.orthogonal_", [(2, 4)], {}),
    ],
)
def test_a_call_with_more_than_it_takes_is_unknown(target: str, shapes: Any, attributes: Any) -> None:
    assert one_call("torch.mm", (2, 3), (3, 4), to=(2, 4)).total["flops"] == 48
    assert one_call(target, *shapes, to=(2, 4), **attributes).unknown == {target.rpartition(".")[2]: 1}


UNKNOWN: dict[str, tuple[Callable[[Tensor], Any], Tensor]] = {
    "inv": (torch.linalg.inv, torch.eye(3, dtype=torch.complex64)),
    "ctc_loss": (
        lambda x: F.ctc_loss(x.log_softmax(-1), torch.ones(1, 2, dtype=torch.long), [5], [2]), torch.ones(5, 1, 3)
    ),
    "CTCLoss": (
        lambda x: nn.CTCLoss()(x.log_softmax(-1), torch.ones(1, 2, dtype=torch.long), [5], [2]), torch.ones(5, 1, 3)
    ),
    "whole": (lambda x: torch.ops.recorder_tests.whole(x), torch.ones(3, dtype=torch.long)),
}  # fmt: skip


@torch.library.custom_op("recorder_tests::whole", mutates_args=())
def whole(a: Tensor) -> Tensor:
    return a * 2


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_formula_is_unknown(name: str) -> None:
    function, given = UNKNOWN[name]
    assert recorded(Net(lambda net, x: function(x)), given).unknown == {name: 1}


def test_products_of_whole_numbers_count_as_those_of_others() -> None:
    net = Net(lambda net, a, b: a @ b)
    found = recorded(net, torch.ones(2, 3, dtype=torch.long), torch.ones(3, 4, dtype=torch.long))
    assert found.total["flops"] == 2 * 2 * 3 * 4


def test_both_directions_begin_with_what_needs_no_gradient() -> None:
    found = recorded(nn.LSTM(4, 8, bidirectional=True), x(5, 2, 4), backward=True).total
    of_input, of_hidden, of_first = 2 * 10 * 4 * 32, 2 * 10 * 8 * 32, 2 * 2 * 8 * 32
    assert found["flops"] == 2 * (of_input + of_hidden)
    assert found["flops_backward"] == 2 * (of_input + 2 * of_hidden - of_first)


TRANSPOSED: dict[str, tuple[Callable[[], nn.Module], tuple[Any, ...]]] = {
    "of a size": (
        lambda: Net(lambda net, x: net.up(x, output_size=[9, 10]), up=nn.ConvTranspose2d(4, 2, 3, stride=2, padding=1)),
        (2, 4, 5, 5),
    ),
    "made by a hook": (lambda: torch.nn.utils.weight_norm(nn.ConvTranspose2d(4, 6, 3, groups=2)), (2, 4, 5, 5)),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm")
@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolutions(name: str) -> None:
    make, shape = TRANSPOSED[name]
    net, batch = make(), x(*shape)
    with FlopCounterMode(display=False) as counter:
        net(batch)
    found = recorded(net, batch)
    assert found.total["flops"] == counter.get_total_flops() > 0
    assert not found.unknown


@torch.library.custom_op("recorder_tests::doubled", mutates_args=())
def doubled(a: Tensor) -> Tensor:
    return a * 2


def test_backward_of_an_operator_with_a_formula_is_not_known() -> None:
    doubled.register_autograd(lambda ctx, gradient: gradient * 2)

    @register_flop_formula(torch.ops.recorder_tests.doubled)
    def of_doubled(a: Any, *, out_shape: Any = None, **others: Any) -> int:
        return 7

    net = Net(lambda net, x: net.b(doubled(net.a(x))), a=nn.Linear(4, 4), b=nn.Linear(4, 4))
    try:
        found = recorded(net, x(2, 4), backward=True).total
    finally:
        del flop_registry[torch.ops.recorder_tests.doubled]
    assert found["flops"] == 7 + 2 * 64
    assert found["flops_backward"] == 64 + 128
    assert found["flops_backward_unknown"] == 1
