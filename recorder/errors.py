"""Every error that this package raises on purpose.

    RecorderError
    ├── StreamError     a saved stream cannot be read; names the line
    ├── GraphError      a graph contradicts itself; lists what is wrong
    ├── FormatError     no exporter of that name or suffix; lists what there is
    ├── OptionError     an exporter does not take that option; lists what it takes
    ├── ExportError     an exporter could not do its work; says what to do next
    └── PluginError     a plugin failed, or two claim one name; names the plugins

Errors of the recorded run itself are never wrapped: they pass through as they were raised.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

__all__ = [
    "ExportError",
    "FormatError",
    "GraphError",
    "OptionError",
    "PluginError",
    "RecorderError",
    "StreamError",
    "describe_error",
    "did_you_mean",
    "why_unreadable",
]


class RecorderError(Exception):
    """Base of all errors below; catch it to catch everything of ours."""


class StreamError(RecorderError, ValueError):
    """A saved stream or graph cannot be read."""


class GraphError(RecorderError, ValueError):
    """A graph contradicts itself. ``problems`` holds one sentence for each contradiction."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        shown = "\n  ".join(self.problems[:20])
        more = len(self.problems) - 20
        super().__init__(f"the graph contradicts itself:\n  {shown}" + (f"\n  … and {more} more" if more > 0 else ""))


class FormatError(RecorderError, LookupError):
    """No installed exporter has that name or suffix."""


class OptionError(RecorderError, TypeError):
    """An exporter was given an option that it does not take, or a value of the wrong kind."""


class ExportError(RecorderError, RuntimeError):
    """An exporter could not do its work, for example because a program that it needs is missing."""


class PluginError(RecorderError, RuntimeError):
    """A plugin failed or contradicts another; the message names it."""


def describe_error(error: BaseException | None, *, first_line: bool = False) -> str:
    """An error in words: ``Type: message``, or its type alone if it has none, even where the message cannot be had.

    Args:
        error: any error; ``"unknown error"`` if None.
        first_line: of the message, only the first line that says something.
    """
    if error is None:
        return "unknown error"
    try:
        message = str(error)
    except Exception:
        message = "<its message raised an error>"
    if first_line:
        message = next((line.strip() for line in message.splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def why_unreadable(error: Exception) -> str:
    """What is wrong with bytes that msgspec cannot read: in our words where Python's differ from version to version."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a message on an unknown name, ``: did you mean dot?``; nothing if none of these names is alike."""
    near = get_close_matches(name, list(names), cutoff=0.7)
    return f": did you mean {' or '.join(near)}?" if near else ""
