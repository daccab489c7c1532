"""One file for each rank of a job: ``runs/{rank}.jsonl``."""

import os
from pathlib import Path

from recorder.errors import StreamError

__all__ = ["check_stream_path", "path_of_rank"]

_RANK = "{rank}"


def check_stream_path(path: str | os.PathLike[str]) -> None:
    """Refuse what no stream can be written into.

    Raises:
        StreamError: it is the address of something remote.
    """
    text = os.fspath(path)
    if "://" in text:
        raise StreamError(
            f"stream={text!r} is no local file: what is written while the run goes on is added to the end of a file, "
            "which an object store cannot do. Stream into a local file, and copy it afterwards"
        )


def path_of_rank(template: Path, rank: int | None, world_size: int | None) -> Path:
    """The path of this rank's file: ``{rank}`` stands for its number. Where no process group says so, the environment
    does, as ``torchrun`` sets it.

    Raises:
        StreamError: there are several ranks, and they would all write into one file.
    """
    rank = _number("RANK", 0) if rank is None else rank
    world_size = _number("WORLD_SIZE", 1) if world_size is None else world_size
    text = str(template)
    if world_size > 1 and _RANK not in text:
        name = template.with_name(f"{template.stem}-{_RANK}{template.suffix}").name
        raise StreamError(
            f"stream={text!r} is one file, and there are {world_size} ranks: have {_RANK} in its name, as in {name!r}"
        )
    return Path(text.replace(_RANK, str(rank)))


def _number(variable: str, default: int) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default
