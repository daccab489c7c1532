"""Files that are replaced as a whole or not at all, and text as they hold it."""

import errno
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

__all__ = ["utf8", "write_atomically"]


def utf8(text: str) -> bytes:
    r"""Text as `recorder.save` writes it: in UTF-8, and half of a character (a lone surrogate), which that cannot hold,
    as its escape, ``\ud800``. A format that wants bytes or protobuf's strings has names from models through this.
    """
    return text.encode("utf-8", "backslashreplace")


def write_atomically(path: Path, parts: Iterable[bytes]) -> None:
    """Replace a file's content in one step, by these parts one after another. Permissions are those it had, or what the
    umask gives a new file; at no time are they wider.

    A link is followed. What is no plain file, such as a pipe, or only the name of an open one, such as
    ``/dev/stdout``, is written to instead: replacing it would take it away from whoever is at the other end.

    Raises:
        OSError: the file cannot be written; FileNotFoundError: there is no such folder; PermissionError: it may not be
            written, although it could be replaced.
    """
    if (path.exists() and not path.is_file()) or os.path.abspath(path).startswith(("/dev/", "/proc/")):
        with path.open("ab") as file:
            file.writelines(parts)
        return
    path = Path(os.path.realpath(path))
    if path.is_symlink():  # what no link leads out of
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
    old = path.stat().st_mode & 0o777 if path.exists() else None
    if old is not None and not os.access(path, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")

    def opener(name: str, flags: int) -> int:
        return os.open(name, flags, 0o666 if old is None else old | 0o200)

    try:
        with open(temporary, "xb", opener=opener) as file:
            file.writelines(parts)
        if old is not None:
            temporary.chmod(old)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
