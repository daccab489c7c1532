"""The operations of several ranks in one channel, side by side: where they first do not agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from recorder.events.channels import Channel, agreed_on
from recorder.events.ranks import Collective, Issued
from recorder.relations.rank_files import RankFile

__all__ = ["Calls", "Split", "split_of"]


class Calls:
    """Those of one rank.

    Args:
        file: the rank's.
        channel: its channel; None if it issued nothing there.
    """

    def __init__(self, file: RankFile, channel: Channel | None) -> None:
        self.file = file
        self._channel = channel

    @property
    def digest(self) -> Any:
        """What is equal where two ranks agree on all, as far as it is known without reading the calls."""
        if self._channel is None:
            return 0, ""
        issued = () if self.file.summary is None else self.file.summary.issued
        return next(
            ((one.count, one.digest) for one in issued if _channel(one) == self._channel),
            (id(self), ""),
        )

    @cached_property
    def calls(self) -> Sequence[Collective]:
        """They, in order."""
        return [] if self._channel is None else self.file.calls.get(self._channel, [])

    @cached_property
    def agreed(self) -> list[Any]:
        """What all ranks must agree on, of each."""
        return [agreed_on(call) for call in self.calls]

    @cached_property
    def places(self) -> list[Any]:
        """The same, with where each was issued."""
        return [(*agreed_on(call), call.phase, call.module, call.unit) for call in self.calls]

    def at(self, number: int) -> Collective | None:
        """One of them; None if there are not so many."""
        return self.calls[number] if number < len(self.calls) else None


class Split(NamedTuple):
    """Where ranks do not agree: on call ``number``, of which ``expected`` is what most did and ``before`` the last one
    that all agreed on. ``differ`` are the ranks that did something else, ``skipped`` those among them that did not do
    this one and went on, ``added`` those that did one more before it; ``agree`` the others.
    """

    lists: Mapping[int, Calls]
    number: int
    expected: Collective
    before: Collective | None
    differ: tuple[int, ...]
    agree: tuple[int, ...]
    skipped: frozenset[int]
    added: frozenset[int]


def split_of(lists: Mapping[int, Calls]) -> Split | None:
    """Where these ranks first do not agree; None if they do."""
    if len(lists) < 2 or len({calls.digest for calls in lists.values()}) == 1:
        return None
    number = _first_unlike([calls.agreed for calls in lists.values()])
    if number is None:
        return None
    agree, differ = _sides(lists, number)
    most = lists[agree[0] if agree else differ[0]]
    skipped: set[int] = set()
    added: set[int] = set()
    for rank in differ if agree else ():
        for one, other, moved in ((most, lists[rank], skipped), (lists[rank], most, added)):
            at = _one_less(one.places, other.places, number)
            if at is not None:
                moved.add(rank)
                number = min(number, at)
                break
    expected = most.at(number)
    if expected is None:  # the others did more
        expected = next(call for rank in differ if (call := lists[rank].at(number)) is not None)
    before = most.at(number - 1) if number else None
    return Split(lists, number, expected, before, differ, agree, frozenset(skipped), frozenset(added))


def _channel(issued: Issued) -> Channel:
    return Channel(issued.group, issued.op_type, issued.peer)


def _first_unlike(lists: Sequence[list[Any]]) -> int | None:
    first, *rest = lists
    found: list[int] = []
    for other in rest:
        if other != first:
            length = min(len(first), len(other))
            found.append(next((i for i in range(length) if first[i] != other[i]), length))
    return min(found, default=None)


def _sides(lists: Mapping[int, Calls], number: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The ranks that did what most did, and the others. Of as many on both sides, those that did something did most;
    if all did, nobody did.
    """
    done = {rank: calls.agreed[number] if number < len(calls.agreed) else None for rank, calls in lists.items()}
    counted = Counter(done.values()).most_common()
    most = [what for what, count in counted if count == counted[0][1]]
    if len(most) > 1:
        most = [what for what in most if what is not None]
    if len(most) != 1:
        return (), tuple(sorted(done))
    agree = tuple(sorted(rank for rank, what in done.items() if what == most[0]))
    return agree, tuple(sorted(set(done) - set(agree)))


def _one_less(more: list[Any], less: list[Any], number: int) -> int | None:
    """Where one list has a call that the other one lacks, which goes on as the first does then; None if it is not so.
    That is where they first were elsewhere, at the latest where they did something else.
    """
    length = min(len(more), len(less))
    at = next((i for i in range(min(number, length)) if more[i] != less[i]), number)
    rest = less[at:]
    return at if rest and rest == more[at + 1 : at + 1 + len(rest)] else None
