"""Memory: recording keeps no tensor and no autograd node alive, and the allocator is asked for what it was asked for.

What is alive is asked of weak references while the garbage collector is off, so that a cycle counts as kept. What is
allocated is asked of torch's profiler, which sees kernels where they run: a dispatch mode would hold each gradient
itself, and hide that autograd no longer adds gradients in place.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from functools import partial
from typing import Any, NamedTuple
from weakref import ref

import pytest
import torch
from support.models import tensors
from support.untouched import OPTIONS
from support.zoo import ZOO
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from recorder import Recorder
from recorder.events import Grad

pytestmark = pytest.mark.slow

Block = Callable[[nn.Module], AbstractContextManager[Any]]

NAMES = ["resnet18", "bert", "llama", "t5", "lstm", "transformer"]

WAYS = {
    **OPTIONS,
    "autograd": {"autograd": True},
    "autograd of modules": {"autograd": True, "functions": False},
    "gradients": {"gradients": "on"},
    "what is in gradients": {"autograd": True, "gradients": "stats"},
}

both_modes = pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])


def unrecorded(_: nn.Module) -> AbstractContextManager[None]:
    return nullcontext()


def prepared(name: str, training: bool) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    net = ZOO[name].make().train(training)
    torch.manual_seed(0)
    return net, ZOO[name].batch()


def loss_of(outputs: Any) -> Any:
    return sum(t.float().mean() for t in tensors(outputs) if t.is_floating_point())


# What is left alive


@contextmanager
def collector_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Results(TorchDispatchMode):
    """Keeps a weak reference to every tensor that a kernel returned."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[ref[Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.seen += map(ref, tensors([result]))
        return result


class Mark:
    """Autograd nodes take no weak references, what is in their metadata does."""


def marked(loss: Any) -> list["ref[Mark]"]:
    """Weak references that live as long as the autograd nodes behind a tensor."""
    marks: dict[Any, ref[Mark]] = {}
    pending = [loss.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in marks:
            node.metadata["mark"] = mark = Mark()
            marks[node] = ref(mark)
            pending += [following for following, _ in node.next_functions]
    return list(marks.values())


def left_alive(net: nn.Module, batch: Any, block: Block, backward: bool) -> tuple[list[bool], int, Any]:
    """Which of the tensors that a step made were alive after the block, those of the model's own left out, and how many
    of its autograd nodes.
    """
    net = deepcopy(net)
    with block(net) as r, Results() as results, torch.set_grad_enabled(net.training):
        outputs = net(**batch)
        loss = loss_of(outputs)
        nodes = marked(loss)
        if backward:
            loss.backward()
        del outputs, loss
    for parameter in net.parameters():
        parameter.grad = None
    own = {id(tensor) for tensor in (*net.parameters(), *net.buffers())}
    alive = [tensor() is not None and id(tensor()) not in own for tensor in results.seen]
    return alive, sum(node() is not None for node in nodes), r


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["backward", "no backward", "eval"])
def test_nothing_is_alive_after_the_block(name: str, step: str) -> None:
    net, batch = prepared(name, step != "eval")
    with collector_off():
        plain, nodes, _ = left_alive(net, batch, unrecorded, step == "backward")
        assert len(plain) > 20
        for options in WAYS.values():
            block = partial(Recorder, **options)
            kept, kept_nodes, r = left_alive(net, batch, block, step == "backward")
            assert len(kept) == len(plain)
            assert not any(kept)
            assert kept_nodes == nodes  # a parameter's lives as long as the parameter
            assert len(r.graph.nodes) > 1


# What is allocated


class Allocations(NamedTuple):
    """What the profiler saw in one step: operators in their order, bytes taken and given back in theirs."""

    operators: list[str]
    bytes: list[int]

    @property
    def peak(self) -> int:
        """The most bytes that were taken at once."""
        live = most = 0
        for size in self.bytes:
            live += size
            most = max(most, live)
        return most


CPU = [torch.profiler.ProfilerActivity.CPU]


def allocations(net: nn.Module, batch: Any, block: Block) -> tuple[Allocations, Any]:
    net = deepcopy(net)
    torch.manual_seed(0)
    gc.collect()  # what other tests left in circles is not to be freed in between
    with (
        torch.profiler.profile(activities=CPU, profile_memory=True) as profile,
        block(net) as r,
        torch.set_grad_enabled(net.training),
    ):
        loss = loss_of(net(**batch))
        if net.training:
            loss.backward()
        del loss
    assert profile.profiler is not None
    events = sorted(profile.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    operators = [event.name() for event in events if event.name().startswith("aten::")]
    return Allocations(operators, [event.nbytes() for event in events if event.name() == "[memory]"]), r


@both_modes
@pytest.mark.parametrize("name", NAMES)
def test_the_allocator_is_asked_for_the_same(name: str, training: bool) -> None:
    net, batch = prepared(name, training)
    allocations(net, batch, unrecorded)  # what torch makes once, it makes now
    plain, _ = allocations(net, batch, unrecorded)
    assert plain.peak > 0
    for options in WAYS.values():
        recorded, r = allocations(net, batch, partial(Recorder, **options))
        assert len(r.graph.nodes) > 1
        measures = "values" in options or (training and options.get("gradients") in ("stats", "digest"))
        if measures:
            assert sum(recorded.bytes) == sum(plain.bytes)
            # What is computed of one tensor, and six numbers of each, until they are read: as a list, and as one.
            largest = max(p.numel() * p.element_size() for p in net.parameters())
            measured = sum(len(event.gradients) if isinstance(event, Grad) else 1 for event in r.events)
            # Of a digest also the signs that elements are added with.
            signs = 1 << 20 if "digest" in options.values() else 0
            assert recorded.peak - plain.peak < 5 * largest + 3 * 48 * measured + signs
        else:
            assert recorded.operators == plain.operators
            assert recorded.bytes == plain.bytes
