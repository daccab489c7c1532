"""Which operations of several ranks belong together, without clocks: all ranks of a group issue theirs in one order, so
the k-th call of one is the k-th call of all; of two ranks, the k-th that is sent is the k-th that is received.
"""

from math import prod
from typing import Any, NamedTuple

from recorder.events.ranks import PEER_OPS, Collective

__all__ = ["Channel", "agreed_on", "channel_of", "sizes_agreed_on"]


class Channel(NamedTuple):
    """Where one rank's operations are counted. ``op_type`` is ``send`` or ``recv``, with the other rank as ``peer``,
    and empty for operations of the whole group. ``group`` is its number in the recording.
    """

    group: int
    op_type: str = ""
    peer: int | None = None


def channel_of(event: Collective) -> Channel:
    """The channel of an operation."""
    if event.op_type in PEER_OPS:
        return Channel(event.group, event.op_type, event.peer)
    return Channel(event.group)


def agreed_on(event: Collective) -> tuple[Any, ...]:
    """What must be the same on all ranks that take part in an operation: its type, dtype, root and sizes."""
    if event.op_type in PEER_OPS:
        return event.dtype, sizes_agreed_on(event)
    return event.op_type, event.dtype, event.root, sizes_agreed_on(event)


def sizes_agreed_on(event: Collective) -> Any:
    """Of the sizes of tensors, those that must be the same; None where they may differ from rank to rank.

    What is sent and received has as many elements. What goes in or comes out in parts may be parts of many sizes; then
    all ranks have the same list of them.
    """
    if event.op_type in PEER_OPS:
        return sum(prod(shape) for shape in event.inputs or event.outputs)
    if event.op_type in ("all_reduce", "broadcast", "reduce", "gather"):
        return event.inputs
    if event.op_type == "scatter":
        return event.outputs
    if event.op_type == "all_gather":
        return event.outputs if len(set(event.outputs)) > 1 else event.inputs
    if event.op_type == "reduce_scatter":
        return event.inputs if len(set(event.inputs)) > 1 else event.outputs
    return None
