"""What is recorded around the calls of net: what consumes a tensor that is known."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, net_with_relu, written, x
from torch import Tensor, nn

from recorder import Recorder


def test_a_part_called_by_the_user_is_an_outermost_call() -> None:
    net = Net(lambda net, x: net.block(x), block=Block(lambda block, x: block.fc(x).relu(), fc=linear()))
    with Recorder(net) as r:
        net.block.fc(net.block(x()))
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        block: block.fc = Linear(input, block.fc.weight)
        block: block.relu = relu(block.fc:0)
        block.fc#1 = Linear(block.relu:0, block.fc.weight)
        outputs: block.relu:0 block.fc#1:0
    """)


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.functional.mse_loss], ids=["module", "functional"])
def test_a_loss_outside_is_recorded(criterion: Callable[..., Tensor]) -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        target = x() + 1  # of no tensor that the recording knows
        loss = criterion(net(x()), target)
        (loss * 2).backward()
    r.graph.lint()
    name = "MSELoss" if isinstance(criterion, nn.Module) else "mse_loss"
    assert in_words(r.graph) == written(f"""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        {name} = {name}(relu:0, constant)
        mul = mul({name}:0)
        outputs: relu:0
    """)


@pytest.mark.parametrize(
    ("make", "closure"),
    [
        (torch.optim.SGD, False),
        (torch.optim.SGD, True),
        (torch.optim.Adam, False),
        (torch.optim.Adam, True),
        (torch.optim.LBFGS, True),
    ],
)
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad=True")  # torch 2.8's own LBFGS does that
def test_an_optimizers_step_is_not_recorded(make: Any, closure: bool) -> None:
    net, batch = net_with_relu(), x()
    optimizer = make(net.parameters(), lr=0.1)

    def loss() -> Tensor:
        optimizer.zero_grad()
        loss = net(batch).sum()
        loss.backward()
        return loss

    with Recorder(net) as r:
        if closure:
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()
        net(batch).sum()
    r.graph.lint()
    calls = sum(1 for scope in r.graph.scopes)
    assert [node.op_type for node in r.graph.nodes] == ["Linear", "relu", "sum"] * calls


def test_a_copy_of_the_model_inside_the_block_is_not_recorded() -> None:
    net = Net(lambda net, x: net.fc(x) * net.scale + net.shift, fc=linear(), scale=nn.Parameter(x()), shift=x())
    with Recorder(net) as r:
        net(x())
        before = len(r.graph.nodes)
        deepcopy(net)
        {name: value.clone() for name, value in net.state_dict().items()}
    assert len(r.graph.nodes) == before == 3


def test_a_penalty_on_parameters_is_recorded() -> None:
    net = net_with_relu()
    with Recorder(net) as r:
        penalty = sum(p.pow(2).sum() for p in net.parameters())
        net(x()).sum() + penalty
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input
        pow = pow(fc.weight)
        sum = sum(pow:0)
        add = add(sum:0)
        Net: fc = Linear(input, fc.weight)
        Net: relu = relu(fc:0)
        sum_1 = sum(relu:0)
        add_1 = add(sum_1:0, add:0)
        outputs: relu:0
    """)


def test_what_has_nothing_to_do_with_the_net_is_not_recorded() -> None:
    net, other = net_with_relu(), Net(lambda net, x: net.fc(x).exp(), fc=linear())
    r = Recorder(net)
    with pytest.warns(RuntimeWarning, match="calls of Net were seen"), r:
        assert other(x()).sum() + 1 is not None
    assert [type(event).__name__ for event in r.events] == ["Tensor", "Holdings"]  # the parameter's
    assert len(r.graph.nodes) == 0


def test_two_models() -> None:
    class Generator(Block):
        pass

    class Discriminator(Block):
        pass

    generator = Generator(lambda g, z: g.fc(z).tanh(), fc=linear())
    discriminator = Discriminator(lambda d, x: d.fc(x), fc=linear(4, 1))
    with Recorder(generator, discriminator) as r:
        fake = generator(x())
        (discriminator(x()).mean() - discriminator(fake).mean()).backward()
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs: input input_1
        Generator: fc = Linear(input, fc.weight)
        Generator: tanh = tanh(fc:0)
        Discriminator: Discriminator.fc = Linear(input_1, Discriminator.fc.weight)
        mean = mean(Discriminator.fc:0)
        Discriminator#1: Discriminator.fc#1 = Linear(tanh:0, Discriminator.fc.weight)
        mean_1 = mean(Discriminator.fc#1:0)
        sub = sub(mean:0, mean_1:0)
        outputs: tanh:0 Discriminator.fc:0 Discriminator.fc#1:0
    """)
    assert [(scope.fqn, scope.call) for scope in r.graph.scopes] == [
        ("", 0),
        ("Discriminator", 0),
        ("Discriminator", 1),
    ]
