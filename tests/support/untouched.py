"""One run beside another: everything that can be seen of a model's step, and what differs between two of them.

`observe` runs a step of training or of evaluation from a fixed seed, in a block that is a recorder's or nobody's, and
notes what an onlooker could see of it. `differences` names what is not the same in two such notes.
"""

import random
import warnings
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from dataclasses import dataclass, fields
from typing import Any

import numpy
import torch
from support.memory import CAN_LOOK
from support.models import same, tensors
from support.zoo import CLASSIFIERS, ZOO, Specimen
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import TorchDispatchMode, _get_current_dispatch_mode_stack

from recorder import Recorder

__all__ = [
    "ASPECTS",
    "OPTIONS",
    "Kernels",
    "Seen",
    "autograd_of",
    "compare",
    "described",
    "differences",
    "observe",
    "ways",
]

OPTIONS: dict[str, dict[str, Any]] = {
    "as by default": {},
    "modules alone": {"functions": False},
    **({"memory": {"memory": True}} if CAN_LOOK else {}),
    "all that there is": {"autograd": True, "gradients": "digest", "values": "digest", "memory": CAN_LOOK},
}
"""Ways to record: each must leave the run as it is."""

_ALL_WAYS = frozenset(ZOO) - frozenset(CLASSIFIERS) | {"resnet18", "googlenet", "mobilenet_v3_small", "swin_t"}
"""Models that are recorded in each of them. For eighty classifiers it would take minutes more."""


def ways(name: str) -> dict[str, dict[str, Any]]:
    """How a model of the zoo is recorded in the comparison."""
    return OPTIONS if name in _ALL_WAYS else {"as by default": {}}


class Kernels(TorchDispatchMode):
    """Notes every operator that reaches a kernel, in order, and under which modes it did."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.under: set[tuple[bool, bool, int]] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(str(func))
        # The mode itself is off the stack while it is asked.
        around = len(_get_current_dispatch_mode_stack())
        self.under.add((torch.is_grad_enabled(), torch.is_inference_mode_enabled(), around))
        return func(*args, **(kwargs or {}))


@dataclass
class Seen:
    """Everything that one run shows to the outside. Each field is something that recording must not change."""

    outputs: list[Tensor]
    loss: Tensor
    gradients: list[Tensor]
    without_gradient: list[str]
    buffers: list[Tensor]
    autograd: list[tuple[str, tuple[int, ...]]]
    kernels: list[str]
    kernels_under: set[tuple[bool, bool, int]]
    warnings: list[tuple[type[Warning], str]]
    random: tuple[Any, ...]
    modules_inside: dict[str, Any]
    modules: dict[str, Any]
    parameter_hooks: dict[str, list[Any]]
    modes: list[Any]


ASPECTS = tuple(field.name.replace("_", " ") for field in fields(Seen))
"""What is compared, in words."""


def differences(one: Seen, other: Seen) -> list[str]:
    """The names of what differs between two runs. Tensors are compared to the bit."""
    return [
        field.name
        for field in fields(Seen)
        if not _equal(getattr(one, field.name), getattr(other, field.name), field.type)
    ]


def _equal(one: Any, other: Any, kind: Any) -> bool:
    return same(one, other) if kind in (Tensor, list[Tensor]) else one == other


def observe(
    net: nn.Module, batch: Callable[[], dict[str, Tensor]], training: bool, block: AbstractContextManager[Any]
) -> Seen:
    """One step from the same seed, inside the block. Gradients are taken from the parameters, which have none then."""
    net.train(training)
    with _from_a_seed(), warnings.catch_warnings(record=True) as warned, Kernels() as kernels:
        warnings.simplefilter("always")
        inputs = batch()
        before = _get_current_function_mode_stack(), _get_current_dispatch_mode_stack()
        with block:
            with torch.set_grad_enabled(training):
                outputs = net(**inputs)
                loss: Any = sum(t.float().mean() for t in tensors(outputs) if t.is_floating_point())
            inside = described(net)
            autograd = autograd_of(loss)
            if training:
                loss.backward()
        after = _get_current_function_mode_stack(), _get_current_dispatch_mode_stack()
        state = torch.random.get_rng_state().tolist(), random.getstate(), str(numpy.random.get_state())
    seen = Seen(
        outputs=tensors(outputs),
        loss=loss,
        gradients=[p.grad for p in net.parameters() if p.grad is not None],
        without_gradient=[name for name, p in net.named_parameters() if p.grad is None],
        buffers=list(net.buffers()),
        autograd=autograd,
        kernels=kernels.seen,
        kernels_under=kernels.under,
        warnings=[(w.category, str(w.message)) for w in warned],
        random=state,
        modules_inside=inside,
        modules=described(net),
        parameter_hooks={name: _hooks_of(parameter) for name, parameter in net.named_parameters()},
        modes=[a is b for was, now in zip(before, after, strict=True) for a, b in zip(was, now, strict=True)],
    )
    for parameter in net.parameters():
        parameter.grad = None
    return seen


@contextmanager
def _from_a_seed() -> Iterator[None]:
    states = random.getstate(), numpy.random.get_state()
    always = torch.is_warn_always_enabled()
    torch.manual_seed(0)
    random.seed(0)
    numpy.random.seed(0)
    torch.set_warn_always(True)  # else a warning that torch gives once is missing from the second run
    try:
        yield
    finally:
        random.setstate(states[0])
        numpy.random.set_state(states[1])
        torch.set_warn_always(always)


def autograd_of(tensor: Tensor) -> list[tuple[str, tuple[int, ...]]]:
    """The autograd graph behind a tensor: each autograd node's kind, and which ones it hands its gradients to."""
    numbers: dict[Any, int] = {}
    pending = [tensor.grad_fn]
    while pending:
        node = pending.pop()
        if node is not None and node not in numbers:
            numbers[node] = len(numbers)
            pending += [following for following, _ in node.next_functions]
    return [(node.name(), tuple(numbers.get(n, -1) for n, _ in node.next_functions)) for node in numbers]


def described(net: nn.Module) -> dict[str, Any]:
    """Each module's ``__dict__`` in plain words: training flags, hooks, attributes, members, in their order.

    Of a tensor it is said how often it was written, not what is in it.
    """
    return {name: (_qualified(type(module)), _plain(vars(module))) for name, module in net.named_modules()}


def _plain(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int | float | str | torch.dtype | torch.device):
        return value
    if isinstance(value, Tensor):
        version = None if value.is_inference() else value._version
        return _qualified(type(value)), tuple(value.shape), value.requires_grad, version, list(vars(value))
    if isinstance(value, nn.Module | type) or callable(value) or depth > 4:
        return _qualified(value if hasattr(value, "__qualname__") else type(value))
    if isinstance(value, Mapping):
        return [(_plain(key), _plain(item, depth + 1)) for key, item in value.items()]
    if isinstance(value, list | tuple):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Set):
        return sorted(map(repr, value))
    return _qualified(type(value)), _plain(getattr(value, "__dict__", None), depth + 1)


def _hooks_of(parameter: Any) -> list[Any]:
    # torch leaves an empty dict where a hook was removed.
    return [*(parameter._backward_hooks or {}), *(parameter._post_accumulate_grad_hooks or {})]


def _qualified(thing: Any) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def compare(specimen: Specimen, training: bool, options: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """What each way to record changes about a step of a model: nothing, it is hoped.

    Raises:
        AssertionError: the comparison itself is worth nothing, because too little happened in the model, or because
            the recorder recorded nothing.
    """
    torch.manual_seed(0)
    net = specimen.make()
    plain = observe(_copy(net), specimen.batch, training, nullcontext())
    assert len(plain.kernels) > 10
    assert plain.loss.isfinite()
    if training:
        reached = sum(bool(gradient.any()) for gradient in plain.gradients)
        assert reached > len(plain.gradients) / 2
    found = {}
    for name, how in options.items():
        copy = _copy(net)
        r = Recorder(copy, **how)
        found[name] = differences(plain, observe(copy, specimen.batch, training, r))
        r.graph.lint()
        nodes = [node for node in r.graph.nodes if node.kind == "module"]
        assert len(nodes) > 1
        assert any(node.backward_ns is not None for node in nodes) is training
    return found


def _copy(net: nn.Module) -> nn.Module:
    """Everything copied but the parameters, which a step does not change, and of which there may be gigabytes."""
    return deepcopy(net, {id(parameter): parameter for parameter in net.parameters()})
