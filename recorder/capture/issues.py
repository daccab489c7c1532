"""Operations that are issued in process groups, as the hot path notes them: counted for each group, and not yet in
words.
"""

from typing import Any

from recorder import events as ev
from recorder.capture.describe import plain
from recorder.events.ranks import PEER_OPS

__all__ = ["GroupFacts", "Issue"]


class GroupFacts:
    """What is known of one process group, and how many operations were issued in it so far.

    Args:
        index: its number in the recording.
        name: torch's name of it, the same on all ranks.
        ranks: its members among all ranks, in the group's order.
        rank: this rank's place among them.
        backend: its backend's name.
        description: what it was made for.

    Attributes:
        told: it stands in the stream.
    """

    __slots__ = ("_count", "_counts", "event", "index", "ranks", "told")

    def __init__(
        self, index: int, name: str, ranks: tuple[int, ...], rank: int, backend: str, description: str
    ) -> None:
        self.index = index
        self.ranks = ranks
        self.event = ev.Group(index, name, ev.as_ranges(ranks), ranks[rank], backend, description)
        self.told = False
        self._count = -1
        self._counts: dict[tuple[str, int], int] = {}

    def count(self, op_type: str, peer: int) -> int:
        """The number of an operation that is issued now. ``peer``: the other rank's place, of those of two."""
        if op_type not in PEER_OPS:
            self._count = number = self._count + 1
            return number
        number = self._counts.get((op_type, peer), 0)
        self._counts[op_type, peer] = number + 1
        return number

    def member(self, place: int) -> int | None:
        """The rank at a place of the group, among all ranks; None if there is no such place."""
        return self.ranks[place] if 0 <= place < len(self.ranks) else None


class Issue:
    """One operation. ``root``: the place in the group that it comes from, goes to, or is exchanged with; ``entry``: the
    module whose call is around it; ``sequence``: the number of the autograd node that issued it, None outside of
    backward; ``bucket``: how many buckets the same backward had reduced before, of one that a reducer issued.
    """

    backward: int | None = None
    sequence: int | None = None
    entry: Any = None
    module: str | None = None
    unit: str | None = None
    bucket: int | None = None

    def __init__(
        self,
        index: int,
        group: GroupFacts,
        number: int,
        op_type: str,
        start: int,
        inputs: list[Any],
        outputs: list[Any],
        dtype: Any,
        root: int,
    ) -> None:
        self.index, self.group, self.number, self.op_type = index, group, number, op_type
        self.start = self.stop = start
        self.inputs, self.outputs, self.dtype = inputs, outputs, dtype
        self.root = root

    def event(self, origin: int) -> ev.Collective:
        """It, in words. ``origin``: the time that counts as zero."""
        other = self.group.member(self.root)
        between = self.op_type in PEER_OPS
        return ev.Collective(
            self.index,
            self.group.index,
            self.number,
            self.op_type,
            self.start - origin,
            "forward" if self.backward is None else "backward",
            tuple(map(_sizes, self.inputs)),
            tuple(map(_sizes, self.outputs)),
            "" if self.dtype is None else plain(self.dtype),
            None if between else other,
            other if between else None,
            self.module,
            self.unit,
            self.sequence,
        )


def _sizes(shape: Any) -> tuple[int, ...]:
    return tuple([size if type(size) is int else -1 for size in shape])
