"""The recordings of the ranks of one job, as files. Of each, as little is read as will do: its first line says which
rank it is, its last ones what it did in short, and what it issued stands on lines that are found without the others.
"""

import glob
import mmap
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import msgspec

from recorder.errors import StreamError
from recorder.events.channels import Channel, channel_of
from recorder.events.rank_digest import RankDigest
from recorder.events.rank_ranges import of_ranges
from recorder.events.ranks import Collective, Group, RankSummary
from recorder.events.stream import EventStream, is_end, read_header
from recorder.remote import Copy, Place, as_place, matching

__all__ = ["Paths", "RankFile", "rank_files"]

Paths: TypeAlias = str | os.PathLike[str] | Iterable[str | os.PathLike[str]]
"""A pattern such as ``runs/*.jsonl`` or ``s3://bucket/runs/*.jsonl``, or files."""

_BETWEEN_RANKS = re.compile(rb'^\{"type":"(?:collective|group)",.*$', re.MULTILINE)
_SUMMARY = b'\n{"type":"rank_summary"'
_TAIL, _LONGEST_TAIL = 2**16, 2**26
"""Bytes at the end of a file among which its summary is looked for, at first and at most."""

_DECODER: "msgspec.json.Decoder[Collective | Group]" = msgspec.json.Decoder(Collective | Group)
_SUMMARY_DECODER = msgspec.json.Decoder(RankSummary)


class RankFile:
    """One of them.

    Attributes:
        path: where it is; of a file elsewhere, where a copy of it is.
        ended: its block has ended, as it should or with an exception. Else the rank runs on, or it is gone.
        summary: what the rank did in short, if it has come to say so.
    """

    def __init__(self, place: Place) -> None:
        self._copy = Copy(place) if isinstance(place, str) else None
        self.path = path = Path(place) if self._copy is None else self._copy.path
        header, streamed = read_header(path)
        self.meta = header.meta
        tail = _tail(path)
        self.ended = not streamed or is_end(tail)
        self.summary = _summary_in(tail) if self.ended else None

    @cached_property
    def rank(self) -> int:
        """Which rank it is of.

        Raises:
            StreamError: it says of none.
        """
        rank = self.meta.get("rank")
        if rank is None:
            rank = next((group.rank for group in self.groups.values()), None)
        if type(rank) is not int:
            raise StreamError(
                f"{self.path} does not say of which rank it is: it was recorded before there was a process group, and "
                "nothing was issued in one"
            )
        return rank

    @cached_property
    def groups(self) -> dict[int, Group]:
        """Its process groups, by the number that it has given them."""
        groups = self._issued[0] if self.summary is None else self.summary.groups
        return {group.group: group for group in groups}

    @cached_property
    def members(self) -> dict[int, tuple[int, ...]]:
        """The ranks of each group."""
        return {number: of_ranges(group.ranks) for number, group in self.groups.items()}

    def key(self, channel: Channel) -> tuple[str, str, int, int]:
        """What a channel is called by all ranks: its group's name and ranks, and who sends to whom. The ranks are
        -1 for operations of the whole group, and where a sender is not known.
        """
        group = self.groups[channel.group]
        peer = -1 if channel.peer is None else channel.peer
        if channel.op_type == "send":
            return group.name, group.ranks, self.rank, peer
        return group.name, group.ranks, peer, self.rank if channel.op_type else -1

    @property
    def calls(self) -> dict[Channel, list[Collective]]:
        """What it issued, by channel."""
        channels: dict[Channel, list[Collective]] = {}
        for event in self._issued[1]:
            channels.setdefault(channel_of(event), []).append(event)
        return channels

    def stream(self) -> EventStream:
        """All of it."""
        return EventStream.load(self.path)

    def summed_up(self) -> RankSummary:
        """Its summary, worked out of all of it if it is not there."""
        if self.summary is not None:
            return self.summary
        digest = RankDigest()
        digest.extend(self.stream())
        return digest.summary()

    @property
    def modified(self) -> float:
        """When it was last written, in seconds since the epoch."""
        return self.path.stat().st_mtime

    @cached_property
    def _issued(self) -> tuple[list[Group], list[Collective]]:
        groups: list[Group] = []
        calls: list[Collective] = []
        for line in _lines_between_ranks(self.path):
            try:
                event = _DECODER.decode(line)
            except (msgspec.DecodeError, ValueError) as error:
                raise StreamError(f"{self.path}: a line begins {line[:60]!r}, and is no event: {error}") from error
            if isinstance(event, Group):
                groups.append(event)
            else:
                calls.append(event)
        return groups, calls


def rank_files(paths: Paths) -> list[RankFile]:
    """The recordings of a job, in the order of the ranks.

    Raises:
        StreamError: there is none, one is no recording of a rank, or two are of the same one.
        OSError: a file cannot be read.
    """
    found = sorted(map(RankFile, _paths(paths)), key=lambda file: file.rank)
    for one, other in pairwise(found):
        if one.rank == other.rank:
            raise StreamError(f"{one.path} and {other.path} are both of rank {one.rank}: give the files of one run")
    return found


def _paths(paths: Paths) -> Sequence[Place]:
    found: list[Place]
    if not isinstance(paths, str | os.PathLike):
        found = [as_place(path) for path in paths]
    else:
        text = os.fspath(paths)
        if "://" in text:
            found = [*matching(text)]
        else:
            found = [Path(path) for path in (glob.glob(text) if glob.has_magic(text) else [text])]
    if not found:
        raise StreamError(f"no file matches {paths!r}: give the files that the ranks were recorded into")
    return found


def _lines_between_ranks(path: Path) -> Iterator[bytes]:
    """The whole lines of a file that tell of process groups and what was issued in them."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return
        with mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ) as data:
            whole = data.rfind(b"\n") + 1  # a line that is being written is none yet
            for match in _BETWEEN_RANKS.finditer(data, 0, whole):
                yield match[0]


def _tail(path: Path) -> bytes:
    """The end of a file: the summary, if there is one, and what stands behind it."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        length = _TAIL
        while True:
            file.seek(max(0, size - length))
            tail = file.read()
            if length >= min(size, _LONGEST_TAIL) or _SUMMARY in tail or tail.count(b"\n") > 3:
                return tail
            length *= 4


def _summary_in(tail: bytes) -> RankSummary | None:
    """A summary that nothing follows but the end."""
    at = tail.rfind(_SUMMARY)
    if at < 0:
        return None
    line, _, rest = tail[at + 1 :].partition(b"\n")
    if rest.strip() and not is_end(b"\n" + rest.lstrip()):
        return None
    try:
        return _SUMMARY_DECODER.decode(line)
    except (msgspec.DecodeError, ValueError):
        return None
