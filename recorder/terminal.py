"""Text from outside as a terminal may show it: names come from models and files, and a terminal obeys what it reads.

An escape sequence can clear the screen, write the clipboard or type for the user; a bidirectional control can make a
line read as another.

And as one can show it at all: not every terminal, file or pipe takes Unicode, and what it lacks is written plainer.
"""

import codecs
import re
import sys
from typing import Any

__all__ = ["PLAINER", "encoding_of", "folded", "harmless", "in_encoding", "in_one_line", "printable"]

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


# What an encoding lacks


PLAINER = "recorder.plainer"
"""Name of the error handler, as `codecs` knows it, that writes plainer what an encoding lacks."""

_PLAINER = str.maketrans({
    "─": "-", "━": "-", "│": "|", "├": "|", "└": "`", "╶": "-", "╴": "-", "…": "...", "·": "-", "•": "*", "–": "-",
    "—": "-", "→": "->", "µ": "u", "μ": "u", "×": "x", "\xa0": " ", "‘": "'", "’": "'", "“": '"', "”": '"',
})  # fmt: skip


def _plainer(error: UnicodeError) -> tuple[str | bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs = error.object[error.start : error.end].translate(_PLAINER)
    return signs.encode("ascii", "backslashreplace").decode("ascii"), error.end


codecs.register_error(PLAINER, _plainer)


def encoding_of(stream: Any) -> str:
    """What a stream writes text in; UTF-8 if it does not tell."""
    name = getattr(stream, "encoding", None)
    try:
        return codecs.lookup(name).name if isinstance(name, str) else "utf-8"
    except LookupError:
        return "utf-8"


def in_encoding(text: str, encoding: str) -> str:
    r"""Text as an encoding can hold it: lines and dots of ASCII where it lacks others, and Python escapes (``\xe9``) of
    the rest.
    """
    return text if text.isascii() else text.encode(encoding, PLAINER).decode(encoding)


def printable(text: str) -> str:
    """The same as standard output can show it."""
    return in_encoding(text, encoding_of(sys.stdout))
