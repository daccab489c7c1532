"""What people do to modules: the things of docs/supported.md, each recorded beside the same run unrecorded."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from support.models import Block, Net, in_words, linear, same, written, x
from support.twice import both, run_twice
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.nn.utils.parametrize import cached, register_parametrization
from torch.utils.data import DataLoader, Dataset

from recorder import Recorder

supported = pytest.mark.supported


def with_relu() -> Net:
    return Net(lambda net, x: net.fc(x).relu(), fc=linear())


FC_RELU = written("""
    inputs: input
    Net: fc = Linear(input, fc.weight)
    Net: relu = relu(fc:0)
    outputs: relu:0
""")


# Numbers and parameters


@supported("autocast")
@pytest.mark.parametrize("cache", [True, False])
def test_autocast(cache: bool) -> None:
    def step(net: Net, batch: Tensor) -> Any:
        with torch.autocast("cpu", torch.bfloat16, cache_enabled=cache):
            return both(net, batch)

    graph = run_twice(lambda: (with_relu(), x()), step)
    assert in_words(graph) == FC_RELU
    assert [value.dtype for value in graph.values()] == ["float32", "float32", "bfloat16", "bfloat16"]


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


@supported("parametrizations")
def test_parametrizations() -> None:
    def make() -> tuple[Any, ...]:
        net = with_relu()
        register_parametrization(net.fc, "weight", Symmetric())
        return net, x()

    graph = run_twice(make)
    first, *_, last, linear, relu = graph.nodes
    assert first.name == "fc.parametrizations.weight.0.triu"
    assert [value.name for value in first.inputs] == ["fc.parametrizations.weight.original"]
    assert [value.name for value in linear.inputs] == ["input", last.outputs[0].name]
    assert linear.scope is not None
    assert (linear.name, linear.scope.fqn, relu.name) == ("fc.linear", "fc", "relu")

    def step(net: Net, batch: Tensor) -> Any:
        with cached():
            return both(net, batch), net(batch)

    graph = run_twice(make, step)
    assert sum(node.op_type == "triu" for node in graph.nodes) == 2
    assert sum(node.op_type == "linear" for node in graph.nodes) == 2


def normed(norm: Any) -> Any:
    def make() -> tuple[Any, ...]:
        net = with_relu()
        norm(net.fc)
        return net, x()

    return make


@supported("spectral norm and weight norm")
def test_spectral_norm_and_weight_norm() -> None:
    for norm, held in (("spectral_norm", ["original", "0._u", "0._v"]), ("weight_norm", ["original0", "original1"])):
        graph = run_twice(normed(getattr(parametrizations, norm)))
        made, linear, _ = graph.nodes
        assert [value.name for value in made.inputs] == [f"fc.parametrizations.weight.{name}" for name in held]
        assert next((e.source.name, e.target.name) for e in graph.edges()) == (made.name, "fc.linear")
        assert linear.scope is not None


@supported("spectral norm and weight norm")
@pytest.mark.filterwarnings("ignore:`torch.nn.utils.weight_norm` is deprecated")
def test_the_older_norms_work_by_hooks() -> None:
    for norm, held in (
        (nn.utils.spectral_norm, ["weight_orig", "weight_u", "weight_v"]),
        (nn.utils.weight_norm, ["weight_g", "weight_v"]),
    ):
        graph = run_twice(normed(norm))
        assert [value.name for value in graph.nodes[0].inputs] == ["input", *(f"fc.{name}" for name in held)]


@supported("pruning")
def test_pruning() -> None:
    def make() -> tuple[Any, ...]:
        net = with_relu()
        prune.l1_unstructured(net.fc, "weight", amount=0.5)
        return net, x()

    assert in_words(run_twice(make)) == FC_RELU.replace("fc.weight", "fc.weight_orig, fc.weight_mask")


@supported("lazy modules")
def test_lazy_modules() -> None:
    net = lambda: Net(lambda net, x: net.fc(x), fc=nn.LazyLinear(3, bias=False), never=nn.LazyLinear(3))  # noqa: E731
    first, second = run_twice(lambda: (net(), x()), lambda net, x: (net(x), net(x))).nodes
    assert [value.shape for value in first.inputs] == [(2, 4), (3, 4)]
    assert (first.op_type, second.op_type) == ("LazyLinear", "LazyLinear")  # what it was when it was first met


# How modules are called


@supported("`nn.DataParallel` on the CPU")
def test_data_parallel() -> None:
    graph = run_twice(lambda: (nn.DataParallel(with_relu()), x()))
    assert in_words(graph) == written("""
        inputs: inputs.0
        DataParallel/module: module.fc = Linear(inputs.0, module.fc.weight)
        DataParallel/module: module.relu = relu(module.fc:0)
        outputs: module.relu:0
    """)


def steps(net: Net, x: Tensor) -> Iterator[Tensor]:
    x = net.a(x)
    yield x
    yield net.b(x).relu()


@supported("generators as forward")
def test_a_generator_runs_after_its_call() -> None:
    block = lambda: Block(steps, a=linear(), b=linear())  # noqa: E731
    graph = run_twice(lambda: (Net(lambda net, x: sum(net.block(x)), block=block()), x()))
    assert in_words(graph) == written("""
        inputs: input
        Net: block = Block(input) -> ()
        Net: block.a = Linear(input, block.a.weight)
        Net: add = add(block.a:0)
        Net: block.b = Linear(block.a:0, block.b.weight)
        Net: relu = relu(block.b:0)
        Net: add_1 = add(add:0, relu:0)
        outputs: add_1:0
    """)


@supported("`module.forward()` called directly")
def test_forward_called_directly() -> None:
    graph = run_twice(lambda: (with_relu(), x()), lambda net, x: net.forward(x))
    assert in_words(graph) == written("""
        inputs: input
        fc = Linear(input, fc.weight)
        relu = relu(fc:0)
        outputs: fc:0
    """)
    graph = run_twice(lambda: (Net(lambda net, x: net.fc.forward(x), fc=linear()), x()))
    assert in_words(graph) == written("""
        inputs: input
        Net: linear = linear(input, fc.weight)
        outputs: linear:0
    """)


@supported("a forward that changes the module tree")
def test_a_forward_that_grows_the_tree() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        if not hasattr(net, "late"):
            net.late = nn.Sequential(linear(), nn.ReLU())
        return net.late(net.fc(x))

    graph = run_twice(lambda: (Net(forward, fc=linear()), x()), lambda net, x: (both(net, x), both(net, x)))
    called = [(node.fqn, node.call) for node in graph.nodes if node.kind == "module"]
    assert called == [(name, call) for call in (0, 1) for name in ("fc", "late.0", "late.1")]


@supported("a forward that changes the module tree")
def test_a_module_that_is_gone_has_no_name_left() -> None:
    def forward(net: Net, x: Tensor) -> Tensor:
        y = net.old(x)
        del net.old
        return y

    graph = run_twice(lambda: (Net(forward, old=linear()), x()))
    assert in_words(graph) == written("""
        inputs: input
        Net: Linear = Linear(input)
        outputs: Linear:0
    """)


class Slotted(nn.Module):
    __slots__ = ("factor",)

    def __init__(self) -> None:
        super().__init__()
        self.factor = 2

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


class Wrapper(nn.Module):
    """Hands every attribute on, as wrappers of models do, and compares and counts in its own way."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.inner, name)

    def __eq__(self, other: object) -> bool:
        raise TypeError("not to be compared")

    __hash__ = nn.Module.__hash__

    def __len__(self) -> int:
        return 0

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x)


@supported("modules with `__slots__`, or a `__getattr__` of their own")
def test_modules_with_unusual_attributes() -> None:
    net = lambda: Net(lambda net, x: net.outer(net.slotted(x)), outer=Wrapper(with_relu()), slotted=Slotted())  # noqa: E731
    assert in_words(run_twice(lambda: (net(), x()))) == written("""
        inputs: input
        Net/slotted: slotted.mul = mul(input)
        Net/outer/outer.inner: outer.inner.fc = Linear(slotted.mul:0, outer.inner.fc.weight)
        Net/outer/outer.inner: outer.inner.relu = relu(outer.inner.fc:0)
        outputs: outer.inner.relu:0
    """)
    graph = run_twice(lambda: (Wrapper(with_relu()), x()))
    assert [scope.fqn for scope in graph.scopes] == ["", "inner"]


# Copies


@supported("`copy.deepcopy(net)` inside and after the block")
def test_copies_are_as_if_nothing_had_been_recorded() -> None:
    net, batch = with_relu(), x()
    plain = sorted(deepcopy(net).__dict__)
    with Recorder(net) as r:
        both(net, batch)
        inside = deepcopy(net)
        inside(x())  # a net that nobody asked to record
    after = deepcopy(net)
    for copy in (inside, after):
        assert sorted(copy.__dict__) == plain
        assert not any(hooks for module in copy.modules() for name, hooks in vars(module).items() if "_hooks" in name)
        assert same(copy(batch), net(batch))
        assert not copy.fc.weight._backward_hooks
        assert copy.fc.weight._post_accumulate_grad_hooks is None
        with Recorder(copy) as again:
            copy(batch)
        assert in_words(again.graph) == FC_RELU
    assert in_words(r.graph) == FC_RELU


LOAD = """
import pickle, sys, torch

if sys.argv[1].endswith(".pt"):
    net = torch.load(sys.argv[1], weights_only=False)
else:
    with open(sys.argv[1], "rb") as file:
        net = pickle.load(file)
assert not [module for module in sys.modules if module.split(".")[0] == "recorder"]
assert not any(hooks for module in net.modules() for name, hooks in vars(module).items() if "_hooks" in name)
torch.save(net(torch.ones(2, 4)), sys.argv[2])
"""


@supported("`pickle` and `torch.save` inside the block")
@pytest.mark.parametrize("gradients", ["calls", "stats"])
@pytest.mark.parametrize("name", ["net.pt", "net.pickle"])
def test_a_net_saved_inside_the_block_loads_in_another_process(name: str, gradients: Any, tmp_path: Path) -> None:
    net = nn.Sequential(linear(), nn.Sequential(nn.ReLU(), nn.LSTM(4, 4)))
    with Recorder(net, gradients=gradients) as r:
        net(x())[0].sum().backward()
        if name == "net.pt":
            torch.save(net, tmp_path / name)
        else:
            (tmp_path / name).write_bytes(pickle.dumps(net))
    load = [sys.executable, "-W", "ignore::FutureWarning", "-c", LOAD, str(tmp_path / name), str(tmp_path / "out.pt")]
    done = subprocess.run(load, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert same(torch.load(tmp_path / "out.pt"), net(torch.ones(2, 4)))
    r.graph.lint()


# Other processes


class Features(Dataset[Tensor]):
    """Calls the net in the processes of the data loader."""

    def __init__(self, net: nn.Module) -> None:
        self.net = net

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            return self.net(torch.full((4,), float(index)))


@supported("a `DataLoader` with worker processes inside the block")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
def test_a_data_loader_with_processes() -> None:
    def step(net: Net) -> Any:
        loader = DataLoader(Features(net), batch_size=2, num_workers=2, multiprocessing_context="fork")
        return [both(net, batch) for batch in loader]

    graph = run_twice(lambda: (with_relu(),), step)
    assert [node.name for node in graph.nodes] == ["fc", "relu", "fc#1", "Net#1.relu"]  # those of this process
    assert [value.name for value in graph.inputs] == ["input", "input_1"]
