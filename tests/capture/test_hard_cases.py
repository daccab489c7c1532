"""Programs that are hard to record, each with its graph written down.

`models.record` also checks, for each of them, that recording left the results as they are, and that modules alone
(``functions=False``) are the same modules.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, record, written, x
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
from transformers.utils import ModelOutput

from recorder import Recorder

GRAD_MODES = {"grad": torch.enable_grad, "no_grad": torch.no_grad, "inference_mode": torch.inference_mode}


@pytest.fixture(params=GRAD_MODES)
def grad_mode(request: pytest.FixtureRequest) -> Callable[[], AbstractContextManager[Any]]:
    return GRAD_MODES[request.param]


# Dataflow


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


# In place


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


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    forward, args, kwargs = SIGNATURES[name]
    assert in_words(record(Net(forward, fc=linear()), *args, **kwargs)) == written("""
        inputs: input input_1
        Net: fc = Linear(input, fc.weight)
        Net: mul = mul(fc:0, input_1)
        outputs: mul:0
    """)


def test_keywords_between_modules() -> None:
    block = Block(lambda block, *, hidden, mask=None: block.fc(input=hidden), fc=linear())
    net = Net(lambda net, x: net.block(hidden=net.block(hidden=x), mask=None), block=block)
    assert in_words(record(net, x())) == written("""
        inputs: input
        Net/block: block.fc = Linear(input, block.fc.weight)
        Net/block#1: block.fc#1 = Linear(block.fc:0, block.fc.weight)
        outputs: block.fc#1:0
    """)


# torch's own larger modules


@pytest.mark.supported("packed sequences")
def test_an_lstm_with_packed_sequences() -> None:
    def forward(net: Net, x: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        packed = pack_padded_sequence(x, lengths, batch_first=True)
        out, (h, _) = net.lstm(packed)
        padded, _ = pad_packed_sequence(out, batch_first=True)
        return padded, h

    net = Net(forward, lstm=nn.LSTM(4, 3, bias=False))
    graph = record(net, x(2, 5, 4), torch.tensor([5, 3]))
    assert in_words(graph) == written(
        """
        inputs: input input_1
        Net: to = to(input_1)
        Net: PACK = PACK(input, to:0) -> PACK:0 PACK:1
        Net: lstm = LSTM(PACK:0, PACK:1, lstm.weight_ih_l0, lstm.weight_hh_l0) -> lstm:0 lstm:1 lstm:2 lstm:3
        Net: PAD = PAD(lstm:0, lstm:1) -> PAD:0 PAD:1
        outputs: PAD:0 lstm:2
    """.replace("PACK", "_pack_padded_sequence").replace("PAD", "_pad_packed_sequence")
    )


def test_multi_head_attention(grad_mode: Any) -> None:
    net = Net(lambda net, x: net.attention(x, x, x, need_weights=False)[0] + x, attention=nn.MultiheadAttention(4, 2))
    weights = ", ".join(f"attention.{name}" for name, _ in net.attention.named_parameters())
    for training in (True, False):
        with grad_mode():
            graph = record(net.train(training), x(3, 2, 4))
        assert in_words(graph) == written(
            """
            inputs: input
            Net: attention = MultiheadAttention(input, input, input, WEIGHTS)
            Net: add = add(attention:0, input)
            outputs: add:0
        """.replace("WEIGHTS", weights)
        )


def test_multi_head_attention_has_the_weights_of_its_projection() -> None:
    attention = nn.MultiheadAttention(4, 2)
    graph = record(Net(lambda net, x: net.attention(x, x, x), attention=attention), x(3, 2, 4))
    (node,) = graph.nodes
    assert [v.name for v in node.inputs[3:]] == [f"attention.{name}" for name, _ in attention.named_parameters()]


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


# Exceptions


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
