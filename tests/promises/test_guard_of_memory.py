"""Whatever fails of memory, the run goes on, no hook and no mode stays, and it is said."""

import warnings
from typing import Any

import pytest
import torch
from support.memory import needs_memory
from support.models import Net, linear, same, x
from support.planted import failing
from torch import nn
from torch.nn.modules import module
from torch.optim import optimizer as of_optimizers
from torch.utils.checkpoint import checkpoint

import recorder.capture.memory_hooks
import recorder.recorder
from recorder import Recorder, RecorderError
from recorder.capture.memory_hooks import MemoryHooks
from recorder.capture.saved_tensors import Checkpoints
from recorder.capture.storages import Storages

PLACES: list[tuple[Any, str]] = [
    (MemoryHooks, "_look"),
    (MemoryHooks, "_keep"),
    (MemoryHooks, "_keep_checkpoint"),
    (MemoryHooks, "_see"),
    (MemoryHooks, "_say"),
    (MemoryHooks, "begin"),
    (MemoryHooks, "gradients"),
    (MemoryHooks, "accumulated"),
    (Checkpoints, "begun"),
    (Storages, "see"),
    (Storages, "_met"),
    (recorder.capture.memory_hooks, "kept_by"),
    (recorder.capture.memory_hooks, "made_since"),
    (recorder.capture.memory_hooks, "tensors_in"),
]


def stepped(net: nn.Module, given: torch.Tensor, r: Recorder | None) -> list[torch.Tensor]:
    """Three steps of training, and what there is after them."""
    torch.manual_seed(0)
    optimizer = torch.optim.Adam(net.parameters())
    for parameter in net.parameters():
        parameter.grad = None
    block = torch.autograd.profiler.record_function("none") if r is None else r
    with block:
        for _ in range(3):
            net(given).sum().backward()
            optimizer.step()
    return [*(p.detach().clone() for p in net.parameters()), torch.get_rng_state()]


def mixed() -> Net:
    torch.manual_seed(0)
    return Net(lambda self, t: checkpoint(self.b, self.a(t).exp(), use_reentrant=False).sin(), a=linear(), b=linear())


@needs_memory
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(("home", "name"), PLACES, ids=[f"{home.__name__}.{name}" for home, name in PLACES])
def test_whatever_fails_the_run_goes_on(monkeypatch: pytest.MonkeyPatch, home: Any, name: str, every: int) -> None:
    given = x()
    expected = stepped(mixed(), given, None)
    hooks = (module._global_forward_hooks, module._global_forward_pre_hooks,
             of_optimizers._global_optimizer_pre_hooks, of_optimizers._global_optimizer_post_hooks)  # fmt: skip
    before = [dict(found) for found in hooks]
    net, failed = mixed(), list[int]()
    monkeypatch.setattr(home, name, failing(getattr(home, name), every, failed))
    r = Recorder(net, memory=True)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert same(stepped(net, given, r), expected)
    monkeypatch.undo()
    assert failed, "the planted fault never fired"
    assert [str(one.message).count("ZeroDivisionError: planted") > 0 for one in told] == [True]
    assert [dict(found) for found in hooks] == before
    assert not torch.overrides._get_current_function_mode_stack()
    r.graph.lint()
    r.graph.memory_report()


def test_a_torch_that_does_not_tell_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder.recorder, "CAN_LOOK", False)
    with pytest.raises(RecorderError, match=r"memory=True needs torch 2\.10 or newer, and this is \d"):
        Recorder(linear(), memory=True)
    Recorder(linear())
