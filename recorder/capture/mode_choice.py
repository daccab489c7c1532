"""Which mode a recording puts on torch's stack: chosen once, so that its calls need not ask what was wanted."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from recorder.capture.backward_hooks import Backward
from recorder.capture.function_mode import Recording, Watching
from recorder.capture.graded_functions import Graded, GradedMeasuring
from recorder.capture.mode_stack import Mode
from recorder.capture.optimizer_steps import GradedMeasuringStepping, GradedStepping
from recorder.capture.value_hooks import Measuring
from recorder.capture.watchers import Watchers

__all__ = ["mode_maker"]


def mode_maker(
    before_backward: Callable[[], None] | None,
    watchers: Watchers,
    grading: tuple[Iterator[int], Backward] | None,
    *recording: Any,
) -> Callable[[], Mode]:
    """Makes the mode. ``recording`` is what `Recording` is given; ``before_backward`` and ``watchers`` may be wanted,
    and that gradients are recorded at functions, as they are where memory is watched: then ``grading`` gives the
    numbers of calls, and what watches backward.
    """
    values, memory = watchers.values, watchers.memory
    if grading is not None:
        measuring = () if values is None else (values.look,)
        rest = *grading, *measuring, before_backward or _nothing, *recording
        if memory is not None:
            return partial(GradedStepping if values is None else GradedMeasuringStepping, memory.stepped, *rest)
        return partial(Graded if values is None else GradedMeasuring, *rest)
    if values is not None:
        return partial(Measuring, values.look, before_backward, *recording)
    if before_backward is not None:
        return partial(Watching, before_backward, *recording)
    return partial(Recording, *recording)


def _nothing() -> None:
    pass
