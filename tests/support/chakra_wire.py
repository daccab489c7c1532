"""Reads Chakra execution traces byte by byte, as protobuf's wire format has them
(https://protobuf.dev/programming-guides/encoding/), with the numbers of the fields as Chakra's schema has them.
"""

from collections.abc import Iterator
from typing import Any

__all__ = ["COLLECTIVE", "COMPUTE", "RECV", "SEND", "attributes", "fields", "numbers", "read"]

COMPUTE, SEND, RECV, COLLECTIVE = 4, 5, 6, 7
"""Types of nodes."""


def varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not data[at - 1] & 0x80:
            return number, at


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        value: Any
        value, at = varint(data, at)
        if key & 7 == 2:
            value, at = data[at : at + value], at + value
        else:
            assert key & 7 == 0
        yield key >> 3, value
    assert at == len(data)


def numbers(packed: list[bytes]) -> list[int]:
    found, at = [], 0
    data = b"".join(packed)
    while at < len(data):
        number, at = varint(data, at)
        found.append(number)
    return found


def read(data: bytes) -> list[dict[int, list[Any]]]:
    """The messages of a trace, each as what it has of each field."""
    messages, at = [], 0
    while at < len(data):
        size, at = varint(data, at)
        found: dict[int, list[Any]] = {}
        for number, value in fields(data[at : at + size]):
            found.setdefault(number, []).append(value)
        messages.append(found)
        at += size
    assert at == len(data)
    return messages


VALUES = {7: int, 9: int, 13: int, 27: bool, 29: bytes.decode}


def attributes(node: dict[int, list[Any]]) -> dict[str, tuple[int, Any]]:
    """Each attribute's name, with the number of the field that has its value, and the value."""
    found = {}
    for written in node.get(10, []):
        (_, name), *rest = fields(written)
        number, value = rest[0] if rest else (0, b"")
        found[name.decode()] = number, VALUES[number](value)
    return found
