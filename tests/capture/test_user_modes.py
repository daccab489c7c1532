"""The user's own modes, hooks and tensors, which see what they saw."""

from typing import Any

import pytest
import torch
from support.models import Net, in_words, linear, net_with_relu, record, written, x
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from recorder import Recorder


class Names(TorchFunctionMode):
    """Notes each function that torch dispatches to it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


def test_modes_of_the_user_see_what_they_saw() -> None:
    net, batch = Net(lambda net, x: net.attention(x, x, x)[0] + 1, attention=nn.MultiheadAttention(4, 2)), x(3, 2, 4)
    with Names() as plain:
        net(batch)
    with Names() as around, Recorder(net) as below:
        net(batch)
    with Recorder(net) as above, Names() as inside:
        net(batch)
    assert plain.seen == inside.seen
    # The recorder reads nothing through a mode of the user's.
    assert plain.seen == around.seen
    assert in_words(above.graph) == in_words(below.graph)
    assert [node.op_type for node in above.graph.nodes] == ["MultiheadAttention", "add"]


@pytest.mark.parametrize("where", ["around", "inside"])
def test_a_device_context(where: str) -> None:
    net = Net(lambda net, x: net.fc(x) + torch.ones(4), fc=linear())
    if where == "around":
        with torch.device("cpu"), Recorder(net) as r:
            net(x())
    else:
        with Recorder(net) as r, torch.device("cpu"):
            net(x())
    assert in_words(r.graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: ones = ones()
        Net: add = add(fc:0, ones:0)
        outputs: add:0
    """)


def test_hooks_of_the_user_run_in_their_order() -> None:
    def run(recorded: bool) -> list[str]:
        seen: list[str] = []
        net = net_with_relu()
        net.register_forward_pre_hook(lambda *_: seen.append("net before"))
        net.register_forward_hook(lambda *_: seen.append("net after"))
        net.fc.register_forward_pre_hook(lambda *_: seen.append("fc before"))
        net.fc.register_forward_hook(lambda *_: seen.append("fc after"))
        net.fc.register_full_backward_hook(lambda *_: seen.append("fc backward"))
        net.fc.weight.register_hook(lambda _: seen.append("weight backward"))
        everywhere = nn.modules.module.register_module_forward_hook(lambda *_: seen.append("any after"))
        batch = x().requires_grad_()
        try:
            if recorded:
                with Recorder(net):
                    net(batch).sum().backward()
            else:
                net(batch).sum().backward()
        finally:
            everywhere.remove()
        return seen

    assert run(recorded=True) == run(recorded=False)
    assert len(run(recorded=True)) == 8


def test_hooks_of_the_user_that_change_things_are_recorded_as_they_change() -> None:
    net = net_with_relu()
    net.fc.register_forward_pre_hook(lambda module, args: (args[0] * 2,))
    net.fc.register_forward_hook(lambda module, args, output: output + 1)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net: fc = Linear(constant, fc.weight)
        Net: add = add(fc:0)
        Net: relu = relu(add:0)
        outputs: relu:0
    """)


class Loud(Tensor):
    """A subclass that notes the functions it is given to."""

    seen: list[str]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Loud.seen.append(func.__name__)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.supported("tensor subclasses with `__torch_function__`")
def test_tensor_subclasses_work_as_before() -> None:
    def run(recorded: bool) -> tuple[list[str], Tensor, Recorder]:
        Loud.seen = []
        torch.manual_seed(0)
        net = Net(lambda net, x: (net.fc(x) + x)[0], fc=linear())
        batch = x().as_subclass(Loud)
        r = Recorder(net)
        if recorded:
            with r:
                y = net(batch)
        else:
            y = net(batch)
        return list(Loud.seen), y, r

    seen, y, r = run(recorded=True)
    plain_seen, plain, _ = run(recorded=False)
    assert type(y) is Loud
    assert seen == plain_seen
    assert torch.equal(y.as_subclass(Tensor), plain.as_subclass(Tensor))
    assert in_words(r.graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: add = add(fc:0, input)
        Net: getitem = getitem(add:0)
        outputs: getitem:0
    """)
