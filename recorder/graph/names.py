"""The one authority for names.

Invariants: a name is given once; the same requests in the same order get the same names; who asks for a name that was
not given yet gets it unchanged, the others get ``name_1``, ``name_2``, …

What a node makes is named after the node, whose name was given once already, and need not be looked up: of a million
names, which no cache holds, that is a tenth of the time in which a graph is assembled.
"""

__all__ = ["Namespace", "of_output", "unlike_output"]


def of_output(node: str, number: int) -> str:
    """The name of a value that a node made: of its outputs the one with that number, from 0."""
    return f"{node}:{number}"


def unlike_output(wish: str) -> str:
    """What to wish for a value that no node made: ``wish`` itself, unless that could be an output's name."""
    _, colon, number = wish.rpartition(":")
    return f"{wish}_" if colon and number.isdigit() else wish


class Namespace:
    """Hands out unique names."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def unique(self, wish: str) -> str:
        """``wish`` itself if it is free, else the first free ``wish_N``."""
        number = self._next.get(wish)
        if number is None:
            self._next[wish] = 1
            return wish
        name = f"{wish}_{number}"
        while name in self._next:
            number += 1
            name = f"{wish}_{number}"
        self._next[wish] = number + 1
        self._next[name] = 1
        return name
