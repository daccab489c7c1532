"""The raw records: what the hot path appends, and `recorder.capture.decode` reads.

They stand in one flat list, one after another, without a tuple or an object for each: what Python's garbage collector
has to visit again and again costs more than writing it down. A record is appended in one step, since gradients may
arrive on other threads.

    OP       function, start, stop, error, args … END, kwargs … END, outputs … END
    LEAF     entry, key, flags, start, stop, error, args … END, kwargs … END, outputs … END
    ENTER    entry, key, flags, start, args … END
    LEAVE    key, stop, error, args … END, kwargs … END, references … END
    MEET     reference, facts
    MODULE   entry or None, qualified name, root, attributes, parameters … END, buffers … END
    DERIVED  reference, references … END
    MEMBERS  entry, references … END
    SOURCE   file, line: where the OP that follows was called
    GRAD     key, phase, time, backward, gradients … END, measures … END
    PARAMETER  reference, time, backward, measure, gradient

``args`` are as they were given, with references for tensors and text for what is not plain; a list among them is LIST
… END, a mapping MAP … END. Keyword arguments and the items of mappings are a name and a value in turn; attributes, too,
in a sequence of their own; parameters and buffers are a name, a reference and facts. A MODULE without an entry was not
called, and holds tensors. Each output is a reference and facts, each gradient facts, or None. Facts are seven values:
see `recorder.capture.tensor_facts`. Measures are `recorder.capture.tensor_stats.Measure`, or None.
"""

from enum import Enum
from typing import Any

__all__ = ["OUTERMOST", "RECOMPUTED", "Log", "Tag"]

Log = list[Any]

OUTERMOST, RECOMPUTED = 1, 2
"""Flags of a module call."""


class Tag(Enum):
    """How a record begins, and what stands between its parts."""

    OP, LEAF, ENTER, LEAVE, MEET, MODULE, DERIVED, GRAD, PARAMETER, LIST, MAP, END, MEMBERS, SOURCE = range(14)
