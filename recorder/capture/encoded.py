"""Arguments as the log has them, and how they are put together again: see `recorder.capture.raw_records`."""

from collections.abc import Iterator
from typing import Any
from weakref import ref

from recorder.capture.tensor_facts import Reference

__all__ = ["END", "LIST", "MAP", "Tag", "listed", "mapped", "named_references", "only_tensors", "references_in"]


class Tag:
    """How a record begins, or what stands among its parts. An object, since any plain value may be an argument: it is
    compared by identity.
    """

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


LIST, MAP, END = map(Tag, ("LIST", "MAP", "END"))


def listed(items: Iterator[Any]) -> list[Any]:
    """Everything up to END."""
    found: list[Any] = []
    for item in items:
        if item is END:
            break
        found.append(listed(items) if item is LIST else mapped(items) if item is MAP else item)
    return found


def mapped(items: Iterator[Any]) -> dict[str, Any]:
    """The same where names and values take turns."""
    found: dict[str, Any] = {}
    for name in items:
        if name is END:
            break
        item = next(items)
        found[name] = listed(items) if item is LIST else mapped(items) if item is MAP else item
    return found


def references_in(value: Any) -> Iterator[Reference]:
    """The tensors in an argument, in any nesting, in order."""
    if type(value) is ref:
        yield value
    elif isinstance(value, list | dict):
        for item in value if isinstance(value, list) else value.values():
            yield from references_in(item)


def named_references(value: Any, path: str) -> Iterator[tuple[str, Reference]]:
    """The same with where each is: ``past.0.1``."""
    if type(value) is ref:
        yield path, value
    elif isinstance(value, list | dict):
        for key, item in enumerate(value) if isinstance(value, list) else value.items():
            yield from named_references(item, f"{path}.{key}" if path else str(key))


def only_tensors(value: Any) -> bool:
    """Whether an argument is a tensor, or a list of nothing else."""
    if isinstance(value, list):
        return bool(value) and all(only_tensors(item) for item in value)
    return type(value) is ref
