"""Which modules are meant: by the pattern of a qualified name, by type, or by a function of the user's."""

import re
from collections.abc import Callable, Iterable
from fnmatch import translate
from typing import TypeAlias

from recorder.graph.core import Node, Scope

__all__ = ["Patterns", "Where", "any_of", "by_name", "is_group", "is_module", "levels"]

Patterns: TypeAlias = str | Iterable[str]
"""One or several, of which one has to fit; ``*`` stands for any characters, dots too, ``?`` for one, ``[0-3]`` for one
of those."""

Where: TypeAlias = Callable[[Scope], bool]


def any_of(fqn: Patterns | None, op_type: Patterns | None) -> Callable[[Scope | Node], bool]:
    """Whether a module's call has a name or type that fits. A type is meant by its name alone or by its path:
    ``Linear``, ``torch.nn.*``.
    """
    names, types = _compiled(fqn), _compiled(op_type)

    def fits(place: Scope | Node) -> bool:
        return (names is not None and place.fqn is not None and bool(names(place.fqn))) or (
            types is not None and bool(types(place.op_type) or types(place.target))
        )

    return fits


def _compiled(patterns: Patterns | None) -> Callable[[str], object] | None:
    if patterns is None:
        return None
    several = [patterns] if isinstance(patterns, str) else list(patterns)
    # (?!) fits nothing: it is what no pattern at all means.
    return re.compile("|".join(map(translate, several)) or "(?!)").match


def by_name(pattern: str, names: Iterable[str]) -> Callable[[str], object]:
    """Whether a name is meant: the very one, if there is one, as names may hold any characters; else by the pattern."""
    return pattern.__eq__ if pattern in set(names) else re.compile(translate(pattern)).match


def is_group(scope: Scope) -> bool:
    """Whether `fold` put this scope around several blocks that repeat: it is no module's call."""
    names, repeats = scope.meta.get("repeated"), scope.meta.get("repeats")
    return isinstance(names, list) and isinstance(repeats, int) and len(names) > repeats


def is_module(scope: Scope) -> bool:
    """Whether a scope is a module's call, and no group."""
    return not is_group(scope)


def levels(scopes: Iterable[Scope], counts: Where = is_module) -> dict[int, int]:
    """How many scopes that count are around each one, by its id. Parents stand before children."""
    found: dict[int, int] = {}
    for scope in scopes:
        parent = scope.parent
        found[id(scope)] = 0 if parent is None else found[id(parent)] + counts(parent)
    return found
