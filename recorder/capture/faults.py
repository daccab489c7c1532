"""What is raised while a hook runs: noted in words, and whether a signal's handler raised it.

Python runs handlers between any two instructions, so also in the middle of a hook of ours. What a handler raises, such
as the `TimeoutError` of an alarm, is meant for the user's program, and no failure of the recorder's.
"""

import signal
from collections.abc import Callable, Iterable
from functools import partial
from types import CodeType
from typing import Any

from recorder.errors import describe_error

__all__ = ["Faults"]


class Faults:
    """Our own errors, which are never the run's: each is noted, and the recording goes on.

    An object of its own, so that whatever may fail can be given it, and nothing of a recording refers to itself: it is
    gone as soon as nobody wants it, and the garbage collector has nothing to look for.

    Args:
        forget: is told the record that an error spoiled.

    Attributes:
        said: them, in words. What they hit is missing, or recorded with an error that says so.
    """

    def __init__(self, forget: Callable[[Iterable[Any]], None]) -> None:
        self.said: list[str] = []
        self._forget = forget

    def add(self, error: Exception, record: Iterable[Any] = ()) -> None:
        """Note one that spoiled this record. What a signal's handler raised is the run's, and raised again."""
        if raised_by_handler(error):
            raise error
        self.said.append(describe_error(error))
        self._forget(record)

    def run(self, own: Callable[[], object]) -> None:
        """Call something of ours, whose errors are noted."""
        try:
            own()
        except Exception as ours:
            self.add(ours)


def raised_by_handler(error: BaseException) -> bool:
    """Whether a handler of a signal was running when the error was raised."""
    handlers = {_code(signal.getsignal(number)) for number in signal.valid_signals()} - {None}
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code in handlers:
            return True
        traceback = traceback.tb_next
    return False


def _code(handler: Any) -> CodeType | None:
    while isinstance(handler, partial):
        handler = handler.func
    code = getattr(handler, "__code__", None) or getattr(type(handler).__call__, "__code__", None)
    return code if isinstance(code, CodeType) else None
