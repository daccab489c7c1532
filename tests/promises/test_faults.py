"""Whatever goes wrong: the run sees what it would have seen, and the recording up to there is whole.

One small training step passes every place where code of the user's can fail. Each kind of exception is raised at each
place, in a run that is recorded and in one that is not, and all that can be seen of the two is compared.
"""

import gc
import random
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dis import opname
from functools import cache
from inspect import CO_GENERATOR
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from support.models import Block, Net, linear, same, x
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import recorder
from recorder import Graph, Recorder

# Kinds of exceptions: each is called to raise one, and gives the object beforehand if there is one


class Mute(Exception):
    """One whose message cannot be had."""

    def __str__(self) -> str:
        raise ValueError("no message")


class Own(BaseException):
    """One that is no `Exception`, as those of test runners and of asynchronous libraries."""


def noted() -> Exception:
    error = ValueError("noted")
    error.add_note("while testing")
    return error


def caused() -> Exception:
    error = KeyError("caused")
    error.__cause__ = OSError("the cause")
    return error


KINDS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("no", 3),
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": lambda: SystemExit(3),
    "GeneratorExit": GeneratorExit,
    "StopIteration": lambda: StopIteration(4),
    "RecursionError": lambda: RecursionError("maximum recursion depth exceeded"),
    "MemoryError": MemoryError,
    "group": lambda: BaseExceptionGroup("several", [ValueError(1), KeyboardInterrupt()]),
    "mute": Mute,
    "own": Own,
    "noted": noted,
    "caused": caused,
}

SHORT, LONG = torch.ones(2), torch.ones(3)


class Fault:
    """Raises at one place, once. ``kind`` is one of `KINDS`, or how else an exception comes about."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind, self.place, self.armed = kind, place, False
        self.error = KINDS[kind]() if kind in KINDS else None

    def __call__(self, place: str) -> None:
        if place != self.place or not self.armed:
            return
        self.armed = False
        if self.kind == "torch's own":
            SHORT @ LONG
        elif self.kind == "while another was handled":
            try:
                raise LookupError("the context")
            except LookupError:
                raise ValueError("in its handler")  # noqa: B904 - the point
        else:
            assert self.error is not None
            raise self.error


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


class Around(TorchFunctionMode):
    """A mode of the user's."""

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is Tensor.sigmoid:
            self.fault("mode")
        return func(*args, **(kwargs or {}))


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


def errors(graph: Graph) -> dict[str, str]:
    """The calls of modules with an error, by name, in the second call of the net."""
    found = [(n.name, n.error) for n in graph.nodes if n.kind == "module"] + [(s.name, s.error) for s in graph.scopes]
    return {name.partition("#")[0]: error for name, error in found if error is not None}


def calls(graph: Graph) -> list[Any]:
    """What was called, where, and what it was given, however often the same was called before."""
    numbers = {id(value): i for i, value in enumerate(graph.values())}
    return [
        (n.op_type, n.fqn, [s.fqn for s in n.scope.ancestors()] if n.scope else [], [numbers[id(v)] for v in n.inputs])
        for n in graph.nodes
    ]


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


# What torch tells nobody of


def stop(*_: Any) -> None:
    raise KeyboardInterrupt


def stopped(net: nn.Module, batch: Tensor) -> None:
    """A call that is interrupted; nobody keeps the traceback."""
    try:
        net(batch)
    except KeyboardInterrupt:
        return
    raise AssertionError("it was not interrupted")


def test_nested_recorders_that_are_interrupted_in_a_module_of_torch_leave_no_mode_behind() -> None:
    net = Net(lambda net, x: net.fc(x), fc=linear())
    net.fc.register_forward_pre_hook(stop)
    with pytest.raises(KeyboardInterrupt), Recorder(net) as outer, Recorder(net) as inner:
        net(x())
    assert torch._C._len_torch_function_stack() == 0
    for r in (outer, inner):
        r.graph.lint()
        assert [n.error for n in r.graph.nodes] == ["KeyboardInterrupt"]


@pytest.mark.parametrize("held", [True, False])
def test_a_mode_of_the_user_s_keeps_its_place_after_an_interrupt(held: bool) -> None:
    """``held``: something keeps the traceback, so that only the next call of the net tells that the last one ended."""
    net = Net(lambda net, x: net.fc(x).relu(), fc=linear())
    hook = net.fc.register_forward_pre_hook(stop)
    with Around(Fault("own", "nowhere")) as below, Recorder(net) as r:
        if held:
            with pytest.raises(KeyboardInterrupt) as caught:
                net(x())
        else:
            stopped(net, x())
        hook.remove()
        with Around(Fault("own", "nowhere")) as above:
            net(x())
            stack = [torch._C._get_function_stack_at(i) for i in range(torch._C._len_torch_function_stack())]
            assert (stack[0], len(stack), stack[2]) == (below, 3, above)
        net(x())
    assert held is ("caught" in locals())
    r.graph.lint()
    assert [n.name for n in r.graph.nodes] == ["fc", "fc#1", "Net#1.relu", "fc#2", "Net#2.relu"]


def test_a_part_of_the_net_that_is_called_after_an_interrupt_is_called_from_outside() -> None:
    net = Net(lambda net, x: stop(net.block(x)), block=Block(lambda block, x: block.fc(x).relu(), fc=linear()))
    with Recorder(net) as r:
        stopped(net, x())
        net.block(x())
    assert [(s.name, s.parent and s.parent.name) for s in r.graph.scopes] == [
        ("Net", None),
        ("block", "Net"),
        ("block#1", None),
    ]
    assert [s.error for s in r.graph.scopes] == ["did not return", None, None]


# Interrupts at any moment

OURS = str(Path(recorder.__file__).parent)


CHECKED = {"CALL", "CALL_FUNCTION_EX", "CALL_KW", "JUMP_BACKWARD"}
"""After these instructions Python looks for signals, and at the start of a function."""


@contextmanager
def interrupted(error: BaseException, at: int) -> Iterator[list[int]]:
    """Raises at moment number ``at`` of those in the recorder's own code where Python handles signals. Counts them. An
    `Exception` is raised by a signal's handler: only so can it be told from a failure of the recorder's own.

    What Python calls when something is freed is left out: it prints what is raised there, and goes on.
    """
    moments = [0]
    last: dict[FrameType, str] = {}

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if event == "call" and frame.f_back is not None:
            last[frame.f_back] = ""  # it is a function in Python that was called
        if not frame.f_code.co_filename.startswith(OURS) or frame.f_code.co_name in ("_ended", "<lambda>"):
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        begins = event == "call" and not frame.f_code.co_flags & CO_GENERATOR  # one that is closed does not look
        if begins or (event == "opcode" and last.get(frame) in CHECKED):
            moments[0] += 1
            if moments[0] == at:
                sys.settrace(None)
                last.clear()
                if not isinstance(error, Exception):
                    raise error
                signal.raise_signal(signal.SIGUSR1)
        last[frame] = opname[frame.f_code.co_code[frame.f_lasti]] if event == "opcode" else ""
        return trace

    def handler(*_: Any) -> None:
        raise error

    before = signal.signal(signal.SIGUSR1, handler)
    sys.settrace(trace)
    try:
        yield moments
    finally:
        sys.settrace(None)
        signal.signal(signal.SIGUSR1, before)
        last.clear()


def small() -> tuple[Net, Tensor]:
    torch.manual_seed(0)
    block = Block(lambda block, x: block.fc(x).relu(), fc=linear())
    return Net(lambda net, x: net.head(net.block(x)), block=block, head=linear()), x()


def step(net: Net, batch: Tensor, error: BaseException, at: int) -> tuple[int, bool]:
    """How many moments of ours a training step has, and whether it saw the error."""
    with interrupted(error, at) as moments:
        try:
            net(batch).exp().sum().backward()
        except type(error) as caught:
            caught.__traceback__ = None  # as if nobody kept it
            return moments[0], caught is error and caught.__context__ is None
    return moments[0], False


@pytest.mark.parametrize("kind", [Own, TimeoutError])
def test_an_interrupt_at_any_moment_of_ours(kind: type[BaseException]) -> None:
    net, batch = small()
    with Recorder(net) as outer:
        with Recorder(net.block):
            total, _ = step(net, batch, kind(), 0)
        net(batch)
        expected = calls(outer.graphs[-1])
    assert total > 300
    for at in range(1, total + 1, 3 if kind is Own else 7):
        with Recorder(net) as outer:
            with Recorder(net.block) as inner:
                _, seen = step(net, batch, kind(), at)
            net(batch)
        assert seen, at
        assert torch._C._len_torch_function_stack() == 0, at
        for r in (outer, inner):
            r.graph.lint()
        assert calls(outer.graphs[-1]) == expected, at


def test_signals_at_random_moments() -> None:
    net, batch = small()
    with Recorder(net) as r:
        net(batch)
        expected = calls(r.graphs[-1])
    chance = random.Random(0)
    raised = 0

    def handler(*_: Any) -> None:
        nonlocal raised
        raised += 1
        raise Own

    before = signal.signal(signal.SIGALRM, handler)
    gc.disable()  # what is raised in its callbacks, as Hypothesis has one, Python prints and drops
    try:
        for number in range(200):
            with Recorder(net) as r:
                caught = 0
                try:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(1e-4, 4e-3))
                    while raised == number:
                        net(batch).exp().sum().backward()
                except Own as error:
                    caught += 1
                    # torch itself loses a mode, anybody's, that it has taken off for a moment
                    lost = "_pop_mode_temporarily" in {f.name for f in traceback.extract_tb(error.__traceback__)}
                net(batch)
            assert caught == 1
            assert torch._C._len_torch_function_stack() == 0
            r.graph.lint()
            assert lost or calls(r.graphs[-1]) == expected
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised == 200


# Finalizers: Python may run them at any moment, also in the middle of a hook


class Garbage:
    """A cycle, which only the collector frees, and which calls the net then."""

    def __init__(self, net: Net, done: list[bool], outcome: BaseException | None) -> None:
        self.itself, self.net, self.done, self.outcome = self, net, done, outcome

    def __del__(self) -> None:
        with torch.no_grad():
            self.done.append(bool(self.net.block(torch.ones(1, 4)).exp().sum() > 0))
        if self.outcome is not None:
            raise self.outcome


@pytest.mark.parametrize("outcome", [None, ValueError("in a finalizer")], ids=["silent", "raising"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_finalizers_that_call_the_net_at_any_moment(outcome: BaseException | None) -> None:
    net, batch = small()
    net(batch).exp().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    done: list[bool] = []
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what was there before is not searched each time
    for threshold in range(1, 40):
        net.zero_grad()
        done.clear()
        with Recorder(net) as outer, Recorder(net.block) as inner:
            waste = [Garbage(net, done, outcome) for _ in range(8)]
            del waste
            gc.set_threshold(threshold)
            try:
                net(batch).exp().sum().backward()
            finally:
                gc.set_threshold(*thresholds)
            gc.collect()
        assert done == [True] * 8
        assert same([p.grad for p in net.parameters()], gradients)
        for r in (outer, inner):
            r.graph.lint()
            names = [(n.op_type, n.fqn) for n in r.graph.nodes]
            assert names.count(("Linear", "head")) == (r is outer)
            assert names.count(("Linear", "block.fc" if r is outer else "fc")) == 9
            assert not errors(r.graph)
    gc.unfreeze()


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
