"""What is called by hooks around a module's forward, told from what forward calls.

A framework may work on a module's parameters and inputs in such hooks, as FSDP gathers them there. Nothing but the
frames of a call tells that: in torch's frame that calls a module's hooks and its forward, the line says which of them
runs. So only a model of which a module has hooks when recording starts is looked at like that.
"""

import inspect
import sys
from collections.abc import Callable, Iterable
from functools import cache
from types import CodeType
from typing import Any

from torch import nn

from recorder.capture.raw_records import SOURCE, source_record

__all__ = ["marking"]

Append = Callable[[Iterable[Any]], None]


def marking(append: Append) -> Append:
    """Appends records of functions, and of each that a hook called says so."""
    lines = _lines_of_forward()

    def append_marked(record: Iterable[Any]) -> None:
        frame: Any = sys._getframe(1)
        while frame is not None:
            found = lines.get(frame.f_code)
            if found is not None:
                if frame.f_lineno not in found:
                    record = list(record)
                    at = 4 if record[0] is SOURCE else 0
                    file, line = record[1:3] if at else (None, 0)
                    record = [*source_record(file, line, hook=True), *record[at:]]
                break
            frame = frame.f_back
        append(record)

    return append_marked


@cache
def _lines_of_forward() -> dict[CodeType, frozenset[int]]:
    """The code in which torch calls a module's hooks and its forward, and the lines that call forward. Nothing where
    torch's own source is not there.
    """
    code = nn.Module._call_impl.__code__
    try:
        text, first = inspect.getsourcelines(code)
    except (OSError, TypeError):
        return {}
    calls = frozenset(first + number for number, line in enumerate(text) if "forward_call(" in line)
    inner = [each for each in code.co_consts if isinstance(each, CodeType)]
    return dict.fromkeys([code, *inner], calls) if calls else {}
