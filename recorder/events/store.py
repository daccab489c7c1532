"""Where the events of a recording go: into memory, all or the last steps of them, or into a file while it runs."""

import errno
import os
import warnings
from collections.abc import Container, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import msgspec

from recorder.errors import StreamError, describe_error
from recorder.events.rank_paths import check_stream_path, path_of_rank
from recorder.events.split import Parts
from recorder.events.stream import STREAMED, TRUNCATED, EventStream, encode_end, encode_events, encode_header
from recorder.events.types import Event, Header
from recorder.files import write_atomically

__all__ = ["InFile", "InMemory", "LastParts", "Store"]


class Store(Protocol):
    """Takes events in order, and gives back those that it has."""

    live: bool
    """Whether events are to come while the run goes on, so that memory does not grow."""

    open: bool
    """Whether it takes events at all."""

    outlives: bool
    """Whether what it has been given is there whatever happens to the process, so that what hangs can be looked at."""

    def begin(self, header: Header) -> None:
        """The recorder is entered, for the first time or again.

        Raises:
            StreamError: there is no writing where the events are to go.
        """

    def extend(self, events: Iterable[Event]) -> None:
        """Add events at the end, in order."""

    def at_once(self, lines: bytes) -> None:
        """Add events, as lines, that cannot wait: where what is stored ``outlives`` the process."""

    def end(self, whole: bool) -> None:
        """The recorder is left; ``whole`` if every event was handed over."""

    def forget(self, tensors: Container[int], modules: Container[int]) -> None:
        """Forget what no later event can speak of: all tensors and modules but these."""

    def stream(self) -> EventStream:
        """The events as a stream that can be assembled."""


class InMemory:
    """Everything, in memory: what a `Recorder` does that was told nothing else."""

    live, open, outlives = False, True, False

    def __init__(self) -> None:
        self._stream = EventStream()

    def begin(self, header: Header) -> None:
        self._stream.header = header

    def extend(self, events: Iterable[Event]) -> None:
        self._stream.extend(events)

    def at_once(self, lines: bytes) -> None:
        pass

    def end(self, whole: bool) -> None:
        pass

    def forget(self, tensors: Container[int], modules: Container[int]) -> None:
        pass

    def stream(self) -> EventStream:
        return self._stream


class LastParts:
    """The last steps, in memory that does not grow. A step is a call of the module that was called first, with what
    follows until its next one.
    """

    live, open, outlives = True, True, False

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._header = Header()
        self._parts: Parts | None = None

    def begin(self, header: Header) -> None:
        if self._parts is None:
            self._header, self._parts = header, Parts(self._keep, steps=True)

    def extend(self, events: Iterable[Event]) -> None:
        assert self._parts is not None
        self._parts.extend(events)

    def at_once(self, lines: bytes) -> None:
        pass

    def end(self, whole: bool) -> None:
        pass

    def forget(self, tensors: Container[int], modules: Container[int]) -> None:
        assert self._parts is not None
        self._parts.forget(tensors, modules)

    def stream(self) -> EventStream:
        return EventStream(() if self._parts is None else self._parts.joined(), self._header)


class InFile:
    """A file that is whole after each batch of events, so that it can be read while it grows, and after a crash.

    A file that cannot be written is refused before the run. What goes wrong with it later ends the stream with one
    warning: it is never the run's problem. What was written until then can be read.
    """

    live = outlives = True

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_stream_path(path)
        self.open = True
        self._path = Path(os.path.abspath(path))  # the run may change the working directory
        self._file: Any = None
        self._header = Header()
        self._begun = False

    def begin(self, header: Header) -> None:
        if not self.open:
            return
        if not self._begun:
            self._path = path_of_rank(self._path, header.meta.get("rank"), header.meta.get("world_size"))
            self._create(header)
        try:
            self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            self._fail(error)

    def _create(self, header: Header) -> None:
        streamed = msgspec.structs.replace(header, meta={**header.meta, STREAMED: True})
        try:
            if self._path.exists() and not os.access(self._path, os.W_OK):
                raise PermissionError(errno.EACCES, "the file is read-only")
            write_atomically(self._path, [encode_header(streamed)])
        except OSError as error:
            raise StreamFileError(
                f"stream={str(self._path)!r} cannot be written: {_advice(self._path, error)}"
            ) from error
        self._begun, self._header = True, header

    def extend(self, events: Iterable[Event]) -> None:
        self._write(encode_events(events))

    def at_once(self, lines: bytes) -> None:
        if not self.open:
            return
        try:
            done = self._file.write(lines)
            while done < len(lines):
                done += self._file.write(memoryview(lines)[done:])
        except OSError as error:
            self._fail(error)

    def end(self, whole: bool) -> None:
        if whole:
            self._write(encode_end())
        self._close()

    def forget(self, tensors: Container[int], modules: Container[int]) -> None:
        pass

    def stream(self) -> EventStream:
        if self._begun:
            try:
                stream = EventStream.load(self._path)
            except (OSError, StreamError) as error:
                if self.open:
                    raise
                warnings.warn(f"nothing can be read back: {describe_error(error)}", RuntimeWarning, stacklevel=5)
            else:
                if self.open:  # while it goes on, it lacks its end
                    stream.header = self._header
                return stream
        return EventStream(header=msgspec.structs.replace(self._header, meta={**self._header.meta, TRUNCATED: True}))

    def _write(self, data: bytes) -> None:
        if not self.open or not data:
            return
        try:
            if os.fstat(self._file.fileno()).st_nlink == 0:  # not looked for at each line that cannot wait
                raise FileNotFoundError("the file was removed")
        except OSError as error:
            self._fail(error)
        self.at_once(data)

    def _fail(self, error: OSError) -> None:
        self.open = False
        self._close()
        warnings.warn(
            f"the stream into {self._path} ends here, and the recording with it; the run goes on: {error}",
            RuntimeWarning,
            stacklevel=2,
        )

    def _close(self) -> None:
        file, self._file = self._file, None
        if file is not None:
            with suppress(OSError):  # a full disk may say so only now: the file lacks its end then, or nothing
                file.close()


class StreamFileError(StreamError, OSError):
    """The file of a stream cannot be written; says what to do."""


def _advice(path: Path, error: OSError) -> str:
    if path.is_dir():
        return "it is a folder; name a file in it"
    if not path.parent.is_dir():
        return f"there is no folder {str(path.parent)!r}; make it first"
    return f"{error.strerror or error}; name another file, or make it writable"
