"""Differences of two groups of runs, paired by seed and by test image: interval, p-value, Holm's correction.

d_si is what seed s gains on test image i from the one group to the other. The same N images serve all S seeds, so the mean
difference has two sources of error, and more seeds shrink only the first:

    A = sample variance over seeds of the seeds' mean differences / S        S - 1 degrees of freedom
    B = sample variance over images of the images' mean differences / N      N - 1

docs/report.md says where the formulas come from, and what they were chosen by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit  # type: ignore[import-untyped]

from prune.report.statistics import CONFIDENCE, summarise

SEEDS_FOR_INTERVAL = 3
"""With fewer paired seeds an interval says next to nothing, so none is given."""

SMALLEST_P = 1e-12
"""p-values are found down to here."""

Array = NDArray[Any]


def components(differences: ArrayLike) -> tuple[Array, Array, Array]:
    """Mean, A and B of differences d_si, an array (…, seeds, images)."""
    d = np.asarray(differences, dtype=float)
    by_seed, by_image = d.mean(axis=-1), d.mean(axis=-2)
    seeds, images = d.shape[-2:]
    return by_seed.mean(axis=-1), by_seed.var(axis=-1, ddof=1) / seeds, by_image.var(axis=-1, ddof=1) / images


def half_width(a: ArrayLike, b: ArrayLike, seeds: int, images: int, p: ArrayLike = 1 - CONFIDENCE) -> Array:
    """Half the width of the interval that misses with probability p: the two t intervals' half-widths, squared and added."""
    tail = np.asarray(p) / 2
    return np.sqrt(np.square(stdtrit(seeds - 1, tail)) * a + np.square(stdtrit(images - 1, tail)) * b)


def at_least_one_image(a: ArrayLike, b: ArrayLike, seeds: int, images: int, image: float) -> Array:
    """B, raised where the interval would be narrower than one image, which is worth `image` (half of it on each side)."""
    lacking = np.maximum(0.0, np.square(image / 2) - np.square(half_width(a, b, seeds, images)))
    return np.asarray(b + lacking / np.square(stdtrit(images - 1, (1 - CONFIDENCE) / 2)))


def p_value(mean: ArrayLike, a: ArrayLike, b: ArrayLike, seeds: int, images: int) -> Array:
    """The smallest p whose interval excludes zero: two-sided, by bisection, from `SMALLEST_P` to 1."""
    size = np.abs(np.asarray(mean, dtype=float))
    low, high = np.full(size.shape, math.log(SMALLEST_P)), np.zeros(size.shape)
    for _ in range(50):
        middle = (low + high) / 2
        wide = half_width(a, b, seeds, images, np.exp(middle)) > size
        low, high = np.where(wide, middle, low), np.where(wide, high, middle)
    return np.where(size > 0, np.exp(high), 1.0)


def holm(p: ArrayLike) -> Array:
    """Holm's adjusted p-values (…, comparisons): at most 5 % of families without a difference have one of at most 0.05."""
    values = np.asarray(p, dtype=float)
    order = np.argsort(values, axis=-1)
    factors = values.shape[-1] - np.arange(values.shape[-1])
    ascending = np.maximum.accumulate(np.take_along_axis(values, order, axis=-1) * factors, axis=-1)
    adjusted = np.empty_like(values)
    np.put_along_axis(adjusted, order, np.minimum(1.0, ascending), axis=-1)
    return adjusted


@dataclass(frozen=True)
class Sampling:
    """What is known of the test images' part in the error, in squared percentage points.

    Attributes:
        variance: B.
        images: N.
        known_by: `images`, from the predictions for each image; `accuracies`, where predictions are missing: what B would be if
            the two groups' errors were independent, an upper bound unless one tends to be wrong where the other is right.
    """

    variance: float
    images: int
    known_by: Literal["images", "accuracies"]


@dataclass(frozen=True)
class Paired:
    """Differences of two groups of runs, seed by seed, in percentage points.

    Attributes:
        differences: seed → first minus second, for the seeds that both have.
        mean, std, n: of the differences.
        sampling: None where the number of test images is not known either.
    """

    differences: Mapping[int, float]
    mean: float
    std: float
    n: int
    sampling: Sampling | None

    @property
    def judged(self) -> bool:
        """Whether there are seeds enough, and an error of the test images, for an interval and a p-value."""
        return self.n >= SEEDS_FOR_INTERVAL and self.sampling is not None

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Two-sided 95 % confidence interval of the mean; None where it is not judged."""
        if not self.judged:
            return None
        half = float(half_width(*self._error))
        return self.mean - half, self.mean + half

    @cached_property
    def p(self) -> float | None:
        """Two-sided p-value of no difference; None where it is not judged."""
        return float(p_value(self.mean, *self._error)) if self.judged else None

    @property
    def _error(self) -> tuple[float, float, int, int]:
        assert self.sampling is not None
        a, images = self.std**2 / self.n, self.sampling.images
        b = at_least_one_image(a, self.sampling.variance, self.n, images, 100 / images)
        return a, float(b), self.n, images


def paired(first: Mapping[int, float], second: Mapping[int, float], sampling: Sampling | None = None) -> Paired | None:
    """Compare two groups on the seeds they share (seed → percent); None if they share none."""
    differences = {seed: first[seed] - second[seed] for seed in sorted(set(first) & set(second))}
    summary = summarise(differences.values())
    return None if summary is None else Paired(differences, summary.mean, summary.std, summary.n, sampling)


def sampling_by_image(first: Sequence[Array], second: Sequence[Array]) -> Sampling:
    """From what is right of each image (a fraction: of the states averaged over), one array a seed, the same images in all."""
    by_image = 100 * (np.mean(first, axis=0) - np.mean(second, axis=0))
    return Sampling(float(by_image.var(ddof=1)) / len(by_image), len(by_image), "images")


def sampling_by_accuracies(first: float, second: float, images: int) -> Sampling:
    """From two mean accuracies in percent, as if errors were independent: for each p·(1 - p)/N, the most a mean of p allows."""
    return Sampling(sum(p * (100 - p) for p in (first, second)) / images, images, "accuracies")
