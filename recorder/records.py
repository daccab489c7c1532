"""The raw records: what the hot path appends, and `recorder.decode` reads.

By their first element:

    OP        function, args, kwargs, outputs, start, stop, error
    LEAF      entry, args, kwargs, outputs, start, stop, error, key, flags
    ENTER     entry, args, start, key, flags
    LEAVE     entry, args, kwargs, outputs, stop, error, key
    MEET      reference, facts
    DERIVED   reference, references
    GRAD      key, phase, time, backward, facts of each gradient, measure of each gradient
    PARAMETER reference, time, backward, facts of its gradient, measure of it

``args`` are as they were given, with references for tensors and text for what is not plain. ``outputs`` of OP and LEAF
are pairs of a reference and facts, those of LEAVE references. Facts are a tuple: shape, dtype, device, requires_grad,
the type of grad_fn, its sequence number, the address of the storage. Measures are `recorder.measure.Measure`, or None.
"""

from typing import Any

__all__ = [
    "DERIVED",
    "ENTER",
    "GRAD",
    "LEAF",
    "LEAVE",
    "MEET",
    "OP",
    "OUTERMOST",
    "PARAMETER",
    "RECOMPUTED",
    "Record",
]

Record = tuple[Any, ...]

OP, LEAF, ENTER, LEAVE, MEET, DERIVED, GRAD, PARAMETER = range(8)

OUTERMOST, RECOMPUTED = 1, 2
"""Flags of a module call."""
