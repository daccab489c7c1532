"""A process for each measurement.

Some peers patch torch for as long as the process lives (after torchlens, an unrecorded resnet18 takes several times as
long), some take minutes or all memory. In a process of its own each is measured beside a bare run that nobody has
touched, and can be ended. The processes are forked from a server that has imported torch but never used it, so that
they start in no time and CUDA works in them.
"""

import multiprocessing
import os
from collections.abc import Callable, Collection, Iterator
from multiprocessing.connection import Connection
from time import monotonic
from typing import Any, TypeVar

__all__ = ["Died", "in_a_line", "isolated", "preload"]

T = TypeVar("T")


class Died(Exception):
    """The process did not get to its end; the message says why."""


def _context() -> Any:
    forks = "forkserver" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("forkserver" if forks else "spawn")


def preload(modules: Collection[str]) -> None:
    """What the processes find imported already, where it is installed. To be said before the first of them starts."""
    _context().set_forkserver_preload(list(modules))


def isolated(function: Callable[..., Iterator[T]], *args: Any, timeout: float) -> Iterator[T]:
    """What ``function(*args)`` yields in a process of its own, as it comes.

    Args:
        function: found by its name in its module. It, its arguments and what it yields are pickled.
        *args: what it is called with.
        timeout: seconds from one yield to the next, after which the process is killed.

    Raises:
        Died: it took too long, raised, or was killed. What it had yielded is there already.
    """
    context = _context()
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_run, args=(theirs, function, args), daemon=True)
    process.start()
    theirs.close()
    try:
        deadline = monotonic() + timeout
        while True:
            if not ours.poll(max(0, deadline - monotonic())):
                raise Died(f"gave no result within {timeout:g} s")
            kind, value = ours.recv()
            if kind == "raised":
                raise Died(value)
            if kind == "end":
                return
            yield value
            deadline = monotonic() + timeout
    except EOFError:
        process.join()
        raise Died(f"the process died, with exit status {process.exitcode}") from None
    finally:
        process.kill()
        process.join()
        ours.close()


def _run(pipe: Connection, function: Callable[..., Iterator[Any]], args: tuple[Any, ...]) -> None:
    silent = os.open(os.devnull, os.O_WRONLY)  # some peers print, from C++ too
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    try:
        for value in function(*args):
            pipe.send(("yielded", value))
        pipe.send(("end", None))
    except Exception as error:
        pipe.send(("raised", in_a_line(error)))


def in_a_line(error: Exception) -> str:
    """The first line of what it says, behind its kind."""
    first = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {first}"[:200]
