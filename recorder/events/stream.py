"""The event stream: a header and a list of events, in memory or as JSON Lines.

One line an event, so that a stream can be written while it grows, cut after any line, and read by other programs. The
codec is msgspec's: typed, strict, and it runs no code from the file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import msgspec

from recorder.errors import StreamError, why_unreadable
from recorder.events.split import Parts
from recorder.events.types import SCHEMA_VERSION, Event, Header
from recorder.gc_pause import collector_held_back
from recorder.limits import LONGEST_LINE
from recorder.remote import Place, as_place, opened, write

__all__ = [
    "STREAMED",
    "TRUNCATED",
    "EventStream",
    "encode_end",
    "encode_events",
    "encode_header",
    "is_end",
    "read_header",
]

STREAMED, TRUNCATED = "streamed", "truncated"
"""In a header's ``meta``: the lines were written while the run went on, so the last one says that they end there; and
a loaded stream that lacks it.
"""

_T = TypeVar("_T")


class _Opening(msgspec.Struct):
    """What every header holds in every version: enough to tell whether the rest can be read."""

    type: Literal["header"]
    schema_version: int


class _End(msgspec.Struct, tag="end", forbid_unknown_fields=True):
    """The line after the last event of a block that was written while it ran."""


_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
_ENCODER = msgspec.json.Encoder()
_END = _ENCODER.encode(_End())
_END_LINE = _END + b"\n"
_OPENING = msgspec.json.Decoder(_Opening)
_HEADER = msgspec.json.Decoder(Header)
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class EventStream:
    """What a `Recorder` saw, in order.

    Examples:
        >>> stream = EventStream()
        >>> len(stream)
        0
    """

    def __init__(self, events: Iterable[Event] = (), header: Header | None = None) -> None:
        self.header = header or Header()
        self._events: list[Event] = list(events)

    def append(self, event: Event) -> None:
        """Add one event at the end."""
        self._events.append(event)

    def extend(self, events: Iterable[Event]) -> None:
        """Add events at the end, in order."""
        self._events.extend(events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EventStream):
            return NotImplemented
        return self.header == other.header and self._events == other._events

    __hash__ = None  # type: ignore[assignment]

    @property
    def truncated(self) -> bool:
        """Whether the run went on when the stream no longer did: the file was cut, or could not be written."""
        return self.header.meta.get(TRUNCATED) is True

    def __repr__(self) -> str:
        return f"<EventStream {self.header.model}: {len(self)} events>"

    def save(self, path: str | os.PathLike[str]) -> Path | Any:
        """Write the stream as JSON Lines: the header, then one event a line. A file that is there is replaced in one
        step; folders are not created. See `recorder.save` for addresses of files elsewhere.

        Raises:
            OSError: the file cannot be written.
        """
        place = as_place(path)
        write(place, self._encoded())
        return place

    def _encoded(self) -> Iterator[bytes]:
        yield encode_header(self.header)
        for start in range(0, len(self._events), _BATCH):
            yield encode_events(self._events[start : start + _BATCH])

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "EventStream":
        """Read what `save` wrote, or a `Recorder` that streamed into a file. Blank lines after the header are skipped.
        Whatever the file holds, no code of it runs, and memory is a small multiple of its size.

        A streamed file may have been cut anywhere: what is whole is read, and `truncated` says that there was more.

        Raises:
            StreamError: a line is not what it should be; the message says which one and why.
            OSError: the file cannot be read.
        """
        path = as_place(path)
        with opened(path) as file:
            blocks = _blocks(file, path)
            first = next(blocks, b"")
            if not first.strip() and not any(block.strip() for block in blocks):
                raise StreamError(f"{path} is empty: a saved stream begins with a header line")
            header = _read_header(first, path)
            streamed = header.meta.pop(STREAMED, False) is True
            ended, events, number = False, [], 2
            for block in blocks:
                if streamed:
                    ended = is_end(block)
                    block = _without_ends(block[: block.rfind(b"\n") + 1])  # no line that was being written
                events += _decode_block(block, path, number)
                number += block.count(b"\n")
        if streamed and not ended:
            header.meta[TRUNCATED] = True
        return cls(events, header)

    def split(self) -> "list[EventStream]":
        """One stream for each outermost call, with what followed it until the next: `Recorder.graphs` are assembled of
        them. Each can be assembled by itself. Empty where nothing was called.
        """
        parts = Parts()
        parts.extend(self._events)
        return [EventStream(part, self.header) for part in parts] if parts.begun else []


_BATCH = 4096
"""Events that are encoded at once, so that the lines of a million are never in memory together."""

_BLOCK = 2**18
"""Bytes that are decoded at once, up to the next end of a line."""


def _blocks(file: BinaryIO, path: Place) -> Iterator[bytes]:
    """The first line of a file; then some whole lines each time. Lines end at a line feed alone."""
    number, size = 1, 0
    while True:
        block = file.read(size)
        if not block.endswith(b"\n"):
            rest = file.readline(LONGEST_LINE + 1)
            if len(rest) > LONGEST_LINE:
                number += block.count(b"\n")
                raise StreamError(f"{path}, line {number}: longer than {LONGEST_LINE >> 20} MiB, so it is no recording")
            block += rest
        if not block:
            return
        yield block
        number, size = number + block.count(b"\n"), _BLOCK


def _check_text(block: bytes, path: Place, number: int) -> None:
    """The decoder looks only at the strings that it keeps."""
    if not block.isascii():
        try:
            block.decode()
        except UnicodeDecodeError as error:
            number += block.count(b"\n", 0, error.start)
            raise StreamError(f"{path}, line {number}: not UTF-8 ({error.reason})") from error


def _read_header(line: bytes, path: Place) -> Header:
    if line.startswith(b"\x1f\x8b"):
        raise StreamError(f"{path}, line 1: compressed by gzip: gunzip it first")
    _check_text(line, path, 1)
    version = _decode(_OPENING, line, path, 1).schema_version
    if version != SCHEMA_VERSION:
        raise StreamError(
            f"{path}, line 1: schema version {version}, and this version of graph-recorder reads {SCHEMA_VERSION}: "
            "record again, or read it with the version that wrote it"
        )
    return _decode(_HEADER, line, path, 1)


def _without_ends(block: bytes) -> bytes:
    """Blank lines for those that say that a block ended."""
    if _END not in block:
        return block
    return b"\n".join([b"" if line == _END else line for line in block.split(b"\n")])


@collector_held_back()
def _decode_block(block: bytes, path: Place, number: int) -> list[Event]:
    """The events of some lines, of which the first is ``number``: all at once, and if they are not one a line, line by
    line to tell where.
    """
    _check_text(block, path, number)
    with suppress(*_UNREADABLE):
        events: list[Event] = _EVENT.decode_lines(block)
        if len(events) == block.count(b"}\n{") + 1 == block.count(b"\n") + (block[-1:] != b"\n"):
            return events
    lines = enumerate(block.split(b"\n"), number)  # splitlines() splits at a bare carriage return too
    return [_decode(_EVENT, line, path, number) for number, line in lines if line.strip()]


def _decode(decoder: "msgspec.json.Decoder[_T]", line: bytes, path: Place, number: int) -> _T:
    try:
        return decoder.decode(line)
    except _UNREADABLE as error:
        raise StreamError(f"{path}, line {number}: {why_unreadable(error)}") from error


def encode_header(header: Header) -> bytes:
    """The first line."""
    return _ENCODER.encode_lines([header])


def encode_events(events: Iterable[Event]) -> bytes:
    """One line for each."""
    return _ENCODER.encode_lines(events)


def encode_end() -> bytes:
    """The line that says that a stream written while it grew ends here as it should."""
    return _END_LINE


def is_end(block: bytes) -> bool:
    """Whether a streamed file that ends so ends as it should."""
    return block[-len(_END_LINE) - 1 :].lstrip(b"\n") == _END_LINE


def read_header(path: Path) -> tuple[Header, bool]:
    """The first line of a file, and whether it was streamed.

    Raises:
        StreamError: it is no header.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = _read_header(next(_blocks(file, path), b""), path)
    return header, header.meta.pop(STREAMED, False) is True
