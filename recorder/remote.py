"""Files that are not on this machine: whatever fsspec has a protocol for, ``s3://bucket/run.jsonl`` and the like.

A store replaces a file as a whole, and adds nothing to the end of one. So what is finished can be written there, and
read from there; a recording that grows cannot. fsspec is imported where such an address is given, and nowhere else.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias
from weakref import finalize

from recorder.errors import RecorderError
from recorder.files import write_atomically

__all__ = ["Copy", "Place", "as_place", "matching", "name_of", "opened", "write"]

Place: TypeAlias = Path | str
"""A path here, or the address of a file elsewhere."""


def as_place(path: str | os.PathLike[str]) -> Place:
    """What a user gave: an address if there is ``://`` in it."""
    text = os.fspath(path)
    return text if "://" in text else Path(text)


def name_of(place: Place) -> str:
    """A file's name, which has its suffix; of an address, without the question that a signed one asks."""
    return place.name if isinstance(place, Path) else place.partition("?")[0].rstrip("/").rpartition("/")[2]


@contextmanager
def opened(place: Place) -> Iterator[BinaryIO]:
    """A file, to be read.

    Raises:
        RecorderError: it is elsewhere, and fsspec cannot reach there.
        OSError: it cannot be read.
    """
    if isinstance(place, Path):
        with place.open("rb") as file:
            yield file
    else:
        system, path = _reached(place)
        with system.open(path, "rb") as file:
            yield file


def write(place: Place, parts: Iterable[bytes]) -> None:
    """Replace a file's content in one step; elsewhere, as far as the store does so.

    Raises:
        RecorderError: it is elsewhere, and fsspec cannot reach there.
        OSError: it cannot be written.
    """
    if isinstance(place, Path):
        write_atomically(place, parts)
    else:
        system, path = _reached(place)
        system.pipe_file(path, b"".join(parts))


def matching(pattern: str) -> list[str]:
    """The addresses that match one with ``*`` in it, in order; the address itself, if there is none.

    Raises:
        RecorderError: fsspec cannot reach there.
    """
    system, path = _reached(pattern)
    if "*" not in path:
        return [pattern]
    return [str(system.unstrip_protocol(found)) for found in sorted(system.glob(path))]


class Copy:
    """A copy of a file that is elsewhere, kept as long as this is: for what has to look at it in several places.

    Attributes:
        path: where the copy is.

    Raises:
        RecorderError: fsspec cannot reach there.
        OSError: it cannot be read.
    """

    def __init__(self, address: str) -> None:
        from shutil import rmtree
        from tempfile import mkdtemp

        system, path = _reached(address)
        folder = mkdtemp(prefix="recorder-")
        finalize(self, rmtree, folder, ignore_errors=True)
        self.path = Path(folder, name_of(address) or "file")
        system.get_file(path, str(self.path))


def _reached(address: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise RecorderError(
            f"{address!r} is not on this machine, and what reads and writes elsewhere is not installed: "
            "pip install 'graph-recorder[remote]', and the package of the store, such as s3fs"
        ) from None
    try:
        system, path = url_to_fs(address)
    except (ImportError, ValueError) as error:  # the package of the store is missing, or nobody knows the protocol
        raise RecorderError(f"{address!r} cannot be reached: {error}") from error
    return system, path
