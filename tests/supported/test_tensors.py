"""Kinds of tensors: those of docs/supported.md, each recorded beside the same run unrecorded."""

import resource
import sys
from typing import Any

import pytest
import torch
import transformers
from support.models import Net, in_words, linear, written, x
from support.twice import both, run_twice
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.symbolic_shapes import ShapeEnv
from torch.utils._pytree import tree_map

from recorder import Graph, Recorder
from recorder.capture.tensor_facts import _shapes

supported = pytest.mark.supported


def shapes(graph: Graph) -> dict[str, tuple[int, ...]]:
    return {value.name: value.shape for value in graph.values()}


def with_relu() -> Net:
    return Net(lambda net, x: net.fc(x).relu(), fc=linear())


FC_RELU = written("""
    inputs: input
    Net: fc = Linear(input, fc.weight)
    Net: relu = relu(fc:0)
    outputs: relu:0
""")


# Tensors without data


@supported("meta tensors")
def test_meta_tensors() -> None:
    graph = run_twice(lambda: (with_relu().to("meta"), x().to("meta")))
    assert in_words(graph) == FC_RELU
    assert {value.device for value in graph.values()} == {"meta"}
    assert shapes(graph)["relu:0"] == (2, 4)


@supported("a model of 70 billion parameters on the meta device")
def test_seventy_billion_parameters() -> None:
    def peak() -> float:
        """The most memory this process ever had, in GiB."""
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**30 if sys.platform == "darwin" else 2**20)

    config = transformers.LlamaConfig(
        vocab_size=128_256,
        hidden_size=8192,
        intermediate_size=28_672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
    )
    before = peak()
    with torch.device("meta"):
        net = transformers.LlamaForCausalLM(config)
        ids = torch.zeros(1, 2048, dtype=torch.int64)
    with Recorder(net) as r:
        net(input_ids=ids, labels=ids).loss.backward()
    graph = r.graph
    graph.lint()
    parameters = {value.name: value for value in graph.values() if value.role == "parameter"}
    assert sum(torch.Size(value.shape).numel() for value in parameters.values()) > 65e9
    assert len([node for node in graph.nodes if node.op_type == "Linear"]) == 80 * 7 + 1
    assert shapes(graph)["lm_head:0"] == (1, 2048, 128_256)
    assert all(node.meta["backward"]["arrived"] for node in graph.nodes if node.op_type == "Linear")
    assert r.export("dot", depth=2)
    assert peak() - before < 1


@supported("`FakeTensorMode`")
def test_fake_tensors() -> None:
    def make() -> tuple[Any, ...]:
        with FakeTensorMode():
            return with_relu(), x()

    def step(net: Net, batch: Tensor) -> Tensor:
        y = net(batch)
        y.sum().backward()
        return y

    graph = run_twice(make, step)
    assert in_words(graph).startswith(FC_RELU.rpartition("\n")[0])
    assert shapes(graph)["relu:0"] == (2, 4)


@supported("symbolic shapes")
def test_symbolic_sizes_are_unknown() -> None:
    def make() -> tuple[Any, ...]:
        mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
        return with_relu(), mode.from_tensor(x())

    def step(net: Net, batch: Any) -> Any:
        with batch.fake_mode:
            return net(batch)

    graph = run_twice(make, step)
    assert in_words(graph) == FC_RELU
    assert shapes(graph) == {"input": (-1, -1), "fc.weight": (4, 4), "fc:0": (-1, 4), "relu:0": (-1, 4)}
    # They would keep alive what they belong to.
    assert all(type(size) is int for shape in _shapes for size in shape)


def test_a_write_through_a_view_of_symbolic_size_is_seen() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = x * 2
        y[0].add_(1)
        return y.exp()

    mode = FakeTensorMode(shape_env=ShapeEnv())
    batch = mode.from_tensor(x())
    net = Net(forward)
    with mode, Recorder(net) as r:
        net(batch)
    assert in_words(r.graph) == written("""
        inputs: input
        Net: mul = mul(input)
        Net: getitem = getitem(mul:0)
        Net: add_ = add_(getitem:0) -> add_:0 add_:1
        Net: exp = exp(add_:1)
        outputs: exp:0
    """)


# Layouts and dtypes


@supported("sparse tensors, COO")
def test_sparse_coo() -> None:
    net = lambda: Net(lambda net, a, x: torch.sparse.mm(a, net.fc(x)), fc=linear())  # noqa: E731
    graph = run_twice(lambda: (net(), torch.eye(2).to_sparse(), x()))
    assert in_words(graph) == written("""
        inputs: input input_1
        Net: fc = Linear(input_1, fc.weight)
        Net: mm = mm(input, fc:0)
        outputs: mm:0
    """)
    assert shapes(graph)["input"] == (2, 2)


@supported("sparse tensors, COO")
def test_sparse_gradients() -> None:
    graph = run_twice(lambda: (Net(lambda net, i: net.e(i), e=nn.Embedding(5, 3, sparse=True)), torch.tensor([1, 3])))
    (node,) = graph.nodes
    assert (node.name, node.meta["backward"]["arrived"][0]["shape"]) == ("e", [2, 3])


@supported("sparse tensors, CSR")
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support is in beta")
def test_sparse_csr() -> None:
    net = lambda: Net(lambda net, a, x: a @ net.fc(x), fc=linear())  # noqa: E731
    graph = run_twice(lambda: (net(), torch.eye(2).to_sparse_csr(), x()))
    assert in_words(graph) == written("""
        inputs: input input_1
        Net: fc = Linear(input_1, fc.weight)
        Net: matmul = matmul(input, fc:0)
        outputs: matmul:0
    """)


@supported("quantised tensors")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_tensors() -> None:
    net = lambda: Net(lambda net, x: net.pool(x).dequantize() + 1, pool=nn.MaxPool1d(2))  # noqa: E731
    graph = run_twice(lambda: (net(), torch.quantize_per_tensor(x(2, 4), 0.1, 0, torch.qint8)))
    assert in_words(graph) == written("""
        inputs: input
        Net: pool = MaxPool1d(input)
        Net: dequantize = dequantize(pool:0)
        Net: add = add(dequantize:0)
        outputs: add:0
    """)
    assert [value.dtype for value in graph.values()] == ["qint8", "qint8", "float32", "float32"]


@supported("nested tensors, strided")
@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors is in prototype stage")
def test_strided_nested_tensors() -> None:
    def step(net: Net, batch: Tensor) -> Tensor:
        y = net(batch)
        sum(part.sum() for part in y.unbind()).backward()
        return y

    graph = run_twice(lambda: (with_relu(), torch.nested.nested_tensor([x(2, 4), x(3, 4)])), step)
    assert in_words(graph).startswith(FC_RELU.rpartition("\n")[0])
    assert shapes(graph)["input"] == shapes(graph)["relu:0"] == (2, -1, 4)
    assert shapes(graph)["unbind:1"] == (3, 4)


@supported("nested tensors, jagged")
def test_jagged_nested_tensors() -> None:
    def step(net: Net, batch: Tensor) -> Tensor:
        y = net(batch)
        y.values().sum().backward()
        return y

    graph = run_twice(lambda: (with_relu(), torch.nested.nested_tensor([x(2, 4), x(3, 4)], layout=torch.jagged)), step)
    assert in_words(graph).startswith(FC_RELU.rpartition("\n")[0])
    assert shapes(graph)["input"] == shapes(graph)["relu:0"] == (2, -1, 4)
    assert all(type(size) is int for shape in _shapes for size in shape)


@supported("complex tensors")
def test_complex_tensors() -> None:
    fc = lambda: nn.Linear(4, 4, bias=False, dtype=torch.complex64)  # noqa: E731
    net = lambda: Net(lambda net, x: torch.fft.ifft(net.fc(torch.fft.fft(x))).conj().abs(), fc=fc())  # noqa: E731
    graph = run_twice(lambda: (net(), x()))
    assert in_words(graph) == written("""
        inputs: input
        Net: fft = fft(input)
        Net: fc = Linear(fft:0, fc.weight)
        Net: ifft = ifft(fc:0)
        Net: conj = conj(ifft:0)
        Net: abs = abs(conj:0)
        outputs: abs:0
    """)
    assert [node.outputs[0].dtype for node in graph.nodes] == ["complex64"] * 4 + ["float32"]


# Subclasses


class Wrapped(Tensor):
    """A subclass that holds a tensor, and notes the operators that reach it."""

    inner: Tensor
    seen: list[str]

    @staticmethod
    def __new__(cls, inner: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype)  # type: ignore[attr-defined]

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        Wrapped.seen.append(str(func))
        inner = tree_map(lambda t: t.inner if isinstance(t, Wrapped) else t, (args, kwargs or {}))
        return tree_map(lambda t: cls(t) if isinstance(t, Tensor) else t, func(*inner[0], **inner[1]))


@supported("tensor subclasses with `__torch_dispatch__`")
def test_subclasses_that_dispatch() -> None:
    operators: list[list[str]] = []

    def step(net: Net, batch: Tensor) -> Any:
        Wrapped.seen = []
        y = both(net, batch)
        operators.append(Wrapped.seen)
        return y

    graph = run_twice(lambda: (with_relu(), Wrapped(x())), step)
    assert in_words(graph) == FC_RELU
    assert shapes(graph)["relu:0"] == (2, 4)
    assert operators[0].count("aten.relu.default") == 1
    assert operators[1:] == operators[:1] * 3  # reading a shape calls none
