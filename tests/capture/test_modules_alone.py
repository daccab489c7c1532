"""Modules alone: ``functions=False``."""

import torch
from support.models import Net, in_words, linear, written, x
from torch import Tensor, nn

from recorder import Recorder


def test_modules_alone_have_the_edges_that_can_be_known() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        a = net.a(x)
        return net.c(net.b(a) + a)

    net = Net(forward, a=linear(), b=linear(), c=linear())
    with Recorder(net, functions=False) as r:
        net(x())
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, b.weight)
        Net: c = Linear(a:0, b:0, c.weight)
        outputs: c:0
    """)
    with torch.no_grad(), Recorder(net, functions=False) as r:
        net(x())
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, b.weight)
        Net: c = Linear(constant, c.weight)
        outputs: c:0
    """)


def test_modules_alone_with_in_place_functions_and_a_loss() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.a(x)
        y += 1
        return net.b(y)

    net = Net(forward, a=linear(), b=linear())
    with Recorder(net, functions=False) as r:
        nn.MSELoss()(net(x()), x()).backward()
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, b.weight)
        MSELoss = MSELoss(b:0, constant)
        outputs: b:0
    """)
