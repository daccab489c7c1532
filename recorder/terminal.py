"""Text from outside as a terminal may show it: names come from models and files, and a terminal obeys what it reads.

An escape sequence can clear the screen, write the clipboard or type for the user; a bidirectional control can make a
line read as another.
"""

import re

__all__ = ["folded", "harmless", "in_one_line"]

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)
_UNSAFE_IN_LINE = re.compile(_UNSAFE.pattern.replace("\x08\x0b-", ""))


def harmless(text: str) -> str:
    r"""Text in which control, bidirectional and invisible characters and lone surrogates are shown as Python escapes
    (``\x1b``, ``\u202e``). Line ends and tabs stay.
    """
    return text if text.isascii() and text.isprintable() else _UNSAFE.sub(_escape, text)


def in_one_line(text: str) -> str:
    r"""The same for a name, which no line end or tab may break out of a line or a table: ``\n``, ``\t``."""
    return text if text.isascii() and text.isprintable() else _UNSAFE_IN_LINE.sub(_escape, text)


def folded(text: str) -> str:
    """A message of several lines as one: what begins a new line there follows after a space."""
    return in_one_line(" ".join(text.split()))


def _escape(match: re.Match[str]) -> str:
    return {"\t": r"\t", "\n": r"\n", "\r": r"\r"}.get(match[0]) or ascii(match[0])[1:-1]
