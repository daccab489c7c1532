"""Writes in place, each with the graph written down."""

from typing import Any

import torch
from support.models import Net, in_words, linear, record, written, x
from torch import Tensor, nn


def test_a_write_through_a_view_is_seen_by_the_base(grad_mode: Any) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = x * 2
        y[0].add_(1)
        return y.exp()

    with grad_mode():
        graph = record(Net(forward), x())
    assert in_words(graph) == written("""
        inputs: input
        Net: mul = mul(input)
        Net: getitem = getitem(mul:0)
        Net: add_ = add_(getitem:0) -> add_:0 add_:1
        Net: exp = exp(add_:1)
        outputs: exp:0
    """)


def test_a_write_to_the_base_is_seen_by_a_view(grad_mode: Any) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = x * 2
        row, before = y[0], y[1].exp()
        y.add_(1)
        return row.exp() + before

    with grad_mode():
        graph = record(Net(forward), x())
    assert in_words(graph) == written("""
        inputs: input
        Net: mul = mul(input)
        Net: getitem = getitem(mul:0)
        Net: getitem_1 = getitem(mul:0)
        Net: exp = exp(getitem_1:0)
        Net: add_ = add_(mul:0) -> add_:0 add_:1
        Net: exp_1 = exp(add_:1)
        Net: add = add(exp_1:0, exp:0)
        outputs: add:0
    """)


def test_assignment_to_an_element(grad_mode: Any) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        y[0] = 0
        y[1] = x[0]
        return y

    with grad_mode():
        graph = record(Net(forward, fc=linear()), x())
    assert in_words(graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: setitem = setitem(fc:0)
        Net: getitem = getitem(input)
        Net: setitem_1 = setitem(setitem:0, getitem:0)
        outputs: setitem_1:0
    """)


def test_augmented_assignment(grad_mode: Any) -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = x + 1
        y += x
        y *= 2
        return y

    with grad_mode():
        graph = record(Net(forward), x())
    assert in_words(graph) == written("""
        inputs: input
        Net: add = add(input)
        Net: add_ = add_(add:0, input)
        Net: mul_ = mul_(add_:0)
        outputs: mul_:0
    """)


def test_out() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = torch.empty_like(x)
        torch.mul(x, 2, out=y)
        return y.exp()

    assert in_words(record(Net(forward), x())) == written("""
        inputs: input
        Net: empty_like = empty_like(input)
        Net: mul = mul(input, empty_like:0)
        Net: exp = exp(mul:0)
        outputs: exp:0
    """)


def test_an_input_written_in_place() -> None:
    net = Net(lambda net, x: x.mul_(2).exp())
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: mul_ = mul_(input)
        Net: exp = exp(mul_:0)
        outputs: exp:0
    """)


def test_an_in_place_module() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        z = net.act(y)
        return y + z

    net = Net(forward, fc=linear(), act=nn.ReLU(inplace=True))
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: act = ReLU(fc:0)
        Net: add = add(act:0, act:0)
        outputs: add:0
    """)


def test_an_in_place_module_made_during_forward_writes_through_a_view() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        nn.ReLU(inplace=True)(y[0])
        return y.exp()

    assert in_words(record(Net(forward, fc=linear()), x())) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: getitem = getitem(fc:0)
        Net: ReLU = ReLU(getitem:0) -> ReLU:0 ReLU:1
        Net: exp = exp(ReLU:1)
        outputs: exp:0
    """)


def test_an_in_place_functional() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        nn.functional.relu(y[0], inplace=True)
        return y.exp()

    assert in_words(record(Net(forward, fc=linear()), x())) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: getitem = getitem(fc:0)
        Net: relu = relu(getitem:0) -> relu:0 relu:1
        Net: exp = exp(relu:1)
        outputs: exp:0
    """)


def test_a_buffer_written_in_training() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        net.seen += 1
        return x / net.seen

    assert in_words(record(Net(forward, seen=torch.zeros(())), x())) == written("""
        inputs: input
        Net: add_ = add_(seen)
        Net: div = div(input, add_:0)
        outputs: div:0
    """)
