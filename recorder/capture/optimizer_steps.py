"""What an optimizer makes while it steps: no part of the graph, but it takes memory, and often the most at that."""

from collections.abc import Callable
from typing import Any

from recorder.capture.function_mode import Recording
from recorder.capture.graded_functions import Graded, GradedMeasuring

__all__ = ["GradedMeasuringStepping", "GradedStepping"]


class _Stepping(Recording):
    """Shows all that functions return to ``seen``, which knows whether an optimizer is stepping."""

    def __init__(self, seen: Callable[[Any], None], *recording: Any) -> None:
        super().__init__(*recording)
        self._seen = seen

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = super().__torch_function__(func, types, args, kwargs)
        self._seen(result)
        return result


class GradedStepping(_Stepping, Graded):
    """Records functions and their gradients, and sees optimizers."""


class GradedMeasuringStepping(_Stepping, GradedMeasuring):
    """The same where what is in values is measured, too."""
