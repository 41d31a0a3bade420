"""How often a page claims a difference where there is none: simulated sweeps, each with new seeds and new test images.

A model of method m, seed s and state t is right on image i if

    difficulty_i + image effect_mi + seed effect_ms + chance_msit < level

with independent normal terms: an image is as hard for all methods, some images suit some methods, some seeds go better, and the
rest is chance. No method is better than another, on all images and seeds that there could be.

`python -m tests.report.simulation` prints the rates of a grid of such settings, for the report's formula and for two that were
not chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from prune.report.paired import at_least_one_image, components, half_width, holm, p_value

Array = NDArray[np.float64]
Formula = Callable[[Array, Array, Array, int, int], Array]
"""(mean, A, B, seeds, images) → p-values."""


@dataclass(frozen=True)
class Setting:
    """Sizes of a sweep and standard deviations of what its accuracies are made of; difficulty has 1.

    Attributes:
        level: 1 is about 75 % right, 2.5 about 95 %.
        gain: added to the first method's level: a true difference.
    """

    seeds: int
    images: int = 400
    methods: int = 4
    level: float = 1.0
    image_effect: float = 0.0
    seed_effect: float = 0.0
    chance: float = 0.6
    gain: float = 0.0
    states: int = 2


def pages(setting: Setting, sweeps: int, seed: int) -> Iterator[Array]:
    """Differences (sweeps, verdicts, seeds, images) of every pair, in the last state and in the mean of states, in percent."""
    draw, size = np.random.default_rng(seed), setting
    for start in range(0, sweeps, 100):
        n = min(100, sweeps - start)

        def normal(std: float, *shape: int) -> NDArray[np.float32]:
            return std * draw.standard_normal(shape, dtype=np.float32)

        latent = normal(1.0, n, 1, 1, 1, size.images) + normal(size.image_effect, n, size.methods, 1, 1, size.images)
        latent = latent + normal(size.seed_effect, n, size.methods, size.seeds, 1, 1)
        level = size.level + size.gain * (np.arange(size.methods) == 0).reshape(1, -1, 1, 1, 1)
        right = latent + normal(size.chance, n, size.methods, size.seeds, size.states, size.images) < level
        kinds = (right[:, :, :, -1].astype(float), right.mean(axis=3))
        pairs = combinations(range(size.methods), 2)
        yield 100 * np.stack([kind[:, i] - kind[:, j] for i, j in pairs for kind in kinds], axis=1)


def reported(mean: Array, a: Array, b: Array, seeds: int, images: int) -> Array:
    """The p-value of the report."""
    return p_value(mean, a, at_least_one_image(a, b, seeds, images, 100 / images), seeds, images)


def seeds_only(mean: Array, a: Array, b: Array, seeds: int, images: int) -> Array:
    """Student's t over seeds, as if the test images were all that there are."""
    return np.asarray(2 * stats.t.sf(np.abs(mean) / np.sqrt(np.maximum(a, 1e-12)), seeds - 1))


def satterthwaite(mean: Array, a: Array, b: Array, seeds: int, images: int) -> Array:
    """t = mean / √(A + B) with Satterthwaite's degrees of freedom: Clark's (1973) min F′."""
    a, b = np.maximum(a, 1e-12), np.maximum(b, 1e-12)
    freedom = (a + b) ** 2 / (a**2 / (seeds - 1) + b**2 / (images - 1))
    return np.asarray(2 * stats.t.sf(np.abs(mean) / np.sqrt(a + b), freedom))


def claims(setting: Setting, sweeps: int, formula: Formula = reported, seed: int = 0) -> float:
    """The fraction of simulated pages that call at least one difference beyond noise."""
    found = []
    for differences in pages(setting, sweeps, seed):
        mean, a, b = components(differences)
        found.append((holm(formula(mean, a, b, setting.seeds, setting.images)) <= 0.05).any(axis=-1))
    return float(np.concatenate(found).mean())


def covered(setting: Setting, sweeps: int, seed: int = 0) -> float:
    """The fraction of single 95 % intervals that hold the true difference, zero."""
    inside = []
    for differences in pages(setting, sweeps, seed):
        mean, a, b = components(differences)
        b = at_least_one_image(a, b, setting.seeds, setting.images, 100 / setting.images)
        inside.append(np.abs(mean) <= half_width(a, b, setting.seeds, setting.images))
    return float(np.concatenate(inside).mean())


def grid() -> list[Setting]:
    """What the formula was chosen by."""
    places = product((3, 5), (400, 2000), (1.0, 2.5), (0.0, 0.5), (0.0, 0.05, 0.1, 0.3), (0.6,))
    return [Setting(s, n, level=level, image_effect=i, seed_effect=e, chance=c) for s, n, level, i, e, c in places]


if __name__ == "__main__":
    print("% of 2,000 pages that claim what is not there: reported | Satterthwaite | seeds only | % of intervals that cover")
    for each in grid():
        rates = [f"{100 * claims(each, 2000, formula):5.2f}" for formula in (reported, satterthwaite, seeds_only)]
        print(f"{' | '.join(rates)} | {100 * covered(each, 200):5.2f}  {each}", flush=True)
