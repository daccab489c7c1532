"""Programs that raise, each with the graph of what went before."""

from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, record, written, x
from torch import Tensor

from recorder import Recorder


def fail(*_: Any) -> None:
    raise ValueError("no")


FAILURES: dict[str, tuple[Net, str]] = {
    "in a leaf": (
        Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=Block(lambda b, x: b.fc(x), fc=linear(5))),
        """
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net/block: block.fc = Linear(fc:0, block.fc.weight) -> () ! ERROR
        Net ! ERROR
        block ! ERROR
        outputs:
        """,
    ),
    "in a function": (
        Net(lambda net, x: torch.cat([net.fc(x).t(), x]), fc=linear()),
        """
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: t = t(fc:0)
        Net: cat = cat(t:0, input) -> () ! ERROR
        Net ! ERROR
        outputs:
        """,
    ),
    "in a module of the user's": (
        Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=Block(lambda b, x: fail(x.exp()))),
        """
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net/block: block.exp = exp(fc:0)
        Net ! ERROR
        block ! ERROR
        outputs:
        """,
    ),
    "in a module with nothing inside": (
        Net(lambda net, x: net.block(a=net.fc(x)), fc=linear(), block=Block(lambda b, a: fail())),
        """
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: block = Block(fc:0) -> () ! ERROR
        Net ! ERROR
        outputs:
        """,
    ),
    "in an in-place function": (
        Net(lambda net, x: net.fc(x).add_(torch.ones(3, 3)), fc=linear()),
        """
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: ones = ones()
        Net: add_ = add_(fc:0, ones:0) -> () ! ERROR
        Net ! ERROR
        outputs:
        """,
    ),
}


@pytest.mark.parametrize("name", FAILURES)
def test_an_exception_in_the_middle(name: str) -> None:
    net, expected = FAILURES[name]
    with pytest.raises((RuntimeError, ValueError)) as caught, Recorder(net) as r:
        net(x())
    r.graph.lint()
    assert in_words(r.graph) == written(expected).replace("ERROR", f"{caught.type.__name__}: {caught.value}")


def test_the_exception_is_the_very_one_that_was_raised() -> None:
    error = ValueError("mine")

    def forward(net: Net, x: Tensor) -> None:
        net.fc(x)
        raise error

    net = Net(lambda net, x: net.block(x), block=Block(forward, fc=linear()))
    with pytest.raises(ValueError, match="mine") as caught, Recorder(net) as r:
        net(x())
    assert caught.value is error
    assert error.__cause__ is None
    assert error.__context__ is None
    assert not hasattr(error, "__notes__")
    assert [scope.error for scope in r.graph.scopes] == ["ValueError: mine"] * 2


def test_an_exception_that_the_model_catches() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        try:
            return net.bad(x)
        except ValueError:
            return net.good(x)

    net = Net(forward, bad=Block(lambda block, x: fail()), good=linear())
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: bad = Block(input) -> () ! ValueError: no
        Net: good = Linear(input, good.weight)
        outputs: good:0
    """)


@pytest.mark.parametrize("functions", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_ends_the_calls_too(error: type[BaseException], functions: bool) -> None:
    def stop(block: Block, x: Tensor) -> None:
        raise error

    net = Net(lambda net, x: net.block(net.fc(x)), fc=linear(), block=Block(stop))
    with pytest.raises(error), Recorder(net, functions=functions) as r:
        net(x())
    r.graph.lint()
    assert in_words(r.graph) == written(f"""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: block = Block() -> () ! {error.__name__}
        Net ! {error.__name__}
        outputs:
    """)


def test_an_interrupt_caught_inside_the_block() -> None:
    def stop(block: Block, x: Tensor) -> None:
        raise KeyboardInterrupt

    net = Net(lambda net, x: net.block(net.fc(x)) if x.dim() == 2 else net.fc(x[0]), fc=linear(), block=Block(stop))
    good = x(1, 2, 4)
    with Recorder(net) as r:
        with pytest.raises(KeyboardInterrupt):
            net(x())
        net(good).exp()
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input input_1
        Net: fc = Linear(input, fc.weight)
        Net: block = Block() -> () ! did not return
        Net#1: Net#1.getitem = getitem(input_1)
        Net#1: fc#1 = Linear(Net#1.getitem:0, fc.weight)
        exp = exp(fc#1:0)
        Net ! did not return
        outputs: fc#1:0
    """)
