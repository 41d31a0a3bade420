"""The few statistics that the report needs. Pure functions on plain numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

CONFIDENCE = 0.95
"""Level of every confidence interval."""


@dataclass(frozen=True)
class Summary:
    """Mean, sample standard deviation (n - 1; nan for one value) and number of values."""

    mean: float
    std: float
    n: int


def summarise(values: Iterable[float]) -> Summary | None:
    """Mean and spread of the finite values; None if there is none."""
    finite = [float(value) for value in values if value is not None and math.isfinite(value)]
    if not finite:
        return None
    std = float(np.std(finite, ddof=1)) if len(finite) > 1 else math.nan
    return Summary(float(np.mean(finite)), std, len(finite))


@dataclass(frozen=True)
class Ending:
    """How a state's last epochs went: means of the last `window` epochs and of the `window` before, std of the last."""

    before: float
    last: float
    fluctuation: float
    window: int

    @property
    def trend(self) -> float:
        """Percentage points gained from the one window to the next."""
        return self.last - self.before


def ending(accuracies: Sequence[float], window: int = 5) -> Ending | None:
    """Compare the last `window` epochs with the `window` before (smaller windows for short states, at least two epochs).

    Args:
        accuracies: percent, one per epoch in order.
    """
    finite = [value for value in accuracies if math.isfinite(value)]
    size = min(window, len(finite) // 2)
    if size < 2:
        return None
    last, before = finite[-size:], finite[-2 * size : -size]
    return Ending(float(np.mean(before)), float(np.mean(last)), float(np.std(last, ddof=1)), size)


def pareto_front(costs: Sequence[float], values: Sequence[float]) -> list[int]:
    """Indices of the points that no other point beats (lower or equal cost, higher or equal value, one of them strictly).

    Ordered by cost.
    """
    order = sorted(range(len(costs)), key=lambda i: (costs[i], -values[i]))
    front: list[int] = []
    best = -math.inf
    for index in order:
        if values[index] > best:
            front.append(index)
            best = values[index]
    return front


OUTLIER_POINTS = 2.0
"""A state is never called an outlier for less than this many percentage points."""

OUTLIER_SPREADS = 5.0
"""… nor for less than this many robust standard deviations of the state-to-state differences."""


@dataclass(frozen=True)
class Outlier:
    """A value far outside the range that its neighbours span; `position` is its place in the sequence."""

    position: int
    value: float
    low: float
    high: float


def outliers(rates: Sequence[float], accuracies: Sequence[float]) -> list[Outlier]:
    """Accuracies (percent, in the order of states) far outside the range of their four nearest neighbours.

    At the ends the range also takes in the straight line through the next two states, along the rate where the rate
    changes, so that a steepening decline is not called an outlier. Needs five states.
    """
    count = len(accuracies)
    if count < 5:
        return []
    steps = np.diff(accuracies)
    spread = 1.4826 * float(np.median(np.abs(steps - np.median(steps))))
    allowed = max(OUTLIER_POINTS, OUTLIER_SPREADS * spread)
    found = []
    for position, value in enumerate(accuracies):
        nearest = sorted((i for i in range(count) if i != position), key=lambda i: (abs(i - position), i))[:4]
        expected = [accuracies[i] for i in nearest]
        if position in (0, count - 1):
            near, far = (1, 2) if position == 0 else (count - 2, count - 3)
            stretch = _stretch(rates[position] - rates[near], rates[near] - rates[far])
            expected.append(accuracies[near] + stretch * (accuracies[near] - accuracies[far]))
        low, high = min(expected), max(expected)
        if value < low - allowed or value > high + allowed:
            found.append(Outlier(position, value, low, high))
    return found


def _stretch(step: float, previous: float) -> float:
    return step / previous if abs(previous) > 1e-9 else 1.0


MOST_IMAGES = 10_000_000
"""More test images than this no data set has."""


def fewest_images(accuracies: Iterable[float]) -> int | None:
    """The fewest images of which all these accuracies (percent) can be shares; None if there is no such number."""
    shares = [Fraction(value / 100).limit_denominator(100_000) for value in accuracies if math.isfinite(value)]
    images = math.lcm(*(share.denominator for share in shares)) if shares else 0
    return images if 1 < images <= MOST_IMAGES else None
