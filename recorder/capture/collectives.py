"""The functions of `torch.distributed` that send tensors between ranks, and which of their arguments each writes.

They return nothing, or a handle to wait for: what they did is in the tensors that they were given. From there on these
are new values, also of an operation that goes on in the background, and on the rank that a broadcast comes from: the
program is the same on all ranks.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import distributed

__all__ = ["COLLECTIVES"]

Written = Callable[[tuple[Any, ...], Mapping[str, Any]], Any]


def _argument(position: int, name: str) -> Written:
    def written(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        return args[position] if len(args) > position else kwargs.get(name)

    return written


def _nothing(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    return None


_WRITTEN: dict[str, Written] = {
    **dict.fromkeys(("all_reduce", "broadcast", "irecv", "recv", "reduce", "scatter"), _argument(0, "tensor")),
    **dict.fromkeys(("all_gather_into_tensor", "all_gather_single"), _argument(0, "output_tensor")),
    **dict.fromkeys(("all_to_all_single", "reduce_scatter", "reduce_scatter_tensor"), _argument(0, "output")),
    **dict.fromkeys(("isend", "send"), _nothing),
    "all_gather": _argument(0, "tensor_list"),
    "all_gather_coalesced": _argument(0, "output_tensor_lists"),
    "all_reduce_coalesced": _argument(0, "tensors"),
    "all_to_all": _argument(0, "output_tensor_list"),
    "gather": _argument(1, "gather_list"),
    "gather_single": _argument(1, "gather_tensor"),
    "reduce_scatter_single": _argument(0, "output"),
}

COLLECTIVES: Mapping[Any, Written] = {
    function: written
    for name, written in _WRITTEN.items()
    if (function := getattr(distributed, name, None)) is not None  # built without, or of another version
}
"""Gives, for each function, what of its arguments it writes."""
