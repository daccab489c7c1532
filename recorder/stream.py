"""The event stream: a header and a list of events, in memory or as JSON Lines.

One line an event, so that a stream can be written while it grows, cut after any line, and read by other programs. The
codec is msgspec's: typed, strict, and it runs no code from the file.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import msgspec

from recorder.errors import StreamError
from recorder.events import SCHEMA_VERSION, Event, Header
from recorder.files import write_atomically
from recorder.limits import LONGEST_LINE

__all__ = ["EventStream"]

_T = TypeVar("_T")


class _Opening(msgspec.Struct):
    """What every header holds in every version: enough to tell whether the rest can be read."""

    type: Literal["header"]
    schema_version: int


_ENCODER = msgspec.json.Encoder()
_OPENING = msgspec.json.Decoder(_Opening)
_HEADER = msgspec.json.Decoder(Header)
_EVENT: msgspec.json.Decoder[Event] = msgspec.json.Decoder(Event)


class EventStream:
    """What a `Recorder` saw, in order.

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

    def __repr__(self) -> str:
        return f"<EventStream {self.header.model}: {len(self)} events>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the stream as JSON Lines: the header, then one event a line. A file that is there is replaced in one
        step; folders are not created.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        lines = bytearray(_ENCODER.encode_lines([self.header]))
        lines += _ENCODER.encode_lines(self._events)
        write_atomically(path, lines)
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "EventStream":
        """Read what `save` wrote. Blank lines after the header are skipped. Whatever the file holds, no code of it
        runs, and memory is a small multiple of its size.

        Raises:
            StreamError: a line is not what it should be; the message says which one and why.
            OSError: the file cannot be read.
        """
        path = Path(path)
        with path.open("rb") as file:
            lines = _lines(file, path)
            first = next(lines, b"")
            if not first.strip() and not any(line.strip() for line in lines):
                raise StreamError(f"{path} is empty: a saved stream begins with a header line")
            header = _read_header(first, path)
            events = [_decode(_EVENT, line, path, number) for number, line in enumerate(lines, 2) if line.strip()]
        return cls(events, header)


def _lines(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """The lines of a file, which end at a line feed alone."""
    number = 0
    while line := file.readline(LONGEST_LINE + 1):
        number += 1
        if len(line) > LONGEST_LINE:
            raise StreamError(f"{path}, line {number}: longer than {LONGEST_LINE >> 20} MiB, so it is no recording")
        if number == 1 and line.startswith(b"\x1f\x8b"):
            raise StreamError(f"{path}, line 1: compressed by gzip: gunzip it first")
        if not line.isascii():  # the decoder looks only at the strings that it keeps
            try:
                line.decode()
            except UnicodeDecodeError as error:
                raise StreamError(f"{path}, line {number}: not UTF-8 ({error.reason})") from error
        yield line


def _read_header(line: bytes, path: Path) -> Header:
    version = _decode(_OPENING, line, path, 1).schema_version
    if version != SCHEMA_VERSION:
        raise StreamError(
            f"{path}, line 1: schema version {version}, and this version of graph-recorder reads {SCHEMA_VERSION}: "
            "record again, or read it with the version that wrote it"
        )
    return _decode(_HEADER, line, path, 1)


def _decode(decoder: "msgspec.json.Decoder[_T]", line: bytes, path: Path, number: int) -> _T:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StreamError(f"{path}, line {number}: {error}") from error
