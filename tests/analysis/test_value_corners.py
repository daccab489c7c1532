"""What a report of values says where two readings are near: dead or saturated, made or handed on."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from support.models import Net, x
from torch import Tensor, nn

from recorder import Graph, Node, Recorder, Value
from recorder.analysis.value_report import ValueReport

INF, NAN = float("inf"), float("nan")


def report(net: nn.Module, *inputs: Tensor) -> ValueReport:
    with Recorder(net, values="stats") as r:
        net(*inputs)
    return r.graph.value_report()


def names(nodes: tuple[Node, ...]) -> list[str]:
    return [node.name for node in nodes]


@pytest.mark.parametrize(("elements", "told"), [(7, []), (8, ["0"])])
def test_of_a_few_elements_chance_makes_zeros(elements: int, told: list[str]) -> None:
    assert names(report(nn.Sequential(nn.ReLU()), -torch.ones(elements)).dead) == told


def test_what_is_dead_is_not_saturated_too() -> None:
    found = report(nn.Sequential(nn.ReLU6()), -torch.ones(2, 8))
    assert (names(found.dead), found.saturated) == (["0"], ())


def test_of_what_is_not_finite_nothing_is_saturated() -> None:
    found = report(nn.Sequential(nn.Tanh()), torch.tensor([100.0] * 99 + [NAN]))
    assert (found.saturated, found.given) == ((), ("input",))


@pytest.mark.parametrize(("slope", "told"), [(0.019, ["0"]), (0.021, [])])
@pytest.mark.parametrize("activation", [nn.Sigmoid, nn.Tanh, nn.ReLU6])
def test_just_under_and_over_the_threshold(activation: Any, slope: float, told: list[str]) -> None:
    """All alike, so that the mean slope is that of one value v, as a part of the greatest: 4v(1 - v) of a sigmoid,
    1 - v² of a tanh, v(6 - v) / 9 between the ends of a ReLU6.
    """
    root = torch.tensor(1 - slope, dtype=torch.float64).sqrt()
    given = {
        nn.Sigmoid: torch.logit((1 + root) / 2),
        nn.Tanh: torch.atanh(root),
        nn.ReLU6: 3 + 3 * root,
    }[activation]
    found = report(nn.Sequential(activation()), given.expand(16).clone())
    assert names(found.saturated) == told


def test_a_number_at_the_end_of_a_dtype_was_meant_for_infinity() -> None:
    least = torch.finfo(torch.float16).min
    assert report(Net(lambda net, x: (x.half() * 0 + least) + least), x(4)).ok
    assert not report(Net(lambda net, x: (x.half() * 0 + least / 2) * 4), x(4)).ok


def test_what_comes_of_an_infinity_that_was_made_is_no_further_fault() -> None:
    def forward(net: nn.Module, x: Tensor) -> Tensor:
        made = torch.full((4,), INF) + (x.abs() + 100).exp()
        return made - made

    found = report(Net(forward), x(4))
    assert found.origin is not None
    assert (found.origin.op_type, found.others) == ("exp", ())


def test_a_mask_that_was_made_by_a_logarithm_is_no_fault_in_attention() -> None:
    mask = torch.ones(4, 4).tril()

    def forward(net: nn.Module, x: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(x, x, x, mask.log())

    assert report(Net(forward), x(1, 4, 4)).ok


def test_the_reciprocal_of_zero_is_no_overflow() -> None:
    text = str(report(Net(lambda net, x: (x * 0).pow(-1)), x(4)))
    assert "pow (in Net Net) made 4 Inf of 4 elements" in text
    assert "mul:0 had zeros" in text
    assert "holds no more than" not in text


@pytest.mark.parametrize(("count", "words"), [(3, "a, b, c had zeros"), (4, "a, b, c and 1 more had zeros")])
def test_names_of_a_few_are_listed_and_of_more_counted(count: int, words: str) -> None:
    zeros = {"norm": 0.0, "largest": 0.0, "mean": 0.0, "nan": 0, "inf": 0, "zeros": 1.0}
    inputs = [Value(name, (4,), "float32", "cpu", role="input", meta={"stats": zeros}) for name in "abcd"[:count]]
    output = Value("y", (4,), "float32", "cpu", meta={"stats": {**zeros, "nan": 4}})
    node = Node("f", "function", "f", "torch.f", inputs=tuple(inputs), outputs=(output,))
    graph = Graph([node], inputs=inputs, outputs=[output], meta={"values": "stats"})
    assert str(graph.value_report()).endswith(f"{words}")


@pytest.mark.parametrize(("target", "origin"), [("torch.distributed.all_reduce", None), ("torch.exp", "f")])
def test_what_comes_from_another_rank_is_not_made_here(target: str, origin: str | None) -> None:
    stats = {"norm": 1.0, "largest": 1.0, "mean": 1.0, "nan": 0, "inf": 0, "zeros": 0.0}
    given = Value("a", (4,), "float32", "cpu", role="input", meta={"stats": stats})
    output = Value("y", (4,), "float32", "cpu", meta={"stats": {**stats, "nan": 1}})
    node = Node("f", "function", target.rpartition(".")[2], target, inputs=(given,), outputs=(output,))
    found = Graph([node], inputs=[given], outputs=[output], meta={"values": "stats"}).value_report().origin
    assert (None if found is None else found.name) == origin
