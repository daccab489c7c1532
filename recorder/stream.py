"""The event stream: a header and a list of events, in memory or as JSON Lines.

One line an event, so that a stream can be written while it grows, cut after any line, and read by other programs. The
codec is msgspec's: typed, strict, and it runs no code from the file.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from recorder.collector import collector_held_back
from recorder.errors import StreamError
from recorder.events import SCHEMA_VERSION, Event, Header

__all__ = ["EventStream"]

_T = TypeVar("_T")


class _Opening(msgspec.Struct):
    """What every header holds in every version: enough to tell whether the rest can be read."""

    type: Literal["header"]
    schema_version: int


_UNREADABLE = (msgspec.DecodeError, ValueError, RecursionError)
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
        """Write the stream as JSON Lines: the header, then one event a line.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        lines = bytearray(_ENCODER.encode_lines([self.header]))
        lines += _ENCODER.encode_lines(self._events)
        path.write_bytes(lines)
        return path

    @classmethod
    @collector_held_back()
    def load(cls, path: str | os.PathLike[str]) -> "EventStream":
        """Read what `save` wrote. Blank lines after the header are skipped.

        Raises:
            StreamError: a line is not what it should be; the message says which one and why.
            OSError: the file cannot be read.
        """
        path = Path(path)
        data = path.read_bytes()
        if not data.strip():
            raise StreamError(f"{path} is empty: a saved stream begins with a header line")
        try:  # the decoder looks only at the strings that it keeps
            data.decode()
        except UnicodeDecodeError as error:
            number = data.count(b"\n", 0, error.start) + 1
            raise StreamError(f"{path}, line {number}: not UTF-8 ({error.reason})") from error
        first = data.partition(b"\n")[0]
        version = _decode(_OPENING, first, path, 1).schema_version
        if version != SCHEMA_VERSION:
            raise StreamError(
                f"{path}, line 1: schema version {version}, and this version of graph-recorder reads "
                f"{SCHEMA_VERSION}: record again, or read it with the version that wrote it"
            )
        header = _decode(_HEADER, first, path, 1)
        return cls(_decode_events(data[len(first) + 1 :], path), header)


def _decode_events(data: bytes, path: Path) -> list[Event]:
    """The events from line 2 on: all at once, and if they are not one a line, line by line to tell where."""
    with suppress(*_UNREADABLE):
        events: list[Event] = _EVENT.decode_lines(data)
        if len(events) == data.count(b"\n"):
            return events
    lines = data.split(b"\n")  # not splitlines(), which splits at a bare carriage return too
    return [_decode(_EVENT, line, path, number) for number, line in enumerate(lines, 2) if line.strip()]


def _decode(decoder: "msgspec.json.Decoder[_T]", line: bytes, path: Path, number: int) -> _T:
    try:
        return decoder.decode(line)
    except _UNREADABLE as error:
        raise StreamError(f"{path}, line {number}: {error}") from error
