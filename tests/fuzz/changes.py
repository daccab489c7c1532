"""From good input to bad: changes of JSON lines that mostly stay JSON, since bytes that are none are soon refused."""

import json
from random import Random
from typing import Any

__all__ = ["changed"]

LARGE = (2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**61 - 1, 10**30, 10**4000, 1e308, -1)
TEXTS = (
    "",
    "\x1b[2J",
    "\u202egnp",
    "</script>",
    "\ud800",
    "\x9b31m",
    '"]',
    "a" * 300,
    "__proto__",
    "inf",
    "nan",
    "Net",
    "0",
)


def changed(data: bytes, random: Random) -> bytes:
    """The same with one to four changes, of lines or of values in them."""
    lines = data.split(b"\n")
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        at = random.randrange(len(lines))
        what = random.randrange(12)
        if what == 0:
            del lines[at]
        elif what == 1:
            lines.insert(random.randrange(len(lines) + 1), lines[at])
        elif what == 2:
            other = random.randrange(len(lines))
            lines[at], lines[other] = lines[other], lines[at]
        elif what == 3:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
        elif what == 4:
            lines[at:at] = lines[at : at + random.randrange(8)] * random.randrange(4)
        else:
            lines[at] = _changed_line(lines[at], random)
        lines = lines or [b""]
    return b"\n".join(lines)


def _changed_line(line: bytes, random: Random) -> bytes:
    try:
        document = json.loads(line)
    except (ValueError, RecursionError):
        return line
    found = _places(document)
    if not found:
        return line
    container, key = random.choice(found)
    value = container[key]
    what = random.randrange(9)
    if what == 0:
        del container[key]
    elif what == 1:
        container[key] = random.choice(LARGE)
    elif what == 2:
        container[key] = random.choice(TEXTS)
    elif what == 3:
        other, at = random.choice(found)
        container[key] = json.loads(json.dumps(other[at]))
    elif what == 4:
        container[key] = random.choice(([], {}, None, True, [value], {"backward": value}, [[[[value]]]]))
    elif what == 5 and isinstance(container, list):
        container[key:key] = [value] * random.randrange(40)
    elif what == 6 and isinstance(container, dict):
        container[
            random.choice((*TEXTS, "backward", "collapsed", "repeats", "repeated", "forward", "stride", "kernel_size"))
        ] = value
    else:
        container[key] = random.randrange(-2, 20)
    try:
        return json.dumps(document, ensure_ascii=random.random() < 0.5).encode("utf-8", "surrogatepass")
    except ValueError:  # a number of thousands of digits
        return line


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON value."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        value = pending.pop()
        keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        for key in keys:
            found.append((value, key))
            pending.append(value[key])
    return found
