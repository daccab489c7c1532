"""Programs whose dataflow is hard to record, each with its graph written down.

`models.record` also checks, for each of them, that recording left the results as they are, and that modules alone
(``functions=False``) are the same modules.
"""

from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, record, written, x
from torch import Tensor, nn

from recorder import Recorder


def test_residual() -> None:
    net = Net(lambda net, x: net.fc(x) + x, fc=linear())
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: add = add(fc:0, input)
        outputs: add:0
    """)


def test_nested_scopes_and_functions_in_them() -> None:
    block = Block(lambda block, x: torch.relu(block.fc(x)), fc=linear())
    net = Net(lambda net, x: net.block(x).tanh(), block=block)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net/block: block.fc = Linear(input, block.fc.weight)
        Net/block: block.relu = relu(block.fc:0)
        Net: tanh = tanh(block.relu:0)
        outputs: tanh:0
    """)


def test_what_a_call_hands_on_inside_is_not_what_the_caller_has() -> None:
    block = Block(lambda block, x: block.fc(x.to(torch.float32)), fc=linear())  # float32 already: to returns x itself
    net = Net(lambda net, x: x + net.block(x), block=block)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net/block: block.to = to(input)
        Net/block: block.fc = Linear(block.to:0, block.fc.weight)
        Net: add = add(input, block.fc:0)
        outputs: add:0
    """)


def test_weight_tying() -> None:
    net = Net(lambda net, x: net.b(net.a(x)), a=linear(), b=linear())
    net.b.weight = net.a.weight
    graph = record(net, x())
    assert in_words(graph) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = Linear(a:0, a.weight)
        outputs: b:0
    """)
    (weight,) = graph.initializers
    assert [(node.name, position) for node, position in weight.uses] == [("a", 1), ("b", 1)]


def test_a_module_called_thrice() -> None:
    net = Net(lambda net, x: net.fc(net.fc(net.fc(x))), fc=linear())
    graph = record(net, x())
    assert in_words(graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: fc#1 = Linear(fc:0, fc.weight)
        Net: fc#2 = Linear(fc#1:0, fc.weight)
        outputs: fc#2:0
    """)
    assert [(node.fqn, node.call) for node in graph.nodes] == [("fc", 0), ("fc", 1), ("fc", 2)]


def test_a_block_called_twice() -> None:
    net = Net(lambda net, x: net.block(net.block(x)), block=Block(lambda block, x: x.exp()))
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net/block: block.exp = exp(input)
        Net/block#1: block#1.exp = exp(block.exp:0)
        outputs: block#1.exp:0
    """)


def test_one_module_under_two_names() -> None:
    fc = linear()
    net = Net(lambda net, x: net.b(net.a(x)), a=fc, b=fc)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: a#1 = Linear(a:0, a.weight)
        outputs: a#1:0
    """)


def test_recursion() -> None:
    net = Net(lambda net, x, depth=2: net(net.fc(x), depth - 1) if depth else x, fc=linear())
    graph = record(net, x())
    assert in_words(graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net/Net#1: fc#1 = Linear(fc:0, fc.weight)
        Net/Net#1: Net#2 = Net(fc#1:0)
        outputs: Net#2:0
    """)
    assert [(scope.fqn, scope.call) for scope in graph.scopes] == [("", 0), ("", 1)]


@pytest.mark.supported("control flow that depends on data")
def test_a_branch_on_data() -> None:
    net = Net(lambda net, x: net.a(x) if x.sum() > 0 else net.b(x), a=linear(), b=linear())
    for sign, taken in ((1, "a"), (-1, "b")):
        assert in_words(record(net, torch.full((2, 4), float(sign)))) == written(f"""
            inputs: input
            Net: sum = sum(input)
            Net: gt = gt(sum:0)
            Net: {taken} = Linear(input, {taken}.weight)
            outputs: {taken}:0
        """)


def test_a_loop() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        for layer in net.layers:
            x = layer(x).relu()
        return x

    net = Net(forward, layers=nn.ModuleList([linear(), linear()]))
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: layers.0 = Linear(input, layers.0.weight)
        Net: relu = relu(layers.0:0)
        Net: layers.1 = Linear(relu:0, layers.1.weight)
        Net: relu_1 = relu(layers.1:0)
        outputs: relu_1:0
    """)


def test_many_outputs() -> None:
    def forward(net: Net, x: Tensor) -> tuple[Tensor, ...]:
        a, b = x.split(2, dim=1)
        c, _ = a.chunk(2, dim=1)
        e, f = b.unbind(1)
        return c, f, a, e

    assert in_words(record(Net(forward), x())) == written("""
        inputs: input
        Net: split = split(input) -> split:0 split:1
        Net: chunk = chunk(split:0) -> chunk:0 chunk:1
        Net: unbind = unbind(split:1) -> unbind:0 unbind:1
        outputs: chunk:0 unbind:1 split:0 unbind:0
    """)


def test_no_tensor_at_all() -> None:
    net = Net(lambda net, n: [net.inner(n), None], inner=Block(lambda block, n: n + 1))
    graph = record(net, 3)
    assert in_words(graph) == written("""
        inputs:
        Net: inner = Block() -> ()
        outputs:
    """)


def test_nothing_inside() -> None:
    graph = record(Net(lambda net: None))
    assert in_words(graph) == written("""
        inputs:
        Net = Net() -> ()
        outputs:
    """)
    (node,) = graph.nodes
    assert (node.kind, node.fqn, node.call, node.scope) == ("module", "", 0, None)


# Modules that return what they were given


def test_modules_that_return_their_input() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.fc(x)
        return net.mine(net.dropout(net.identity(y))) + y

    net = Net(forward, fc=linear(), identity=nn.Identity(), dropout=nn.Dropout(), mine=Block(lambda block, x: x)).eval()
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: identity = Identity(fc:0)
        Net: dropout = Dropout(identity:0)
        Net: mine = Block(dropout:0)
        Net: add = add(mine:0, mine:0)
        outputs: add:0
    """)


def test_a_net_that_returns_its_input() -> None:
    graph = record(Net(lambda net, x: x), x())
    assert in_words(graph) == written("""
        inputs: input
        Net = Net(input)
        outputs: Net:0
    """)


# What functions do where the recording cannot look


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return torch.from_numpy(x.detach().numpy() * 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


def test_an_edge_that_autograd_alone_knows() -> None:
    net = Net(lambda net, x: net.fc(Doubled.apply(net.fc(x))), fc=linear())
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: detach = detach(fc:0)
        Net: fc#1 = Linear(fc:0, fc.weight)
        outputs: fc#1:0
    """)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_was_made_unseen_has_its_sources_in_the_order_of_making(reverse: bool) -> None:
    def forward(net: Any, x: Tensor) -> Tensor:
        one, other = net.a(x), net.b(x)
        return net.c(other * one if reverse else one * other)  # type: ignore[no-any-return]

    with Recorder(net := Net(forward, a=linear(), b=linear(), c=linear()), functions=False) as r:
        net(x())
    assert [value.name for value in r.graph.nodes[-1].inputs] == ["a:0", "b:0", "c.weight"]


def test_what_a_call_returns_and_nobody_saw_made_is_no_constant() -> None:
    def forward(net: nn.Module, x: Tensor) -> Any:
        with torch._C.DisableTorchFunction():
            unseen = torch.ones(3)
        return x * 2, unseen

    with Recorder(net := Net(forward)) as r:
        net(x())
    assert [value.role for value in r.graph.outputs] == ["activation", "activation"]
