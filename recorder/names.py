"""The one authority for names.

Invariants: a name is given once; the same requests in the same order get the same names; who asks for a name that was
not given yet gets it unchanged, the others get ``name_1``, ``name_2``, …
"""

__all__ = ["Namespace"]


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
