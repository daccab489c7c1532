"""How many floating-point operations a recorded call took, by formulas for what it computes.

The call is made again with fake tensors of the recorded shapes, on the recorded device: no memory, no arithmetic. torch
breaks it down into the kernels that it would run there, forward and backward, as `FlopCounterMode` sees them during a
real run. Each kernel has a formula (torch's own, the user's, or one of `recorder.analysis.flop_formulas`), or takes no
floating-point operations (`recorder.analysis.kernel_kinds`). If one is neither, the call is unknown: what is known of a
part says nothing of the whole.

A recording may come from a stranger, so nothing is called because a recording names it: what may be called is in
`recorder.analysis.calls_again`, and a formula that was registered is given the shapes alone.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import lru_cache
from itertools import permutations
from typing import Any, NamedTuple

import msgspec
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import flop_registry

from recorder.analysis.backward_again import back_again
from recorder.analysis.backward_passes import Computed
from recorder.analysis.calls_again import again_of, placed
from recorder.analysis.flop_formulas import formula_of, of_the_user, registered
from recorder.analysis.free_layers_again import free_layer_again
from recorder.analysis.kernel_kinds import decomposition, is_free, is_free_call, makes_nothing, takes_no_floats
from recorder.analysis.layers_again import Again, Told
from recorder.graph.core import Node

__all__ = ["Call", "Facts", "Work", "can_be_counted", "takes_none", "work_of"]

_LOG = logging.getLogger("torch._subclasses.fake_tensor")

_ORDERS = 4
"""Tensors of a function that are tried in every order: what was given by keyword stands in the order of the call."""


class Facts(NamedTuple):
    """A tensor, as far as the number of operations depends on it."""

    shape: tuple[int, ...]
    dtype: str
    device: str
    requires_grad: bool


class Call(NamedTuple):
    """A recorded call. ``attributes`` are a node's, as JSON; ``members`` are a module's parameters without the names of
    the modules around it; ``outputs`` are the tensors that it returned, ``used`` says which of them anybody looked at.
    ``computed`` is what each pass of backward computed: one pass for everything if nothing is said. ``math`` says that
    attention ran as products and a softmax, and not as one kernel, as its autograd node tells.
    """

    target: str
    inputs: tuple[Facts, ...]
    members: tuple[tuple[str, Facts], ...]
    attributes: bytes
    outputs: tuple[Facts, ...]
    used: tuple[int, ...]
    backward: bool
    module: bool
    computed: Computed = ()
    math: bool = False


class Work(NamedTuple):
    """Floating-point operations; ``backward`` is 0 if it was not asked for, or no input needs a gradient, and None if
    it is not known.
    """

    forward: int
    backward: int | None


def takes_none(node: Node) -> bool:
    """Whether a call takes no floating-point operations, as far as its name tells. Where the user has registered a
    formula for such a kernel, which kernels it runs has to be seen.
    """
    return is_free_call(node) and (makes_nothing(node) or not _counts_free_kernels(_formulas()))


def can_be_counted(target: str) -> bool:
    """Whether calls of a target can be counted, if what is recorded of one allows it."""
    return again_of(target) is not None or registered(target) is not None or free_layer_again(target) is not None


def work_of(call: Call) -> Work | None:
    """The operations of one call; None if a kernel in it is unknown, or the call cannot be made again from what was
    recorded of it.
    """
    return _work_of(call, _formulas())


def _formulas() -> tuple[int, ...]:
    """Which there are: one may be registered between one question and the next."""
    return tuple(map(id, flop_registry.values()))


@lru_cache(8)
def _counts_free_kernels(formulas: tuple[int, ...]) -> bool:
    """Whether there is a formula of the user for a kernel of torch's that takes none otherwise."""
    packets = [packet for packet in of_the_user() if isinstance(packet, torch._ops.OpOverloadPacket)]
    kernels = [getattr(packet, name) for packet in packets for name in packet.overloads()]  # type: ignore[no-untyped-call]
    return any(kernel.namespace == "aten" and is_free(kernel) for kernel in kernels)


@lru_cache(8192)
def _work_of(call: Call, formulas: tuple[int, ...]) -> Work | None:
    again = again_of(call.target)
    if again is None and registered(call.target) is None:
        again = free_layer_again(call.target)
    for device in (None, "cpu"):  # of some devices fake tensors cannot be made where the device is not
        try:
            with _apart():
                work = _by_formula(call, device) if again is None else _in_some_order(again, call, device)
        except Exception:  # whatever the recording says that torch refuses
            continue
        if work is not None:
            return work
    return None


@contextmanager
def _apart() -> Iterator[None]:
    """No mode, of the user's or of ours, sees what runs inside, and no setting changes it. Nor is anything printed
    where torch refuses or warns: a fake tensor's errors are logged, too.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings(action="ignore"))
        stack.callback(_LOG.setLevel, _LOG.level)
        _LOG.setLevel(logging.CRITICAL)
        for guard in (
            _disable_current_modes(), torch._C.DisableTorchFunction(), torch.inference_mode(mode=False),
            torch.enable_grad(), torch._C._DisableAutocast(), FakeTensorMode(),
        ):  # fmt: skip
            stack.enter_context(guard)
        yield


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what the formulas say of each kernel. What has none is broken down, as far as torch can."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0
        self.unknown = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        formula = formula_of(getattr(func, "_overloadpacket", func))
        if formula is not None:
            result = func(*args, **kwargs)
            self.flops += formula(*args, **kwargs, out_val=result)
            return result
        if is_free(func):
            return func(*args, **kwargs)
        for basic in (func.decompose, decomposition(func)):
            if basic is None:
                continue
            try:
                with self:
                    result = basic(*args, **kwargs)
            except NotImplementedError:
                continue
            if result is not NotImplemented:
                return result
        result = func(*args, **kwargs)
        self.unknown = self.unknown or not takes_no_floats(args, list(kwargs.values()))
        return result


def _in_some_order(again: Again, call: Call, device: str | None) -> Work | None:
    """The work of a call. Of a function that cannot have been given its tensors in that order, the work without the
    last one, if that may be what ``out`` was; else in any order in which it can, if all of those agree.
    """
    try:
        return _count(again, call, device)
    except Exception:
        if call.module or len(call.inputs) < 2:
            raise
    if len(call.outputs) == 1 and call.inputs[-1].shape in (call.outputs[0].shape, (0,)):
        with suppress(Exception):
            return _count(again, call._replace(inputs=call.inputs[:-1]), device)
    if len(call.inputs) > _ORDERS:
        return None
    found: set[Work | None] = set()
    for inputs in permutations(call.inputs):
        try:
            found.add(_count(again, call._replace(inputs=inputs), device))
        except Exception:
            continue
    return found.pop() if len(found) == 1 else None


def _count(again: Again, call: Call, device: str | None) -> Work | None:
    inputs = [_fake(facts, device) for facts in call.inputs]
    members = {name: _fake(facts, device) for name, facts in call.members}
    shapes = tuple(facts.shape for facts in call.outputs)
    told = Told(msgspec.json.decode(call.attributes), len(shapes), shapes)
    with _Counter() as counter, sdpa_kernel(SDPBackend.MATH) if call.math else nullcontext():
        outputs = again(inputs, members, told)
        if not call.module:
            _check(outputs, call)
        forward, known = counter.flops, not counter.unknown
        made = [t for i, t in enumerate(outputs) if t.requires_grad and i in call.used]
        made = made or [t for t in outputs if t.requires_grad]
        seen = not (call.backward and made) or back_again(made, call.computed)
    backward = None if counter.unknown or not seen else counter.flops - forward
    return Work(forward, backward) if known else None


def _check(outputs: Sequence[Tensor], call: Call) -> None:
    """That what came out is what had come out: else it was not the same call.

    Raises:
        ValueError: it is not.
    """
    for made, told in zip(outputs, call.outputs):
        if tuple(made.shape) != told.shape:
            raise ValueError(f"{call.target} made {tuple(made.shape)} and not {told.shape}")


def _by_formula(call: Call, device: str | None) -> Work | None:
    """An operation of somebody's own is not called, and so nothing is seen of its backward."""
    found = registered(call.target)
    if found is None:
        return None
    operator, formula = found
    inputs = [_fake(facts, device) for facts in call.inputs]
    outputs = [_fake(facts, device) for facts in call.outputs]
    arguments, keywords = placed(operator, inputs, msgspec.json.decode(call.attributes))
    forward = formula(*arguments, **keywords, out_val=outputs[0] if len(outputs) == 1 else tuple(outputs))
    needs = call.backward and any(facts.requires_grad for facts in call.inputs)
    return Work(int(forward), None if needs else 0)


def _fake(facts: Facts, device: str | None) -> Tensor:
    dtype: torch.dtype = getattr(torch, facts.dtype)
    return torch.empty(facts.shape, dtype=dtype, device=device or facts.device, requires_grad=facts.requires_grad)
