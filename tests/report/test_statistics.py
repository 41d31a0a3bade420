"""The report's arithmetic against hand computations and against the reference experiment's numbers."""

from __future__ import annotations

import math

import numpy as np
import pytest

from prune.base.text import ranges
from prune.report.page import spans
from prune.report.paired import paired, sampling_by_image
from prune.report.statistics import ending, outliers, pareto_front, summarise
from prune.report.text import difference, large, mean_std, probability, signed, time_taken

REFERENCE = {
    "cifar10 refill": [
        80.34, 79.96, 80.76, 81.56, 81.70, 81.46, 81.30, 80.87, 81.22, 81.10, 81.26, 80.70, 80.78, 81.28, 81.52, 81.50,
    ],
    "cifar10 rsst": [
        80.10, 79.74, 80.20, 80.18, 80.30, 79.98, 80.14, 80.11, 80.28, 80.16, 79.74, 79.84, 80.16, 80.38, 79.78, 69.98,
    ],
    "cifar100 refill": [53.59, 53.37, 54.89, 54.14, 53.75, 53.12, 53.28, 52.04, 52.42, 52.42, 52.20, 51.59, 52.31, 52.26],
    "cifar100 rsst": [53.74, 53.90, 53.37, 53.98, 54.03, 53.59, 53.69, 54.22, 54.52, 53.70, 54.06, 53.87, 53.47, 52.11],
}  # fmt: skip
"""State by state, as the reference report prints it."""


def test_mean_and_sample_standard_deviation() -> None:
    found = summarise([80.0, 81.0, 82.0])
    assert found is not None
    assert (found.mean, found.std, found.n) == (81.0, 1.0, 3)
    assert summarise([math.nan]) is None
    one = summarise([5.0, math.nan])
    assert one is not None
    assert one.n == 1
    assert math.isnan(one.std)


def test_ending_compares_the_last_five_epochs_with_the_five_before() -> None:
    found = ending([0, 0, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79])
    assert found is not None
    assert (found.before, found.last, found.trend, found.window) == (72.0, 77.0, 5.0, 5)
    assert found.fluctuation == pytest.approx(math.sqrt(2.5))


def test_ending_of_a_short_state_takes_a_smaller_window() -> None:
    found = ending([70, 72, 74, 76, 78])
    assert found is not None
    assert (found.window, found.before, found.last) == (2, 73.0, 77.0)
    assert ending([70, 72, 74]) is None


def test_pareto_front() -> None:
    #        dominated by 1   front   equal cost, lower   front
    costs, values = [3.0, 2.0, 2.0, 1.0], [80.0, 81.0, 79.0, 70.0]
    assert pareto_front(costs, values) == [3, 1]


def test_the_references_outlier_is_found_and_nothing_else() -> None:
    found = {name: [o.position for o in outliers([0.7] * len(values[1:]), values[1:])] for name, values in REFERENCE.items()}
    assert found == {"cifar10 refill": [], "cifar10 rsst": [14], "cifar100 refill": [], "cifar100 rsst": []}


def test_a_steepening_decline_is_no_outlier() -> None:
    assert outliers([0.1, 0.3, 0.5, 0.7, 0.8, 0.9], [90, 89, 87, 83, 75, 59]) == []


def test_a_jump_of_the_rate_is_no_outlier() -> None:
    assert outliers([0.1, 0.1, 0.1, 0.7, 0.7, 0.7], [90, 90.1, 89.9, 70, 70.2, 70.1]) == []


def test_a_dip_in_the_middle_is_an_outlier() -> None:
    values = [80.1, 80.0, 80.2, 70.0, 80.1, 80.3, 80.0]
    found = outliers([0.1 * i for i in range(7)], values)
    assert [(o.position, o.value) for o in found] == [(3, 70.0)]


def test_text() -> None:
    assert mean_std(summarise([80.0, 81.0, 82.0]), expected=3) == "81.00 ± 1.00"
    assert mean_std(summarise([80.0]), expected=3) == "80.00 (n = 1)"
    assert mean_std(None) == "–"
    assert [signed(1.066), signed(-1.066), signed(-0.001)] == ["+1.07", "−1.07", "0.00"]
    assert difference(paired({0: 1.5}, {0: 0.5})) == "+1.00 (1 seed)"
    assert difference(paired({0: 1.5, 1: 2.0}, {0: 1.5, 1: 2.0})) == "identical"
    # t(0.975, 2 degrees of freedom) = 4.302653; 4.302653 · 0.5 / √3 = 1.242069; all images alike: their part is 0
    everything = [np.ones(10_000)] * 3
    sampling = sampling_by_image(everything, everything)
    assert difference(paired({0: 1.0, 1: 1.5, 2: 2.0}, {0: 0, 1: 0, 2: 0}, sampling)) == "+1.50 [+0.26, +2.74]"
    assert difference(paired({0: 1.0, 1: 1.5, 2: 2.0}, {0: 0, 1: 0, 2: 0})) == "+1.50 (3 seeds)"
    assert [probability(p) for p in (None, 1e-6, 0.0123, 0.5, 0.999)] == ["–", "< 0.0001", "0.012", "0.5", "1"]
    assert [large(21_342_346), large(1_420_309_248), large(67_210), large(12)] == ["21.34 M", "1.42 G", "67.21 k", "12"]
    assert [large(2.3e13), large(4.601e17), large(1.5e18)] == ["23.00 T", "460.10 P", "1.50 E"]
    assert [time_taken(11_160), time_taken(186), time_taken(3.14), time_taken(0.02)] == ["3.1 h", "3.1 min", "3.1 s", "20 ms"]
    assert ranges([3, 1, 2, 7, 14, 15]) == "1–3, 7, 14–15"


def test_runs_in_a_row_are_shown_as_one_link() -> None:
    assert spans(["R4", "R5", "R6", "R1", "R2"]) == [("R4", "R4–R6"), ("R1", "R1"), ("R2", "R2")]
    assert spans([]) == []
