"""The lines that are written before operations are issued. Most say again what one before them said, but for their
numbers and the time: so each is made once in full, and from then on the numbers are put in.
"""

from typing import Any

import msgspec

from recorder.capture.issues import Issue
from recorder.events.ranks import Collective
from recorder.events.stream import encode_events

__all__ = ["CollectiveLines"]

_MOST = 4096
"""So many forms of lines are kept: where sizes change with each step, old ones are never asked for again."""

_NUMBERS = ("collective", "number", "ns", "sequence_nr")
"""What differs between lines of one form, in the order in which it is written."""

_GAPS = tuple(-(2**63) + 1 + place for place in range(len(_NUMBERS)))
"""What stands where one of them is to be put in."""


class CollectiveLines:
    """Those of one recording.

    Args:
        origin: the time that counts as zero.
    """

    def __init__(self, origin: int) -> None:
        self._origin = origin
        self._forms: dict[Any, bytes] = {}

    def line(self, issue: Issue) -> bytes:
        """What `recorder.events.stream.encode_events` makes of ``issue.event``."""
        sequence = issue.sequence
        key = (
            issue.group.index, issue.op_type, issue.dtype, issue.root, issue.backward is None, sequence is None,
            issue.module, issue.unit, tuple(issue.inputs), tuple(issue.outputs),
        )  # fmt: skip
        try:
            form = self._forms.get(key)
        except TypeError:  # sizes that are no numbers
            return encode_events([issue.event(self._origin)])
        if form is None:
            event = issue.event(self._origin)
            form = _form(event)
            if form is None:
                return encode_events([event])
            if len(self._forms) >= _MOST:
                self._forms.clear()
            self._forms[key] = form
        if sequence is None:
            return form % (issue.index, issue.number, issue.start - self._origin)
        return form % (issue.index, issue.number, issue.start - self._origin, sequence)


def _form(event: Collective) -> bytes | None:
    """A line with gaps for the numbers; None if something else in it looks like a gap."""
    gaps = dict(zip(_NUMBERS if event.sequence_nr is not None else _NUMBERS[:-1], _GAPS))
    form = encode_events([msgspec.structs.replace(event, **gaps)]).replace(b"%", b"%%")
    for gap in map(b"%d".__mod__, gaps.values()):
        if form.count(gap) != 1:
            return None
        form = form.replace(gap, b"%d")
    return form
