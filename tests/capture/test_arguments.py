"""What calls are given: tensors from wherever, and in any nesting and signature."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, record, written, x
from torch import Tensor, nn
from transformers.utils import ModelOutput

from recorder import Recorder

# Tensors that were not made by anything recorded


def test_tensors_made_inside() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return x + torch.zeros(4) + torch.arange(4) + torch.tensor([1.0, 2.0, 3.0, 4.0])

    assert in_words(record(Net(forward), x())) == written("""
        inputs: input
        Net: zeros = zeros()
        Net: add = add(input, zeros:0)
        Net: arange = arange()
        Net: add_1 = add(add:0, arange:0)
        Net: tensor = tensor()
        Net: add_2 = add(add_1:0, tensor:0)
        outputs: add_2:0
    """)


def test_parameters_and_buffers_as_arguments() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return torch.cat([net.token, x * net.scale, net.block.bias[None]])

    block = Block(lambda block: None, bias=nn.Parameter(torch.ones(4)))
    net = Net(forward, token=nn.Parameter(torch.ones(1, 4)), scale=torch.ones(4), block=block)
    graph = record(net, x())
    assert in_words(graph) == written("""
        inputs: input
        Net: mul = mul(input, scale)
        Net: getitem = getitem(block.bias)
        Net: cat = cat(token, mul:0, getitem:0)
        outputs: cat:0
    """)
    roles = {v.name: v.role for v in graph.values()}
    assert roles["token"] == roles["block.bias"] == "parameter"
    assert roles["scale"] == "buffer"
    assert roles["input"] == "input"
    assert roles["mul:0"] == "activation"


def test_a_tensor_from_elsewhere_is_a_constant() -> None:
    table = x()
    graph = record(Net(lambda net, x: x + table), x())
    assert in_words(graph) == written("""
        inputs: input
        Net: add = add(input, constant)
        outputs: add:0
    """)
    (constant,) = (v for v in graph.values() if v.name == "constant")
    assert (constant.role, constant.producer) == ("constant", None)


def test_a_parameter_as_the_input() -> None:
    start = nn.Parameter(x())
    net = Net(lambda net, x: x.exp(), start=start)
    with Recorder(net) as r:
        net(start)
    r.graph.lint()
    assert in_words(r.graph) == written("""
        inputs:
        Net: exp = exp(start)
        outputs: exp:0
    """)


def test_a_module_made_during_forward() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        return nn.Sequential(nn.ReLU(), nn.Tanh())(net.fc(x))

    graph = record(Net(forward, fc=linear()), x())
    assert in_words(graph) == written("""
        inputs: input
        Net: fc = Linear(input, fc.weight)
        Net/Sequential: ReLU = ReLU(fc:0)
        Net/Sequential: Tanh = Tanh(ReLU:0)
        outputs: Tanh:0
    """)


def test_a_module_made_and_dropped_during_forward_is_described() -> None:
    graph = record(Net(lambda net, x: nn.Softmax(dim=1)(nn.Linear(4, 3)(x))), x())
    fc, softmax = (node for node in graph.nodes if node.kind == "module")  # the functions before fill the weights
    assert [value.shape for value in fc.inputs] == [(2, 4), (3, 4), (3,)]
    assert [fc.attributes, softmax.attributes] == [{"in_features": 4, "out_features": 3}, {"dim": 1}]
    assert [value.name for value in graph.initializers] == ["Linear.weight", "Linear.bias"]


def test_arguments_that_are_no_tensors_are_attributes() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        both = torch.cat([x, net.fc(x)], 1)
        part = both[:, 1:3].to(torch.float64)
        return torch.clamp(part.reshape(-1, 2), min=float("-inf"), max=6).sum(dim=(0, 1), keepdim=True)

    graph = record(Net(forward, fc=linear()), x())
    assert {node.op_type: node.attributes for node in graph.nodes if node.kind == "function"} == {
        "cat": {"arg1": 1},
        "getitem": {"arg1": [":", "1:3"]},
        "to": {"arg1": "float64"},
        "reshape": {"arg1": -1, "arg2": 2},
        "clamp": {"min": "-inf", "max": 6},
        "sum": {"dim": [0, 1], "keepdim": True},
    }


# Signatures


@dataclass
class Pair:
    left: Tensor
    right: Tensor | None = None


@dataclass
class Prediction(ModelOutput):
    logits: Tensor | None = None
    hidden: tuple[Tensor, ...] | None = None


SIGNATURES: dict[str, tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = {
    "dict": (lambda net, batch: {"y": net.fc(batch["x"]) * batch["m"]}, ({"x": x(), "m": x()},), {}),
    "list": (lambda net, items: [net.fc(items[0]) * items[1]], ([x(), x()],), {}),
    "dataclass": (lambda net, pair: Pair(net.fc(pair.left) * pair.right), (Pair(x(), x()),), {}),
    "ModelOutput": (
        lambda net, p: Prediction(logits=net.fc(p.logits) * p.hidden[0]),
        (Prediction(logits=x(), hidden=(x(),)),),
        {},
    ),
    "keywords only": (lambda net, *, a, b: net.fc(a) * b, (), {"a": x(), "b": x()}),
    "None": (lambda net, a, mask, b: (net.fc(a) * b, None), (x(), None, x()), {}),
    "mixed": (lambda net, a, flag=False, **more: net.fc(a) * more["deep"]["b"][0], (x(), True), {"deep": {"b": [x()]}}),
}


# What each is called in the call: what comes in, and what comes out.
NAMED = {
    "dict": (["input.x", "input.m"], ["y"]),
    "list": (["input.0", "input.1"], ["0"]),
    "dataclass": (["input.left", "input.right"], ["left"]),
    "ModelOutput": (["input.logits", "input.hidden.0"], ["logits"]),
    "keywords only": (["a", "b"], [""]),
    "None": (["input", "input_2"], ["0"]),
    "mixed": (["input", "deep.b.0"], [""]),
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    forward, args, kwargs = SIGNATURES[name]
    graph = record(Net(forward, fc=linear()), *args, **kwargs)
    (first, second), returned = NAMED[name]
    assert in_words(graph) == written(f"""
        inputs: {first} {second}
        Net: fc = Linear({first}, fc.weight)
        Net: mul = mul(fc:0, {second})
        outputs: mul:0
    """)
    assert (graph.input_names, graph.output_names) == ([first, second], returned)


def test_keywords_between_modules() -> None:
    block = Block(lambda block, *, hidden, mask=None: block.fc(input=hidden), fc=linear())
    net = Net(lambda net, x: net.block(hidden=net.block(hidden=x), mask=None), block=block)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net/block: block.fc = Linear(input, block.fc.weight)
        Net/block#1: block.fc#1 = Linear(block.fc:0, block.fc.weight)
        outputs: block.fc#1:0
    """)
