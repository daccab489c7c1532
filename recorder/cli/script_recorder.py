"""A recorder of models that nobody hands to it: those that a script calls.

A file of its own because it needs torch, which the command line loads only to record.
"""

from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any

import msgspec
from torch import nn

from recorder.capture.compiled_models import original
from recorder.capture.found_models import FoundModels
from recorder.events.stream import EventStream
from recorder.recorder import Recorder

__all__ = ["ScriptRecorder"]


class ScriptRecorder(Recorder):
    """Records the outermost modules that have parameters, or those whose name in the code, or class, is one of these.

    Args:
        patterns: as in a shell; any module with parameters if there are none.
        steps: so many calls of the first model are recorded, each with what follows it; all if None. Every so-many-th
            counts alone, where ``every`` leaves others out.
        how: see `Recorder`.
    """

    def __init__(self, patterns: tuple[str, ...], steps: int | None, **how: Any) -> None:
        super().__init__(nn.Module(), **how)
        self._patterns = patterns
        calls = None if steps is None else (steps - 1) * how.get("every", 1) + 1
        session, self._steps = self._session, steps
        self.found = FoundModels(session.capture.modules, self._is_wanted, calls, self._settled, self._enough)
        session.capture.is_model = self.found.is_model
        self._after_call: Callable[[], None] = session.describe_now

    def __enter__(self) -> "ScriptRecorder":
        super().__enter__()
        capture = self._session.capture
        capture.outside.strangers = None  # if no model is found, the command says so
        # Only what has its final names is handed on.
        self._after_call, capture.after_call = capture.after_call or self._after_call, None
        return self

    def _enough(self) -> None:
        self._session.header.meta["steps"] = self._steps
        self._session.stop_early()

    def _settled(self) -> None:
        self._session.describe_now()
        self._session.capture.after_call = self._after_call

    def __exit__(self, *error: Any) -> None:
        self.found.settle()
        super().__exit__(*error)

    @property
    def events(self) -> EventStream:
        """Everything recorded so far, under the name of the first model."""
        stream = super().events
        kind = next(iter(self.found.kinds.values()), None)
        if kind is not None:
            stream.header = msgspec.structs.replace(stream.header, model=f"{kind.__module__}.{kind.__qualname__}")
        return stream

    def _is_wanted(self, module: nn.Module, name: str) -> bool:
        kind = type(original(module))
        if not self._patterns:
            return any(True for _ in module.parameters())
        names = (name, kind.__name__, f"{kind.__module__}.{kind.__qualname__}")
        return any(fnmatchcase(one, pattern) for one in names for pattern in self._patterns)
