"""Differences paired by seed and image: against hand computations, and over simulated sweeps that have none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from prune.report.paired import (
    Paired,
    at_least_one_image,
    components,
    half_width,
    holm,
    p_value,
    paired,
    sampling_by_accuracies,
    sampling_by_image,
)
from prune.report.statistics import fewest_images
from tests.report.simulation import Setting, claims, covered, satterthwaite, seeds_only

IMAGES = 395


def judge(first: np.ndarray, second: np.ndarray) -> Paired:
    """Compare two arrays (seeds, images) of what was right."""
    sides = [{seed: 100 * float(right.mean()) for seed, right in enumerate(side)} for side in (first, second)]
    found = paired(sides[0], sides[1], sampling_by_image(list(first), list(second)))
    assert found is not None
    return found


def test_components_and_interval_by_hand() -> None:
    """Three seeds, four images; the variances written out."""
    d = np.array([[1, 0, 0, 0], [1, 0, 0, -1], [1, 1, 0, 0]])
    by_seed, by_image = [1 / 4, 0.0, 2 / 4], [1.0, 1 / 3, 0.0, -1 / 3]
    mean = sum(by_seed) / 3
    a = sum((x - mean) ** 2 for x in by_seed) / 2 / 3
    b = sum((x - mean) ** 2 for x in by_image) / 3 / 4
    assert [float(value) for value in components(d)] == pytest.approx([mean, a, b])
    # t(0.975) is 4.302653 with 2 degrees of freedom and 3.182446 with 3
    half = math.sqrt(4.302653**2 * a + 3.182446**2 * b)
    assert float(half_width(a, b, 3, 4)) == pytest.approx(half, rel=1e-6)
    found = judge((d > 0).astype(float), (d < 0).astype(float))
    assert found.interval == pytest.approx((100 * (mean - half), 100 * (mean + half)), rel=1e-6)


def test_without_an_error_of_the_images_it_is_students_t() -> None:
    differences = np.array([1.0, 1.5, 2.0, 0.7])
    a = differences.var(ddof=1) / 4
    assert float(p_value(differences.mean(), a, 0.0, 4, 10_000)) == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)


def test_without_a_spread_of_the_seeds_it_is_the_paired_t_test_over_images() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.random(500) < 0.84, draw.random(500) < 0.78
    found = judge(np.stack([first] * 3), np.stack([second] * 3))
    assert found.p == pytest.approx(stats.ttest_rel(first.astype(float), second.astype(float)).pvalue)


def test_interval_and_p_value_agree() -> None:
    """The interval that misses with probability p ends at zero."""
    for mean, a, b in ((1.2, 0.1, 0.3), (0.4, 0.2, 0.01), (3.0, 0.01, 0.5)):
        p = float(p_value(mean, a, b, 3, 400))
        assert float(half_width(a, b, 3, 400, p)) == pytest.approx(mean)


def test_one_image_in_three_seeds_is_no_difference() -> None:
    """Each seed gains one image of 395: by the seeds alone +0.25 [+0.25, +0.25]."""
    base = np.zeros((3, IMAGES), dtype=bool)
    base[:, :370] = True
    same, other = base.copy(), base.copy()
    same[:, 380] = True
    other[range(3), [380, 381, 382]] = True
    for gained in (same, other):
        found = judge(gained, base)
        assert found.std == pytest.approx(0, abs=1e-12)
        assert found.interval is not None
        low, high = found.interval
        assert low < 0 < high
        assert high - low > 100 / IMAGES
        assert found.p is not None
        assert found.p > 0.05


def test_no_interval_is_narrower_than_one_image() -> None:
    """Were all images answered alike there would be no spread at all."""
    b = at_least_one_image(0.0, 0.0, 3, IMAGES, 100 / IMAGES)
    assert 2 * float(half_width(0.0, b, 3, IMAGES)) == pytest.approx(100 / IMAGES)
    assert float(at_least_one_image(0.0, 5.0, 3, IMAGES, 100 / IMAGES)) == 5.0
    found = judge(np.ones((3, IMAGES)), np.ones((3, IMAGES)))
    assert found.interval == pytest.approx((-50 / IMAGES, 50 / IMAGES))
    assert found.p == 1.0


def test_more_seeds_do_not_shrink_the_images_part() -> None:
    draw = np.random.default_rng(1)
    first, second = draw.random(400) < 0.9, draw.random(400) < 0.88
    halves = []
    for seeds in (3, 300):
        found = judge(np.stack([first] * seeds), np.stack([second] * seeds))
        assert found.interval is not None
        halves.append(found.interval[1] - found.mean)
    assert halves[0] == pytest.approx(halves[1])


def test_a_clear_difference_is_one() -> None:
    draw = np.random.default_rng(2)
    found = judge(draw.random((5, 400)) < 0.92, draw.random((5, 400)) < 0.70)
    assert found.p is not None
    assert found.p < 0.01


def test_pairing_uses_the_seeds_own_level() -> None:
    """Seeds that differ by 10 points from one another still show a small, steady difference."""
    sampling = sampling_by_accuracies(90.0, 90.0, 10_000_000)
    found = paired({0: 70.5, 1: 80.4, 2: 90.6}, {0: 70.0, 1: 80.0, 2: 90.0}, sampling)
    assert found is not None
    assert found.p is not None
    assert found.p < 0.05


def test_without_predictions_the_images_part_is_that_of_independent_errors() -> None:
    draw = np.random.default_rng(3)
    first, second = draw.random((3, 100_000)) < 0.9, draw.random((3, 100_000)) < 0.8
    by_image = sampling_by_image([first[0]], [second[0]])  # one seed: nothing is averaged over seeds
    bound = sampling_by_accuracies(90.0, 80.0, 100_000)
    assert bound.variance == pytest.approx(100**2 * (0.9 * 0.1 + 0.8 * 0.2) / 100_000)
    assert by_image.variance == pytest.approx(bound.variance, rel=0.02)
    assert sampling_by_image(list(first), list(second)).variance < bound.variance
    assert sampling_by_image([first[0]], [first[0] & second[0]]).variance < bound.variance


def test_no_interval_below_three_seeds_or_where_nothing_tells_the_number_of_images() -> None:
    sampling = sampling_by_accuracies(80.0, 80.0, 1000)
    two = paired({0: 1.0, 1: 2.0}, {0: 0.0, 1: 0.0}, sampling)
    three = paired({0: 1.0, 1: 2.0, 2: 3.0}, {0: 0.0, 1: 0.0, 2: 0.0})
    for found in (two, three):
        assert found is not None
        assert found.interval is None
        assert found.p is None
    assert paired({0: 1.0}, {1: 1.0}) is None


def test_the_fewest_images_that_give_the_accuracies() -> None:
    assert fewest_images([100 * n / IMAGES for n in (371, 380, 382)]) == IMAGES
    assert fewest_images([81.37, 90.01, math.nan]) == 10_000
    assert fewest_images([100 * math.sqrt(0.5), 100 * math.sqrt(0.3), 100 * math.sqrt(0.7)]) is None
    assert fewest_images([]) is None


def test_holm_by_hand() -> None:
    """0.01·4; 0.02·3; 0.03·2, raised to the one before; 0.04, likewise. The order does not matter, and nothing exceeds 1."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]) == pytest.approx([1.0, 1.0])
    assert holm([[0.01, 0.2], [0.5, 0.03]]) == pytest.approx(np.array([[0.02, 0.2], [0.5, 0.06]]))


SWEEPS = 2000
ERROR = 2 * math.sqrt(0.05 * 0.95 / SWEEPS)
"""Of a rate of 5 % over so many sweeps: two standard errors."""


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    "effects",
    [{"image_effect": 0.5}, {"image_effect": 0.5, "seed_effect": 0.3}, {"seed_effect": 0.3}],
    ids=["images", "images and seeds", "seeds"],
)
def test_at_most_one_page_in_twenty_claims_a_difference_where_there_is_none(seeds: int, effects: dict[str, float]) -> None:
    assert claims(Setting(seeds, **effects), SWEEPS) <= 0.05 + ERROR  # type: ignore[arg-type]


def test_the_simulation_finds_what_knows_of_seeds_only() -> None:
    assert claims(Setting(5, image_effect=0.5, chance=0.3), 400, seeds_only) > 0.25


def test_the_simulation_finds_that_satterthwaites_degrees_of_freedom_claim_too_much() -> None:
    """Of three seeds a spread that is small by chance is taken for a certain one."""
    assert claims(Setting(3, seed_effect=0.3), 400, satterthwaite) > 0.08


def test_single_intervals_cover() -> None:
    assert covered(Setting(3, image_effect=0.5, seed_effect=0.3), 500) >= 0.94


def test_pages_with_a_difference_claim_it() -> None:
    assert claims(Setting(5, image_effect=0.3, gain=0.6), 200) > 0.9
