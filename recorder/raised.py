"""What is raised while a hook runs: in words, and whether a signal's handler raised it.

Python runs handlers between any two instructions, so also in the middle of a hook of ours. What a handler raises, such
as the `TimeoutError` of an alarm, is meant for the user's program, and no failure of the recorder's.
"""

import signal
from functools import partial
from types import CodeType
from typing import Any

__all__ = ["describe_error", "raised_by_handler"]


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


def describe_error(error: BaseException | None) -> str:
    """``Type: message``, even where the message cannot be had."""
    if error is None:
        return "unknown error"
    try:
        text = str(error)
    except Exception:
        text = "<its message raised an error>"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
