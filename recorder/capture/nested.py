"""Lists and mappings among what a record holds, put together again, and the tensors in them."""

from collections.abc import Iterator
from typing import Any
from weakref import ref

from recorder.capture.raw_records import Tag

__all__ = ["list_from", "mapping_from", "only_tensors", "references_in"]

LIST, MAP, END = Tag.LIST, Tag.MAP, Tag.END


def list_from(items: Iterator[Any]) -> list[Any]:
    """Everything up to END."""
    found: list[Any] = []
    for item in items:
        if item is END:
            break
        found.append(list_from(items) if item is LIST else mapping_from(items) if item is MAP else item)
    return found


def mapping_from(items: Iterator[Any]) -> dict[str, Any]:
    """The same where names and values take turns."""
    found: dict[str, Any] = {}
    for name in items:
        if name is END:
            break
        item = next(items)
        found[name] = list_from(items) if item is LIST else mapping_from(items) if item is MAP else item
    return found


def references_in(value: Any) -> Iterator["ref[Any]"]:
    """The tensors in any nesting, in order."""
    if type(value) is ref:
        yield value
    elif isinstance(value, list | dict):
        for item in value if isinstance(value, list) else value.values():
            yield from references_in(item)


def only_tensors(value: Any) -> bool:
    """Whether it is a tensor, or a list of nothing else."""
    if isinstance(value, list):
        return bool(value) and all(only_tensors(item) for item in value)
    return type(value) is ref
