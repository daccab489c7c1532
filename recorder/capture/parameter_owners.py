"""Whose parameters an operation carries that a library issues for them: an FSDP unit's, or those of a bucket.

Both are read from where torch keeps them, and checked: where the sizes are not those of the operation, nothing is said.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import FrameType
from typing import Any
from weakref import ref

from torch import Tensor, nn

from recorder.capture.issues import Issue
from recorder.capture.tensor_facts import Reference

__all__ = ["BUCKETS", "UNITS", "Unit", "bucket_parameters", "is_reducer", "unit_around"]

UNITS = "torch.distributed.fsdp._fully_shard._fsdp_param_group"
"""The module that issues FSDP's operations."""

_DEEPEST = 16
"""So many frames above an operation are looked at."""

BUCKETS = "rebuilt_per_bucket_param_indices"


class Unit:
    """The FSDP unit that issues an operation: its name, and the parameters that it gathers or whose gradients it
    scatters; none if that is not sure.
    """

    __slots__ = ("gathers", "name", "parameters")

    def __init__(self, owner: Any, gathers: bool) -> None:
        self.name: str = owner._module_fqn or ""
        self.gathers = gathers
        self.parameters: list[Any] = list(owner.fsdp_params)

    def references(self, shard: int) -> list[Reference]:
        """The parameters, if their shards have as many elements as the operation's smaller side."""
        if sum(parameter.padded_sharded_param_size.numel() for parameter in self.parameters) != shard:
            return []
        return [ref(parameter.sharded_param) for parameter in self.parameters]


def unit_around(frame: FrameType | None) -> Unit | None:
    """The unit that is at work in one of these frames. Nothing is looked for where FSDP is not loaded."""
    module = sys.modules.get(UNITS)
    file = None if module is None else module.__file__
    for _ in range(_DEEPEST if file else 0):
        if frame is None:
            return None
        code = frame.f_code
        if code.co_filename == file and code.co_name in ("unshard", "post_backward"):
            return Unit(frame.f_locals["self"], code.co_name == "unshard")
        frame = frame.f_back
    return None


def is_reducer(frame: FrameType | None) -> bool:
    """Whether an operation that was issued in backward comes from C++ code that autograd called: as the reducer of
    `DistributedDataParallel` does. On threads of a device, there is no Python frame at all.
    """
    return frame is None or frame.f_code.co_name == "_engine_run_backward"


def bucket_parameters(roots: Iterable[nn.Module], issues: Iterable[Issue]) -> Iterator[tuple[Issue, list[Reference]]]:
    """The parameters in the buckets of these operations. Only where one model has a reducer; and torch tells of buckets
    that it has rearranged only after some steps.
    """
    reducers = [
        part
        for part in {id(part): part for root in roots for part in root.modules()}.values()
        if isinstance(part, nn.parallel.DistributedDataParallel)
    ]
    if len(reducers) != 1:
        return
    buckets = _buckets(reducers[0])
    for issue in issues:
        for bucket in buckets(issue.bucket or 0):
            if len(issue.inputs) == 1 and issue.inputs[0].numel() == sum(p.numel() for p in bucket):
                yield issue, [ref(parameter) for parameter in bucket]
                break


def _buckets(reducer: Any) -> Callable[[int], Iterator[list[Tensor]]]:
    """Gives the buckets that may have been the so-manieth: as they are now, and as they were before the first step."""
    data: Mapping[str, Any] = reducer._get_ddp_logging_data()
    ignored = getattr(reducer, "parameters_to_ignore", ())
    named = reducer.module.named_parameters()
    parameters = [parameter for name, parameter in named if parameter.requires_grad and name not in ignored]
    now = [
        [parameters[int(index)] for index in bucket.split() if int(index) < len(parameters)]
        for bucket in str(data.get(BUCKETS, "")).split(",")
        if bucket.strip()
    ]
    alone = "," not in str(data.get("bucket_sizes", ","))

    def at(number: int) -> Iterator[list[Tensor]]:
        if number < len(now):
            yield now[number]
        if alone and number == 0:
            yield parameters

    return at
