"""The event stream: a header and a list of events, in memory or as JSON Lines.

One line an event, so that a stream can be written while it grows, cut, concatenated and read by other programs. The
codec is msgspec's: typed, strict, and it runs no code from the file.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from recorder.errors import StreamError
from recorder.events import SCHEMA_VERSION, Event, Header

__all__ = ["EventStream"]

_T = TypeVar("_T")
_ENCODER = msgspec.json.Encoder()
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
    def load(cls, path: str | os.PathLike[str]) -> "EventStream":
        """Read what `save` wrote.

        Raises:
            StreamError: a line is not what it should be; the message says which one and why.
            OSError: the file cannot be read.
        """
        path = Path(path)
        lines = path.read_bytes().splitlines()
        if not lines:
            raise StreamError(f"{path} is empty: a saved stream begins with a header line")
        header = _decode(_HEADER, lines[0], path, 1)
        if header.schema_version != SCHEMA_VERSION:
            raise StreamError(
                f"{path}, line 1: schema version {header.schema_version}, and this version of graph-recorder reads "
                f"{SCHEMA_VERSION}: record again, or read it with the version that wrote it"
            )
        try:  # one call for the whole file is several times faster than one for each line …
            events = _EVENT.decode_lines(b"\n".join(lines[1:]))
        except (msgspec.DecodeError, ValueError):  # … which is only needed to say where it is wrong
            events = [_decode(_EVENT, line, path, number) for number, line in enumerate(lines[1:], 2)]
        return cls(events, header)


def _decode(decoder: "msgspec.json.Decoder[_T]", line: bytes, path: Path, number: int) -> _T:
    try:
        return decoder.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise StreamError(f"{path}, line {number}: {error}") from error
