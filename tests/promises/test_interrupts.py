"""Interrupts at any moment: modes, hooks and the recording stay whole."""

import gc
import random
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dis import opname
from inspect import CO_GENERATOR
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from support.faults import Around, Fault, Own, calls, small
from support.models import Block, Net, linear, x
from torch import Tensor, nn

import recorder
from recorder import Recorder

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


def step(net: Net, batch: Tensor, error: BaseException, at: int) -> tuple[int, bool]:
    """How many moments of ours a training step has, and whether it saw the error."""
    with interrupted(error, at) as moments:
        try:
            net(batch).exp().sum().backward()
        except type(error) as caught:
            caught.__traceback__ = None  # as if nobody kept it
            return moments[0], caught is error and caught.__context__ is None
    return moments[0], False


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:nothing was recorded")  # if it comes before the first record
@pytest.mark.parametrize("kind", [Own, TimeoutError])
def test_an_interrupt_at_any_moment_of_ours(kind: type[BaseException]) -> None:
    net, batch = small()
    for _ in range(2):  # what is worked out once for a class has moments of its own the first time
        with Recorder(net) as outer:
            with Recorder(net.block):
                total, _ = step(net, batch, kind(), 0)
            net(batch)
            expected = calls(outer.graphs[-1])
    assert total > 300
    for at in range(1, total + 1, 3 if kind is Own else 7):
        with Recorder(net) as outer:
            with Recorder(net.block) as inner:
                moments, seen = step(net, batch, kind(), at)
            net(batch)
        assert seen or moments < at > total - 10, at  # what was worked out meanwhile has no moments any more
        assert torch._C._len_torch_function_stack() == 0, at
        for r in (outer, inner):
            r.graph.lint()
        assert calls(outer.graphs[-1]) == expected, at


@pytest.mark.slow
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
                    # and Python 3.14 a context that was being entered: until the block ends, no mode is asked
                    lost |= sys.version_info >= (3, 14) and not torch._C._is_torch_function_enabled()
                net(batch)
            assert caught == 1
            assert torch._C._len_torch_function_stack() == 0
            assert torch._C._is_torch_function_enabled()
            r.graph.lint()
            assert lost or calls(r.graphs[-1]) == expected
    finally:
        gc.enable()
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert raised == 200
