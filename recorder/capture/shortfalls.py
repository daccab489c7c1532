"""What a recording falls short of, said once when its block ends, and in ``graph.meta``: what was run otherwise than
unrecorded, and what happened and could not be followed.
"""

from typing import Any

__all__ = ["Shortfalls"]


class Shortfalls:
    """Those of one recorder.

    Args:
        meta: the recording's, where it is noted under ``"not_followed"``: a list of ``{"name", "reason"}``, sorted.

    Attributes:
        compiled: what the user compiled was called, and ran eagerly.
    """

    def __init__(self, meta: dict[str, Any]) -> None:
        self.compiled = False
        self._meta = meta
        self._said: set[tuple[str, str]] = set()
        self._noted: set[tuple[str, str]] = set()
        self._nothing: str | None = None

    def not_followed(self, name: str, reason: str) -> None:
        """Something of this name, a function's most often, happened, and what it did is not all in the recording. May
        be said again and again.
        """
        if (name, reason) not in self._noted:
            self._noted.add((name, reason))
            self._meta["not_followed"] = [{"name": n, "reason": why} for n, why in sorted(self._noted)]

    def nothing(self, said: str) -> None:
        """Nothing was recorded in this block, and what may be done about it."""
        self._nothing = said

    def warnings(self) -> list[str]:
        """What is to be said now: each thing once, however often the recorder is entered again, but that nothing was
        recorded of each block.
        """
        said, self._nothing = [] if self._nothing is None else [self._nothing], None
        if self.compiled and ("", "") not in self._said:
            self._said.add(("", ""))
            said.append(
                "compiled code ran eagerly while it was recorded: its results may differ from the compiled run's in "
                "the last bits, and random numbers, such as those of dropout, may be others"
            )
        new = sorted(self._noted - self._said)
        self._said |= self._noted
        if new:
            said.append("not followed in this recording: " + "; ".join(f"{name} ({why})" for name, why in new))
        return said
