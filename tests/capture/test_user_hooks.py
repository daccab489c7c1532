"""Hooks and modes of the user's own are called as without the recorder: as often, in the same order, with the same.

Each habit below installs something and logs when it is called. It is tried around the recorder's block, inside it, and
across either border of it. The log of two training steps must be the one that the same program writes unrecorded.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import pytest
import torch
from support.models import same, tensors
from torch import Tensor, nn
from torch.autograd import graph
from torch.nn.modules import module as everywhere
from torch.optim import SGD
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from recorder import Recorder

Log = list[Any]
Habit = Callable[[nn.Module, Log], AbstractContextManager[Any]]


class Small(nn.Module):
    """A block with a branch, a layer in place if asked, dropout; a batch norm, and something made in forward."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.a = nn.Sequential(nn.Linear(4, 4), nn.ReLU(inplace), nn.Dropout(0.5))
        self.norm = nn.BatchNorm1d(4)
        self.b = nn.Linear(4, 2)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        x = x + self.a(x) * scale
        self.made = str(torch.ones(1).device)
        return self.b(self.norm(x))


def told(value: Any) -> Any:
    """What a hook was given, in words."""
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, type(value.grad_fn).__name__
    if isinstance(value, tuple | list):
        return [told(item) for item in value]
    if isinstance(value, dict):
        return {key: told(item) for key, item in value.items()}
    return value if value is None or isinstance(value, str | int | float | bool) else type(value).__name__


def logs(log: Log, name: str) -> Callable[..., None]:
    """A hook that changes nothing."""
    return lambda *args, **kwargs: log.append((name, told(args), told(kwargs)))


@contextmanager
def removed(*handles: Any) -> Iterator[None]:
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# Habits


def module_hooks(net: nn.Module, log: Log) -> AbstractContextManager[None]:
    handles = []
    for name, module in net.named_modules():
        handles += [
            module.register_forward_pre_hook(logs(log, f"{name} before")),
            module.register_forward_pre_hook(logs(log, f"{name} before, with keywords"), with_kwargs=True),
            module.register_forward_hook(logs(log, f"{name} after")),
            module.register_forward_hook(logs(log, f"{name} always"), with_kwargs=True, always_call=True, prepend=True),
            module.register_state_dict_pre_hook(logs(log, f"{name} before its state")),
            module.register_state_dict_post_hook(logs(log, f"{name} after its state")),
            module.register_load_state_dict_pre_hook(logs(log, f"{name} before loading")),
            module.register_load_state_dict_post_hook(logs(log, f"{name} after loading")),
        ]
    for name in ("norm", "b"):  # torch cannot have them beside a layer in place
        module = net.get_submodule(name)
        handles += [
            module.register_full_backward_pre_hook(logs(log, f"{name} before backward")),
            module.register_full_backward_hook(logs(log, f"{name} after backward")),
        ]
    return removed(*handles)


@contextmanager
def global_module_hooks(net: nn.Module, log: Log) -> Iterator[None]:
    always = everywhere.register_module_forward_hook(logs(log, "always"), with_kwargs=True, always_call=True)
    with removed(
        everywhere.register_module_forward_pre_hook(logs(log, "before")),
        everywhere.register_module_forward_hook(logs(log, "after")),
        everywhere.register_module_buffer_registration_hook(logs(log, "buffer")),
        everywhere.register_module_parameter_registration_hook(logs(log, "parameter")),
        everywhere.register_module_module_registration_hook(logs(log, "module")),
        always,
    ):
        yield
    everywhere._global_forward_hooks_with_kwargs.pop(always.id, None)  # torch forgets to


def changing_hooks(net: Any, log: Log) -> AbstractContextManager[None]:
    return removed(
        net.b.register_forward_pre_hook(lambda _, args: (args[0] * 2,)),
        net.b.register_forward_hook(lambda _, args, output: output + 1),
        net.b.weight.register_hook(lambda gradient: gradient * 3),
        net.norm.register_forward_hook(lambda _, args, output: log.append(told(output))),
    )


def tensor_hooks(net: Any, log: Log) -> AbstractContextManager[None]:
    def watch(_: nn.Module, args: Any, output: Tensor) -> None:
        output.retain_grad()
        output.register_hook(logs(log, "activation"))
        output.grad_fn.register_prehook(logs(log, "before its node"))  # type: ignore[union-attr]
        output.grad_fn.register_hook(logs(log, "after its node"))  # type: ignore[union-attr]
        graph.register_multi_grad_hook((output, args[0]), logs(log, "both"))
        graph.register_multi_grad_hook((output, args[0]), logs(log, "either"), mode="any")

    handles = [net.norm.register_forward_hook(watch)]
    for name, parameter in net.named_parameters():
        handles += [
            parameter.register_hook(logs(log, f"{name} gradient")),
            parameter.register_post_accumulate_grad_hook(logs(log, f"{name} accumulated")),
        ]
    return removed(*handles)


def optimizer_hooks(net: nn.Module, log: Log) -> AbstractContextManager[None]:
    return removed(
        register_optimizer_step_pre_hook(logs(log, "before a step")),
        register_optimizer_step_post_hook(logs(log, "after a step")),
    )


def function_mode(net: nn.Module, log: Log) -> AbstractContextManager[Any]:
    class Functions(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            log.append((func.__name__, len(args), sorted(kwargs or {})))
            return func(*args, **(kwargs or {}))

    return Functions()


def dispatch_mode(net: nn.Module, log: Log) -> AbstractContextManager[Any]:
    class Operators(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            log.append(
                (str(func), [tuple(t.shape) for t in tensors([*args])], [tuple(t.shape) for t in tensors([result])])
            )
            return result

    return Operators()


@contextmanager
def both_modes(net: nn.Module, log: Log) -> Iterator[None]:
    with function_mode(net, log), dispatch_mode(net, log), function_mode(net, log):
        yield


def saved_tensors(net: nn.Module, log: Log) -> AbstractContextManager[Any]:
    def pack(tensor: Tensor) -> Tensor:
        log.append(("pack", told(tensor.detach())))
        return tensor

    def unpack(tensor: Tensor) -> Tensor:
        log.append(("unpack", told(tensor.detach())))
        return tensor

    return graph.saved_tensors_hooks(pack, unpack)


@contextmanager
def anomaly(net: Any, log: Log) -> Iterator[None]:
    with torch.autograd.set_detect_anomaly(True):
        yield
        loss = net(torch.zeros(2, 4)).sum() * 0
        log.append("traceback_" in loss.grad_fn.metadata)
        try:
            loss.sqrt().backward()
        except RuntimeError as error:
            log.append(str(error))


@contextmanager
def deterministic(net: nn.Module, log: Log) -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        with removed(
            net.register_forward_hook(lambda *_: log.append(torch.are_deterministic_algorithms_enabled())),
            net.register_forward_pre_hook(lambda *_: log.append(torch.empty(3).isnan().all().item())),  # it fills them
        ):
            yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def default_device(net: Any, log: Log) -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        with removed(net.register_forward_hook(lambda *_: log.append(net.made))):
            yield
    finally:
        torch.set_default_device(None)
        if torch.__version__ < "2.9":  # which cannot say any more what the default is
            del torch._GLOBAL_DEVICE_CONTEXT.device_context


@contextmanager
def profiler(net: nn.Module, log: Log) -> Iterator[None]:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        yield
    events = sorted(profile.events(), key=lambda event: event.time_range.start)
    log += [event.name for event in events if event.name.startswith(("aten::", "autograd::", "Optimizer"))]


HABITS: dict[str, Habit] = {
    habit.__name__: habit
    for habit in (
        module_hooks,
        global_module_hooks,
        changing_hooks,
        tensor_hooks,
        optimizer_hooks,
        function_mode,
        dispatch_mode,
        both_modes,
        saved_tensors,
        anomaly,
        deterministic,
        default_device,
        profiler,
    )
}


# Where they begin and end

Place = Callable[[AbstractContextManager[Any], AbstractContextManager[Any], Callable[[], None]], None]


def around(block: AbstractContextManager[Any], habit: AbstractContextManager[Any], step: Callable[[], None]) -> None:
    with habit, block:
        step()
        step()


def inside(block: AbstractContextManager[Any], habit: AbstractContextManager[Any], step: Callable[[], None]) -> None:
    with block:
        step()
        with habit:
            step()


def into(block: AbstractContextManager[Any], habit: AbstractContextManager[Any], step: Callable[[], None]) -> None:
    """Set before the block, and unset inside it."""
    habit.__enter__()
    with block:
        step()
        habit.__exit__(None, None, None)
        step()


def out_of(block: AbstractContextManager[Any], habit: AbstractContextManager[Any], step: Callable[[], None]) -> None:
    """Set inside the block, and unset after it."""
    with block:
        habit.__enter__()
        step()
    step()
    habit.__exit__(None, None, None)


def run(
    habit: Habit, place: Place, recorder: Callable[[nn.Module], AbstractContextManager[Any]], inplace: bool = True
) -> tuple[Log, Any]:
    """Two steps of a program that has the habit. Returns its log, and all that it computed."""
    torch.manual_seed(0)
    net, log, results = Small(inplace), [], []
    optimizer = SGD(net.parameters(), lr=0.1)
    batch = torch.randn(3, 4)

    def step() -> None:
        log.append("step")
        loss = net(batch, scale=0.5).square().mean()
        loss.backward()
        optimizer.step()
        results.append((loss.detach(), [p.grad for p in net.parameters()]))
        optimizer.zero_grad()
        net.load_state_dict(net.state_dict())
        net.register_buffer("extra", None)

    place(recorder(net), habit(net, log), step)
    return log, (results, [*net.parameters()], [*net.buffers()])


PLACES = [
    pytest.param(habit, place, id=f"{habit}-{place.__name__}")
    for habit in HABITS
    for place in (around, inside, into, out_of)
    # torch takes off the stack whichever function mode is on top: they have to be left in the order they nest in.
    if place is not into or habit not in ("function_mode", "both_modes")
]


@pytest.mark.parametrize(("habit", "place"), PLACES)
def test_a_habit_of_the_users(habit: str, place: Place) -> None:
    plain, results = run(HABITS[habit], place, lambda _: nullcontext())
    assert len(plain) > 2
    for options in ({}, {"functions": False}, {"gradients": "stats", "autograd": True}):
        recorders: list[Recorder] = []

        def recorder(net: nn.Module, options: Any = options, recorders: list[Recorder] = recorders) -> Recorder:
            recorders.append(Recorder(net, **options))
            return recorders[0]

        log, recorded = run(HABITS[habit], place, recorder)
        if habit != "profiler" or "gradients" not in options:  # which sees what is measured, too
            assert log == plain
        assert same(recorded, results)
        recorders[0].graph.lint()
        assert "b" in {node.name for node in recorders[0].graph.nodes}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("place", [around, inside])
def test_global_backward_hooks(place: Place) -> None:
    """torch lets nobody have them with a layer in place."""

    def habit(net: nn.Module, log: Log) -> AbstractContextManager[None]:
        return removed(
            everywhere.register_module_full_backward_pre_hook(logs(log, "before backward")),
            everywhere.register_module_full_backward_hook(logs(log, "after backward")),
        )

    plain, results = run(habit, place, lambda _: nullcontext(), inplace=False)
    log, recorded = run(habit, place, Recorder, inplace=False)
    assert log == plain
    assert sum(entry[0] == "after backward" for entry in log) >= 6
    assert same(recorded, results)
