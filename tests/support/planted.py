"""A fault of our own in the place of a function."""

from collections.abc import Callable
from typing import Any

__all__ = ["failing"]


def failing(original: Callable[..., Any], every: int, failed: list[int]) -> Callable[..., Any]:
    """One that fails at every so-many-th call, which is noted."""
    calls = 0

    def fails(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls % every == 0:
            failed.append(calls)
            raise ZeroDivisionError("planted")
        return original(*args, **kwargs)

    return fails
