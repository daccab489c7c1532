"""Whatever goes wrong: the run sees what it would have seen, and the recording up to there is whole.

One small training step passes every place where code of the user's can fail. Each kind of exception is raised at each
place, in a run that is recorded and in one that is not, and all that can be seen of the two is compared.
"""

import traceback
from contextlib import nullcontext
from functools import cache
from typing import Any

import pytest
import torch
from support.faults import KINDS, Around, Fault, Mute, calls, errors
from support.models import Block, Net, linear, same, x
from torch import Tensor, nn

from recorder import Recorder

EVERY_KIND = [*KINDS, "torch's own", "while another was handled"]


PLACES: dict[str, set[str]] = {
    "forward": {"Net"},
    "between modules": {"Net"},
    "mode": {"Net"},
    "pre-hook": {"Net", "block", "block.fc"},
    "hook": {"Net", "block"},
    "block": {"Net", "block"},
    "deep": {"Net", "block", "block.deep"},
    "module without children": {"Net", "odd"},
    "module of torch": {"Net", "head"},
    "body": set(),
    "loss": set(),
    "tensor hook": set(),
    "backward": set(),
    "full backward hook": set(),
    "accumulate hook": set(),
    "closure": set(),
    "step": set(),
    "nested": set(),
}
"""Where it may happen, in the order of the run, and which calls carry the error then."""


IN_BACKWARD = ("tensor hook", "backward", "full backward hook", "accumulate hook")


class Wobble(torch.autograd.Function):
    """Fails in backward."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, fault: Fault) -> Tensor:
        ctx.fault = fault
        return x * 2

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.fault("backward")
        return gradients[0] * 2, None


class Steps(torch.optim.SGD):
    """An optimizer of the user's."""

    def __init__(self, net: nn.Module, fault: Fault) -> None:
        super().__init__(net.parameters(), lr=0.1)
        self.fault = fault

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        self.fault("step")
        return loss


def forward(net: Net, x: Tensor) -> Tensor:
    h = net.norm(net.stem(x))
    net.fault("forward")
    h = h.relu()
    net.fault("between modules")
    h = net.odd(net.block(h.sigmoid()))
    if h.requires_grad:
        h.register_hook(lambda gradient: net.fault("tensor hook"))
    return net.head(Wobble.apply(h, net.fault))


def forward_of_block(block: Block, x: Tensor) -> Tensor:
    h = block.fc(x)
    block.fault("block")
    return block.deep(h) + x


def forward_of_deep(deep: Block, x: Tensor) -> Tensor:
    h = deep.fc(x).tanh()
    deep.fault("deep")
    return h


def forward_of_odd(odd: Block, x: Tensor) -> Tensor:
    odd.fault("module without children")
    return x


def build(fault: Fault) -> Net:
    torch.manual_seed(0)
    block = Block(forward_of_block, fc=linear(), deep=Block(forward_of_deep, fc=linear(), fault=fault), fault=fault)
    odd = Block(forward_of_odd, fault=fault)
    net = Net(forward, stem=linear(), norm=nn.BatchNorm1d(4), block=block, odd=odd, head=linear(4, 2), fault=fault)
    plain = net.head.forward

    def forward_of_head(x: Tensor) -> Tensor:
        result = plain(x)
        fault("module of torch")
        return result

    net.head.forward = forward_of_head
    block.fc.register_forward_pre_hook(lambda *_: fault("pre-hook"))
    block.fc.register_forward_hook(lambda *_: fault("hook"))
    block.register_full_backward_hook(lambda *_: fault("full backward hook"))
    block.fc.weight.register_post_accumulate_grad_hook(lambda _: fault("accumulate hook"))
    return net


def criterion(out: Tensor, fault: Fault) -> Tensor:
    loss = out.pow(2)
    fault("loss")
    return loss.mean()


def train(net: Net, batch: Tensor, recorded: bool) -> None:
    """What may fail."""
    fault: Fault = net.fault
    fault.armed = True
    optimizer = Steps(net, fault)
    with Around(fault):
        out = net(batch)
        fault("body")
    criterion(out, fault).backward()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = criterion(net(batch), fault)
        fault("closure")
        loss.backward()
        return loss

    optimizer.step(closure)
    with Recorder(net.block) if recorded else nullcontext():
        net.block(batch)
        fault("nested")


def run(kind: str, place: str, recorded: bool, inside: bool, functions: bool = True) -> tuple[Any, Recorder | None]:
    """What the run shows to the outside, and its recorder. ``inside``: the block goes on after the exception."""
    fault = Fault(kind, place)
    net, batch = build(fault), x()
    shown: list[Any] = []
    r = Recorder(net, functions=functions) if recorded else None
    try:
        with r or nullcontext():
            before = net(batch)
            try:
                train(net, batch, recorded)
            except BaseException as error:
                if not inside:
                    raise
                shown.append(facts(error, fault))
            (before * 3).sum()
            net(batch).sum()
    except BaseException as error:
        shown.append(facts(error, fault))
    state = [*net.state_dict().values(), *[p.grad for p in net.parameters() if p.grad is not None]]
    shown += [state, [p.grad is None for p in net.parameters()], torch.random.get_rng_state()]
    return shown, r


def facts(error: BaseException, fault: Fault) -> list[Any]:
    """All that a user can see of an exception. Its traceback goes, as it does when a user has looked at it."""
    chain: list[BaseException] = [error]
    while (following := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(following)
    found = [
        (
            type(e),
            e.args if e.args and not isinstance(e, BaseExceptionGroup) else None,
            None if isinstance(e, Mute) else str(e),
            e.__suppress_context__,
            (e.__cause__ is None, e.__context__ is None),
            getattr(e, "__notes__", None),
            [(f.name, f.lineno) for f in traceback.extract_tb(e.__traceback__) if f.filename == __file__],
        )
        for e in chain
    ]
    assert fault.error is None or fault.error is error
    for e in chain:
        e.__traceback__ = None
    return found


def equal(one: Any, other: Any) -> bool:
    (*one, state, missing, random), (*other, other_state, other_missing, other_random) = one, other
    return one == other and same([*state, random], [*other_state, other_random]) and missing == other_missing


@cache
def whole(functions: bool) -> list[str]:
    """The names of the nodes of a run without a fault."""
    _, r = run("ValueError", "nowhere", recorded=True, inside=True, functions=functions)
    assert r is not None
    return [node.name for node in r.graph.nodes]


@cache
def alone(functions: bool) -> list[Any]:
    """One call, recorded by itself."""
    net = build(Fault("ValueError", "nowhere"))
    with Recorder(net, functions=functions) as r:
        net(x()).sum()
    return calls(r.graph)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_run_sees_its_exception_and_the_recording_is_whole(kind: str, place: str) -> None:
    # Each place is tried in each of three ways, with a third of the kinds.
    turn = EVERY_KIND.index(kind) + list(PLACES).index(place)
    inside, functions = ((False, True), (True, True), (True, False))[turn % 3]
    plain, _ = run(kind, place, recorded=False, inside=inside)
    shown, r = run(kind, place, recorded=True, inside=inside, functions=functions)
    assert len(plain) == 4, "it has failed"
    assert equal(plain, shown)
    assert r is not None
    check(r, place, inside, functions)


def check(r: Recorder, place: str, inside: bool, functions: bool) -> None:
    graph = r.graph
    graph.lint()
    for format in ("dot", "mermaid", "json"):
        assert r.export(format)
    assert errors(graph).keys() == PLACES[place]
    names = [node.name for node in graph.nodes if node.kind == "module" or node.error is None]
    failed = {node.op_type for node in graph.nodes if node.kind == "function" and node.error is not None}
    assert failed - {"matmul"} == ({"backward"} if functions and place in IN_BACKWARD else set())
    if inside and functions:
        (after,) = [i for i, node in enumerate(graph.nodes) if node.attributes.get("arg1") == 3]
        assert graph.nodes[after].scope is None, "it stands outside of the call that failed"
        names = names[: names.index(graph.nodes[after].name)]
    if functions:
        assert names == whole(functions)[: len(names)], "what ran before is all there, and nothing else"
    assert len(names) > len(alone(functions))
    if inside:
        assert calls(r.graphs[-1]) == alone(functions), "what comes after is recorded as ever"


# Steps of optimizers


@pytest.mark.parametrize("closure", [True, False])
def test_functions_after_a_step_that_raised_are_recorded(closure: bool) -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    fault = Fault("ValueError", "step")
    optimizer, batch = Steps(net, fault), x()
    fault.armed = True

    def loss() -> Tensor:
        loss = net(batch).sum()
        loss.backward()
        return loss

    with Recorder(net) as r:
        out = net(batch)
        out.sum().backward()
        with pytest.raises(ValueError, match="no"):
            optimizer.step(loss if closure else None)
        out * 3
        with torch.no_grad():
            net(batch).sin()
    r.graph.lint()
    middle = ["fc#1", "sum_1"] if closure else []
    last = "fc#2" if closure else "fc#1"
    assert [n.name for n in r.graph.nodes] == ["fc", "sum", *middle, "mul", last, "sin"]


# Too deep


@pytest.mark.filterwarnings("ignore:graph-recorder failed at")
@pytest.mark.filterwarnings("ignore:global module forward hook with")  # torch, where no frame is left for our hook
@pytest.mark.parametrize("functions", [True, False])
def test_a_recursion_without_end(functions: bool) -> None:
    net = Net(lambda net, x: net(net.fc(x)) if x.dim() == 2 else net.fc(x), fc=linear())
    with Recorder(net, functions=functions) as r:
        with pytest.raises(RecursionError):
            net(x())
        net(x(1, 2, 4))
    r.graph.lint()
    assert r.graph.nodes[-1].op_type == "Linear"
    assert len(r.graphs) == 2
    assert r.graph.scopes[0].error is not None
