"""Where the ranks of a job fell apart: the first operation in which they did not all do the same."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from time import time

from recorder.events.channels import Channel
from recorder.events.rank_ranges import of_ranges, ranks_in_words
from recorder.events.ranks import Collective
from recorder.relations.call_lists import Calls, Split, split_of
from recorder.relations.rank_files import Paths, RankFile, rank_files

__all__ = ["Desync", "Finding", "desync"]


def desync(paths: Paths, *, expect: int | None = None) -> "Desync":
    """Where the ranks of a job fell apart. It works on the files of a job that has ended, was killed, or hangs: each
    rank writes down what it issues before it does.

    Operations belong together by their group and their number in it, and what is sent and received by the two ranks and
    its number. What must be the same on all ranks is: the operation, its dtype, its root, and the sizes that have to
    agree. A call that one rank skipped is found where it was skipped, if what follows it says so.

    Args:
        paths: the files of the ranks, or a pattern: ``"runs/*.jsonl"``.
        expect: so many ranks there should be; as many as the job had, if None.

    Raises:
        StreamError: a file is no recording of a rank, or two are of the same one.
        OSError: a file cannot be read.
    """
    return Desync(rank_files(paths), expect)


@dataclass(frozen=True, eq=False)
class Finding:
    """An operation in which ranks did not do the same.

    ``group`` is its group's name and ``members`` the ranks in it; ``number`` counts the group's operations from 0, or
    those that one rank sends to another. ``ranks`` are those that differ from most, all if there is no most. ``did``
    says what each of some ranks did: of these, and of one that did what most did. ``module`` is the module whose call
    was around it, None if that is not known; ``agreed`` the last call that all agreed on, None if there is none.
    """

    group: str
    members: tuple[int, ...]
    number: int
    op_type: str
    ranks: tuple[int, ...]
    did: Mapping[int, str]
    module: str | None
    agreed: str | None

    def __str__(self) -> str:
        place = "" if self.module is None else f", in {self.module or 'the model itself'}"
        lines = [
            f"{self.op_type} {self.number} of group {self.group!r} ({ranks_in_words(self.members)}){place}: "
            f"{ranks_in_words(self.ranks)} differ{'s' if len(self.ranks) == 1 else ''}"
        ]
        lines += [f"  {ranks_in_words(ranks)}: {did}" for did, ranks in self._by_what_was_done()]
        lines.append(f"  before it, all agreed on {self.agreed}" if self.agreed else "  it is their first one")
        return "\n".join(lines)

    def _by_what_was_done(self) -> Iterator[tuple[str, list[int]]]:
        groups: dict[str, list[int]] = {}
        for rank, did in sorted(self.did.items()):
            groups.setdefault(did, []).append(rank)
        yield from groups.items()


class Desync:
    """What `desync` found; false if nothing. ``str()`` says it in lines.

    ``findings``: the first one first: those that wait for nobody else stand before those that may follow from them.
    ``ranks``: those that there are recordings of; ``missing``: those that there should be, and are not.
    """

    def __init__(self, files: Sequence[RankFile], expect: int | None) -> None:
        self.ranks: tuple[int, ...] = tuple(file.rank for file in files)
        size = max([expect or 0, *(int(file.meta.get("world_size", 0)) for file in files)])
        self.missing: tuple[int, ...] = tuple(sorted(set(range(size)) - set(self.ranks)))
        self.findings: Sequence[Finding] = _findings({file.rank: file for file in files})

    @property
    def ok(self) -> bool:
        """Whether all ranks are there, and did the same."""
        return not self.findings and not self.missing

    def __bool__(self) -> bool:
        return not self.ok

    def __str__(self) -> str:
        lines = [f"{ranks_in_words(self.missing)}: no recording"] if self.missing else []
        lines += map(str, self.findings)
        return "\n".join(lines) or f"{ranks_in_words(self.ranks)}: every operation agrees"

    def __repr__(self) -> str:
        return f"<Desync: {len(self.findings)} findings, {len(self.ranks)} ranks>"


_Key = tuple[str, str, int, int]


def _findings(files: Mapping[int, RankFile]) -> list[Finding]:
    channels: dict[_Key, dict[int, Channel]] = {}
    unknown: set[tuple[str, str, int]] = set()  # who receives from anyone
    for rank, file in files.items():
        for channel in _channels(file):
            key = file.key(channel)
            if channel.op_type == "recv" and channel.peer is None:
                unknown.add((key[0], key[1], rank))
            elif channel.op_type and channel.peer is None:
                continue
            else:
                channels.setdefault(key, {})[rank] = channel
    found: list[tuple[Split, Finding]] = []
    for key, by_rank in channels.items():
        name, members, source, target = key
        if source >= 0 and (name, members, target) in unknown:
            continue
        wanted = of_ranges(members) if source < 0 else (source, target)
        lists = {rank: Calls(files[rank], by_rank.get(rank)) for rank in wanted if rank in files}
        if source >= 0 and len(lists) < 2:
            continue
        split = split_of(lists)
        if split is not None:
            found.append((split, _finding(key, split)))
    return _first_first(found, files)


def _channels(file: RankFile) -> list[Channel]:
    if file.summary is not None:
        return [Channel(issued.group, issued.op_type, issued.peer) for issued in file.summary.issued]
    return list(file.calls)


def _finding(key: _Key, split: Split) -> Finding:
    call = split.expected
    shown = {rank: _did(rank, split) for rank in (*split.differ, *split.agree[:1])}
    others = dict.fromkeys(split.agree[1:], shown[split.agree[0]]) if split.agree else {}
    before = split.before
    return Finding(
        key[0],
        of_ranges(key[1]),
        split.number,
        call.op_type,
        split.differ,
        dict(sorted({**shown, **others}.items())),
        call.module if call.module is not None else call.unit,
        None if before is None else in_words(before),
    )


def _did(rank: int, split: Split) -> str:
    calls = split.lists[rank]
    call = calls.at(split.number)
    if rank in split.skipped:
        then = "nothing more" if call is None else in_words(call)
        return f"skipped it, and went on with {then}"
    if call is not None:
        return (
            f"one call more, {in_words(call)}, and then what the others did" if rank in split.added else in_words(call)
        )
    file = calls.file
    if file.ended:
        return "nothing: its recording has ended"
    return f"nothing yet; its file was last written {max(0, round(time() - file.modified))} s ago"


def in_words(call: Collective) -> str:
    """An operation as one line."""
    shapes = call.inputs or call.outputs
    sizes = ", ".join("×".join(map(str, shape)) or "scalar" for shape in shapes[:4])
    more = f" and {len(shapes) - 4} more" if len(shapes) > 4 else ""
    parts = [
        f"{call.op_type} {call.number}",
        f"of {call.dtype} {sizes}{more}" if shapes else "",
        f"rooted at rank {call.root}" if call.root is not None else "",
        {"send": f"to rank {call.peer}", "recv": f"from rank {call.peer}"}.get(call.op_type, ""),
        "in backward" if call.phase == "backward" else "",
        f"in {call.module or 'the model itself'}" if call.module is not None else "",
        f"of FSDP unit {call.unit or 'the model itself'}" if call.unit is not None else "",
    ]
    return " ".join(part for part in parts if part)


def _first_first(found: list[tuple[Split, Finding]], files: Mapping[int, RankFile]) -> list[Finding]:
    """Those first whose ranks do not wait in another one of these; else in the order in which they were issued."""
    waiting = Counter(
        rank
        for split, _ in found
        for rank in split.agree
        if (call := split.lists[rank].at(split.number)) is not None and call.collective == _last(files[rank])
    )

    def order(item: tuple[Split, Finding]) -> tuple[bool, int]:
        split, _ = item
        follows = all(waiting[rank] > 0 for rank in split.differ if split.lists[rank].at(split.number) is None)
        gone = any(split.lists[rank].at(split.number) is None for rank in split.differ)
        return gone and follows, split.expected.collective

    return [finding for _, finding in sorted(found, key=order)]


def _last(file: RankFile) -> int:
    return max((calls[-1].collective for calls in file.calls.values() if calls), default=-1)
