"""Tensors that wrap others, and objects that hold tensors: those of docs/supported.md, recorded beside the same run
unrecorded.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support.models import Net, in_words, linear, written, x
from support.twice import run_twice
from support.two_ranks import run_two
from torch import Tensor
from torch.utils._pytree import tree_map

import recorder
from recorder import Graph, Recorder

supported = pytest.mark.supported


class Outer(Tensor):
    """A wrapper subclass."""

    inner: Tensor

    @staticmethod
    def __new__(cls, inner: Tensor) -> Any:
        return Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, inner.size(), dtype=inner.dtype, device=inner.device, requires_grad=inner.requires_grad
        )

    def __init__(self, inner: Tensor) -> None:
        self.inner = inner

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["inner"], None

    @staticmethod
    def __tensor_unflatten__(inner: Any, *_: Any) -> "Outer":
        return Outer(inner["inner"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inner = tree_map(lambda t: t.inner if isinstance(t, Outer) else t, (args, kwargs or {}))
        result = func(*inner[0], **inner[1])
        if str(func).split(".")[1].endswith("_"):
            return args[0]
        return tree_map(lambda t: cls(t) if isinstance(t, Tensor) else t, result)


class Silent(Outer):
    """One that does not say what it wraps."""

    __tensor_flatten__ = None  # type: ignore[assignment]


class Broken(Outer):
    def __tensor_flatten__(self) -> Any:
        raise RuntimeError("no")


class Wrap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Any:
        return Outer(t)

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return gradient.inner if isinstance(gradient, Outer) else gradient


class Unwrap(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, outer: Any) -> Any:
        return outer.inner

    @staticmethod
    def backward(ctx: Any, gradient: Any) -> Any:
        return Outer(gradient)


def constants(graph: Graph) -> list[str]:
    return [value.name for value in graph.values() if value.role == "constant"]


@supported("wrapper subclasses")
@pytest.mark.parametrize("grad", [True, False])
def test_wrapping_and_unwrapping(grad: bool) -> None:
    def make() -> tuple[Any, ...]:
        def forward(net: Any, t: Tensor) -> Tensor:
            with torch.set_grad_enabled(grad):
                outer: Any = Wrap.apply(net.a(t))  # type: ignore[no-untyped-call]
                inner: Tensor = Unwrap.apply(net.b(outer))  # type: ignore[no-untyped-call]
                return net.c(inner)  # type: ignore[no-any-return]

        return Net(forward, a=linear(), b=torch.nn.ReLU(), c=linear()), x()

    assert in_words(run_twice(make)) == written("""
        inputs: input
        Net: a = Linear(input, a.weight)
        Net: b = ReLU(a:0)
        Net: c = Linear(b:0, c.weight)
        outputs: c:0
    """)


@torch.no_grad()
def test_wrappers_of_wrappers() -> None:
    net = Net(lambda net, t: net.b((Outer(Outer(net.a(t))) * 2).inner.inner), a=linear(), b=linear())
    with Recorder(net) as r:
        net(x())
    mul, b = r.graph.nodes[1:]
    assert [v.producer and v.producer.name for v in mul.inputs] == ["a"]
    assert b.inputs[0].producer is mul


@torch.no_grad()
def test_a_write_to_a_wrapper_is_one_to_what_it_wraps() -> None:
    def forward(net: Any, t: Tensor) -> Any:
        inner = net.a(t)
        Outer(inner).add_(1)
        return inner * 2

    net = Net(forward, a=linear())
    with Recorder(net) as r:
        net(x())
    _, add, mul = r.graph.nodes
    assert add.op_type == "add_"
    assert mul.inputs[0].producer is add
    r.graph.lint()


@torch.no_grad()
def test_a_parameter_that_is_a_wrapper() -> None:
    net = Net(lambda net, t: t * net.weight.inner, weight=torch.nn.Parameter(Outer(x())))
    with Recorder(net) as r:
        net(x())
    assert [value.name for value in r.graph.nodes[0].inputs] == ["input", "weight"]


@torch.no_grad()
@pytest.mark.parametrize("kind", [Silent, Broken])
def test_what_does_not_say_what_it_wraps(kind: type[Outer]) -> None:
    net = Net(lambda net, t: net.b((kind(net.a(t)) * 2).inner), a=linear(), b=linear())
    with Recorder(net) as r:
        net(x())
    r.graph.lint()
    assert len(constants(r.graph)) == 2  # nothing is known, and nothing is said


def test_what_nested_tensors_share_comes_from_none_of_the_later_ones() -> None:
    def forward(net: Any, values: Tensor, offsets: Tensor) -> Tensor:
        nested = torch.nested.nested_tensor_from_jagged(values, offsets)
        return net.b(net.a(nested).values()) + nested.offsets().sum()  # type: ignore[no-any-return]

    net = Net(forward, a=linear(), b=linear())
    with Recorder(net) as r:
        net(torch.randn(5, 4), torch.tensor([0, 2, 5]))
    (total,) = [node for node in r.graph.nodes if node.op_type == "sum"]
    assert total.inputs[0] in r.graph.inputs


@supported("DTensor, tensor parallel")
def test_tensor_parallel(tmp_path: Path) -> None:
    run_two("tensor_parallel.py", tmp_path)
    for name in ("train0", "train1", "eval0", "eval1"):
        graph = recorder.loads((tmp_path / f"{name}.json").read_bytes())
        graph.lint()
        assert not constants(graph)
        assert len(graph.inputs) == 1
        assert {"first", "mlp.up", "mlp.relu", "mlp.down", "mlp.all_reduce", "last"} <= {n.name for n in graph.nodes}
        # one piece, and no loose end
        made = {id(value) for node in graph.nodes for value in node.inputs} | {id(value) for value in graph.outputs}
        forward = [n for n in graph.nodes if n.meta.get("collective", {}).get("phase") != "backward"]
        assert all(any(id(value) in made for value in node.outputs) for node in forward if node.op_type != "sum")


# Objects that hold tensors


@supported("tensors in objects of any class")
def test_tensors_in_objects() -> None:
    def make() -> tuple[Any, ...]:
        net = Net(lambda net, box: SimpleNamespace(y=[net.fc(box.x)], note="kept"), fc=linear())
        return net, SimpleNamespace(x=x())

    def step(net: Any, box: Any) -> Any:
        result = net(box)
        result.y[0].sum().backward()
        return result.y

    assert in_words(run_twice(make, step)) == written("""
        inputs: input.x
        Net: fc = Linear(input.x, fc.weight)
        sum = sum(fc:0)
        outputs: fc:0
    """)
