"""What a recording holds of the other ranks: process groups, and the operations that were issued in them.

An operation is told of twice. `Collective` is written down before it is issued, so that it can be read while the
operation hangs. What it did with the tensors that the recording knows is an `recorder.events.Op` that has its number.
"""

from typing import Literal

import msgspec

from recorder.limits import Int64, Size

__all__ = ["PEER_OPS", "Carried", "Collective", "Group", "Issued", "Phase", "RankSummary"]

Phase = Literal["forward", "backward"]
"""When an operation was issued: by an autograd node, or not."""

Shape = tuple[Size, ...]

PEER_OPS = frozenset({"send", "recv"})
"""Operations of two ranks; all others are of a whole group."""


class Group(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="group"):
    """A process group, described once, before its first operation. ``name`` is torch's, the same on all ranks;
    ``ranks`` its members among all ranks of the job, as `recorder.events.of_ranges` reads them. ``backend`` is its
    backend's name, and ``description`` what it was made for, if that was said. ``rank`` is this rank.
    """

    group: Int64
    name: str
    ranks: str
    rank: Int64 = 0
    backend: str = ""
    description: str = ""


class Collective(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="collective"
):
    """An operation is about to be issued in a process group.

    ``number`` counts the group's operations since the recorder was entered, from 0: those of all its ranks, and those
    between two ranks for each pair and direction apart. ``op_type`` is ``all_reduce``, ``send`` and the like.
    ``inputs`` and ``outputs`` are the shapes of the tensors that were given to it, ``dtype`` that of the first.
    ``root`` is the rank that it comes from or goes to, ``peer`` the other one of two, among all ranks; None if there is
    none or it cannot be known. ``module`` is the name of the module whose call is around it, ``unit`` that of the FSDP
    unit which issued it. ``sequence_nr`` is the number of the autograd node that issued it.
    """

    collective: Int64
    group: Int64
    number: Int64
    op_type: str
    ns: Int64
    phase: Phase = "forward"
    inputs: tuple[Shape, ...] = ()
    outputs: tuple[Shape, ...] = ()
    dtype: str = ""
    root: Int64 | None = None
    peer: Int64 | None = None
    module: str | None = None
    unit: str | None = None
    sequence_nr: Int64 | None = None


class Carried(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="carried"):
    """What an operation carried of parameters: those that FSDP gathered or whose gradients it scattered, those in a
    bucket of `DistributedDataParallel`. ``gathered`` says that the parameters themselves are used from there on, as
    what came out of the operation.
    """

    collective: Int64
    tensors: tuple[Int64, ...]
    gathered: bool = False


class Issued(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True):
    """The operations that a rank issued in one channel: in a group, or as ``send`` or ``recv`` with one other rank of
    it. ``digest`` is of what all that take part must agree on, of each operation in turn.
    """

    group: Int64
    count: Int64
    digest: str
    op_type: str = ""
    peer: Int64 | None = None


class RankSummary(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="rank_summary"
):
    """A block of the recorder's ends, in a job of several ranks: enough to put this rank beside the others without
    reading all that it did. What is said last counts.

    ``structure`` is a digest of what was recorded but for what differs from rank to rank and from run to run: times,
    addresses, numbers of ranks, arguments of functions. ``kinds`` is the same without sizes. ``groups`` are all process
    groups that something was issued in, ``issued`` what was, in the order of the first operations.
    """

    structure: str
    kinds: str
    groups: tuple[Group, ...] = ()
    issued: tuple[Issued, ...] = ()
