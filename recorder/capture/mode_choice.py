"""Which mode a recording puts on torch's stack: chosen once, so that its calls need not ask what was wanted."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from recorder.capture.backward_hooks import Backward
from recorder.capture.function_mode import Recording, Watching
from recorder.capture.graded_functions import Graded, GradedMeasuring
from recorder.capture.mode_stack import Mode
from recorder.capture.value_hooks import Measuring, ValueHooks

__all__ = ["mode_maker"]


def mode_maker(
    before_backward: Callable[[], None] | None,
    values: ValueHooks | None,
    grading: tuple[Iterator[int], Backward] | None,
    *recording: Any,
) -> Callable[[], Mode]:
    """Makes the mode. ``recording`` is what `Recording` is given; ``before_backward`` and ``values`` may be wanted, and
    that gradients are recorded at functions: then ``grading`` gives the numbers of calls, and what watches backward.
    """
    if grading is not None:
        if values is not None:
            return partial(GradedMeasuring, *grading, values.look, before_backward, *recording)
        return partial(Graded, *grading, before_backward or _nothing, *recording)
    if values is not None:
        return partial(Measuring, values.look, before_backward, *recording)
    if before_backward is not None:
        return partial(Watching, before_backward, *recording)
    return partial(Recording, *recording)


def _nothing() -> None:
    pass
