"""The few statistics that the benchmarks need. Medians, as a busy machine makes outliers on one side only."""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Spread", "exponent", "ratios", "spread"]


class Spread(NamedTuple):
    """A median between its quartiles."""

    median: float
    low: float
    high: float


def spread(samples: Sequence[float]) -> Spread:
    """Of at least one sample; a single one is its own quartiles.

    Raises:
        statistics.StatisticsError: there is no sample.
    """
    if len(samples) == 1:
        return Spread(samples[0], samples[0], samples[0])
    low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
    return Spread(median, low, high)


def ratios(samples: dict[int, float], bare: dict[int, float]) -> Spread:
    """Of a mode's time to the bare run's in the same round, so that a slow moment of the machine cancels out.

    Args:
        samples: a time for each round that the mode took part in.
        bare: likewise; it took part in all of these.
    """
    return spread([time / bare[number] for number, time in samples.items()])


def exponent(costs: dict[int, float]) -> float | None:
    """How cost grows: ``k`` where it grows as ``size ** k``. Least squares between logarithms, over the upper two
    decades of sizes, as fixed costs hide the growth below. None of fewer than two sizes.

    Args:
        costs: the positive cost of each size.
    """
    points = [(math.log(size), math.log(cost)) for size, cost in costs.items() if size * 100 >= max(costs)]
    if len(points) < 2:
        return None
    slope, _ = statistics.linear_regression([x for x, _ in points], [y for _, y in points])
    return slope
