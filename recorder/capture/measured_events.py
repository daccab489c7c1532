"""What was measured, as events have it."""

from recorder.capture.tensor_stats import Measure
from recorder.events.types import Digest, GradStats, ValueStats

__all__ = ["grad_stats", "value_stats"]


def grad_stats(measure: Measure | None) -> GradStats | None:
    """Of a gradient; None if it could not be measured or read."""
    numbers = None if measure is None else measure.numbers()
    return None if measure is None or numbers is None else GradStats(*numbers, _digest(measure))


def value_stats(measure: Measure) -> ValueStats | None:
    """Of a value of forward; the same."""
    numbers, mean = measure.numbers(), measure.mean()
    if numbers is None or mean is None:
        return None
    norm, largest, nan, inf, zeros = numbers
    return ValueStats(norm, largest, mean, nan, inf, zeros, _digest(measure))


def _digest(measure: Measure) -> Digest | None:
    digest = measure.digest()
    if digest is None:
        return None
    sample, sketch, bits = digest
    return Digest(tuple(sample), tuple(sketch), bits)
