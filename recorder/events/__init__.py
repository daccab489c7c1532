"""What a recording is made of: plain, immutable records that need no torch to be read.

A tensor is a number: the same number is the same tensor object, for as long as it lived. A module is a number, and so
is a module's call. Numbers are given in the order of first appearance, so the same run gives the same events but for
the times. Times are nanoseconds since the recorder was entered.

    Module        a module that was called, described once, before its first call
    Tensor        a tensor seen for the first time without having been seen made: a parameter, a buffer, a constant
    Members       other tensors took the place of a module's parameters and buffers
    Enter, Leave  a call of a module that may hold other calls
    Op            a call with nothing inside: of a function, or of a childless ``torch.nn`` module
    Derived       where a tensor came from that was made unseen, as far as autograd knows
    Measured      what is in a tensor
    NotFinite     which parameters and buffers are not finite
    Grad          a gradient reached or left a call in backward
    ParameterGrad a gradient was accumulated in a parameter
    BackwardStart backward is called on a tensor
    Holdings      what the recorded models hold, and what of it was called, when a block ends
    Storage, Freed, Kept, OptimizerStep, Allocated    see `recorder.events.memory`
    Group         a process group
    Collective    an operation is about to be issued in a process group
    Carried       which parameters an operation carried
    RankSummary   what a rank did, in short, when a block ends
"""

from recorder.events.memory import Allocated, Freed, Kept, OptimizerStep, Storage
from recorder.events.rank_ranges import as_ranges, of_ranges, ranks_in_words
from recorder.events.ranks import Carried, Collective, Group, Issued, RankSummary
from recorder.events.types import (
    SCHEMA_VERSION,
    UNFINISHED,
    BackwardStart,
    Derived,
    Digest,
    Enter,
    Event,
    Grad,
    GradStats,
    Header,
    Holdings,
    Leave,
    Measured,
    Member,
    Members,
    Module,
    NotFinite,
    Op,
    Output,
    ParameterGrad,
    Tensor,
    TensorMeta,
    Uncalled,
    ValueStats,
)

__all__ = [
    "SCHEMA_VERSION",
    "UNFINISHED",
    "Allocated",
    "BackwardStart",
    "Carried",
    "Collective",
    "Derived",
    "Digest",
    "Enter",
    "Event",
    "Freed",
    "Grad",
    "GradStats",
    "Group",
    "Header",
    "Holdings",
    "Issued",
    "Kept",
    "Leave",
    "Measured",
    "Member",
    "Members",
    "Module",
    "NotFinite",
    "Op",
    "OptimizerStep",
    "Output",
    "ParameterGrad",
    "RankSummary",
    "Storage",
    "Tensor",
    "TensorMeta",
    "Uncalled",
    "ValueStats",
    "as_ranges",
    "of_ranges",
    "ranks_in_words",
]
