"""The event stream: a header and a list of events, in memory or as JSON Lines.

One line an event, so that a stream can be written while it grows, cut after any line, and read by other programs. The
codec is msgspec's: typed, strict, and it runs no code from the file.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import msgspec

from recorder.errors import StreamError
from recorder.events import SCHEMA_VERSION, Event, Header

__all__ = ["STREAMED", "TRUNCATED", "EventStream", "encode_end", "encode_events", "encode_header"]

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


_ENCODER = msgspec.json.Encoder()
_END = _ENCODER.encode(_End())
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

    @property
    def truncated(self) -> bool:
        """Whether the run went on when the stream no longer did: the file was cut, or could not be written."""
        return self.header.meta.get(TRUNCATED) is True

    def __repr__(self) -> str:
        return f"<EventStream {self.header.model}: {len(self)} events>"

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the stream as JSON Lines: the header, then one event a line.

        Raises:
            OSError: the file cannot be written.
        """
        path = Path(path)
        path.write_bytes(encode_header(self.header) + encode_events(self._events))
        return path

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "EventStream":
        """Read what `save` wrote, or a `Recorder` that streamed into a file. Blank lines after the header are skipped.

        A streamed file may have been cut anywhere: what is whole is read, and `truncated` says that there was more.

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
        lines = data.split(b"\n")  # not splitlines(), which splits at a bare carriage return too
        version = _decode(_OPENING, lines[0], path, 1).schema_version
        if version != SCHEMA_VERSION:
            raise StreamError(
                f"{path}, line 1: schema version {version}, and this version of graph-recorder reads "
                f"{SCHEMA_VERSION}: record again, or read it with the version that wrote it"
            )
        header = _decode(_HEADER, lines[0], path, 1)
        if header.meta.pop(STREAMED, False) is True:
            lines[-1] = b""  # nothing, or what was being written
            if lines[-2:] != [_END, b""]:
                header.meta[TRUNCATED] = True
            lines = [line for line in lines if line != _END]
        events = [_decode(_EVENT, line, path, number) for number, line in enumerate(lines[1:], 2) if line.strip()]
        return cls(events, header)


def _decode(decoder: "msgspec.json.Decoder[_T]", line: bytes, path: Path, number: int) -> _T:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StreamError(f"{path}, line {number}: {error}") from error


def encode_header(header: Header) -> bytes:
    """The first line."""
    return _ENCODER.encode_lines([header])


def encode_events(events: Iterable[Event]) -> bytes:
    """One line for each."""
    return _ENCODER.encode_lines(events)


def encode_end() -> bytes:
    """The line that says that a stream written while it grew ends here as it should."""
    return _END + b"\n"
