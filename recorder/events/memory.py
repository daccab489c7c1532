"""What a recording says of memory: `Recorder(net, memory=True)`. Each stands where it happened among the other events,
which say when that was.

A storage is a number, given when it was first seen: the memory that one tensor or several share. It ends when no
tensor is alive that the recording knows to be in it.
"""

from typing import Literal

import msgspec

from recorder.limits import Int64, Size

__all__ = ["Allocated", "Freed", "Kept", "OptimizerStep", "Storage", "StorageKind"]

StorageKind = Literal["parameter", "buffer", "gradient", "optimizer", "other"]
"""What a storage is for; ``gradient`` are those that parameters have, ``optimizer`` is an optimizer's state."""


class Storage(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="storage"):
    """A storage is there, from here on: it was made by the call before, or met. Told again where its kind or its size
    changes. ``bytes`` are those of the whole storage; of gradients on their way, those that the tensor spans.
    ``tensor`` is one in it that the recording knows. One that is ``estimated`` was not seen, and nobody tells when it
    is gone: what a write into a tensor view keeps for backward.
    """

    storage: Int64
    bytes: Size
    device: str = ""
    kind: StorageKind = "other"
    tensor: Int64 | None = None
    estimated: bool = False


class Freed(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="freed"):
    """A storage is gone."""

    storage: Int64


class Kept(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="kept"):
    """Autograd keeps these storages for the backward of a call, which ended just before or is in progress; None outside
    of all calls. ``unknown`` counts autograd nodes that do not say what they keep, and selective checkpoints.
    """

    call: Int64 | None = None
    storages: tuple[Int64, ...] = ()
    unknown: Int64 = 0


class OptimizerStep(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="optimizer_step"
):
    """A step of an optimizer of the model's parameters begins or ends. ``optimizer`` is its class."""

    optimizer: str
    phase: Literal["begin", "end"]
    ns: Int64


class Allocated(msgspec.Struct, frozen=True, gc=False, omit_defaults=True, forbid_unknown_fields=True, tag="allocated"):
    """What torch's allocator says of a device when a block of the recorder begins or ends. ``peak`` is the largest
    number of bytes since the process, or the user, began to count.
    """

    device: str
    bytes: Int64
    peak: Int64
