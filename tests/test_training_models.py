"""Training steps of all classification models of torchvision: the same autograd graph, the same gradients to the bit.

The kinds of autograd nodes are compared for every model, on the meta device; gradients for those that a small machine
trains in a second.
"""

from collections import Counter
from copy import deepcopy

import pytest
import torch
from models import same
from test_dataflow_fx import make
from test_untouched import autograd_nodes
from torch import Tensor, nn
from torchvision import models

from recorder import Recorder

NAMES = models.list_models(module=models)
LARGE = 15_000_000
"""Parameters from which gradients are not computed."""


def step(net: nn.Module, x: Tensor) -> Tensor:
    torch.manual_seed(1)
    outputs = net(x)
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return sum(output.sum() for output in outputs)


def test_there_are_80_of_them() -> None:
    assert len(NAMES) == 80


@pytest.mark.parametrize("name", NAMES)
def test_the_autograd_graph_has_the_same_nodes(name: str) -> None:
    net, x = make(name, train=True)
    expected = Counter(autograd_nodes(step(net, x)))
    with Recorder(net) as r:
        loss = step(net, x)
        assert Counter(autograd_nodes(loss)) == expected
        loss.backward()
    r.graph.lint()
    reached = [node for node in r.graph.nodes if node.kind == "module" and node.backward_ns is not None]
    assert len(reached) > 5


@pytest.mark.parametrize("name", [n for n in NAMES if models.get_model_weights(n).DEFAULT.meta["num_params"] < LARGE])
def test_gradients_are_the_same_to_the_bit(name: str) -> None:
    x = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    torch.manual_seed(0)
    original = models.get_model(name, weights=None, **({"init_weights": False} if name == "googlenet" else {})).train()
    net = deepcopy(original)
    step(net, x).backward()
    plain = [p.grad for p in net.parameters()]
    assert any(gradient is not None and gradient.any() for gradient in plain)
    net = deepcopy(original)
    with Recorder(net):
        step(net, x).backward()
    recorded = [p.grad for p in net.parameters()]
    assert [g is None for g in recorded] == [g is None for g in plain]
    assert same([g for g in recorded if g is not None], [g for g in plain if g is not None])
