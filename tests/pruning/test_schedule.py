"""Rates per state against their formulas, in exact arithmetic where that is possible."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from prune.pruning.schedule import SHAPES, ScheduleOptions, epochs_before, epochs_of, number_kept, rates

STATES = st.integers(2, 60)
TARGET = st.floats(0.01, 0.99)
ROUNDING = 1e-12
"""A few float64 roundings."""

many = settings(derandomize=True, max_examples=60, deadline=None)


@many
@given(STATES, TARGET, st.sampled_from(SHAPES))
def test_ends_and_order(states: int, target: float, shape: str) -> None:
    found = rates(states, target, shape)
    assert len(found) == states
    assert (found[0], found[-1]) == (0, target)
    assert all(earlier <= later for earlier, later in pairwise(found))


@many
@given(STATES, TARGET)
def test_geometric_removes_the_same_share_of_what_is_left(states: int, target: float) -> None:
    left = [1 - rate for rate in rates(states, target)]
    share = math.exp(math.log(1 - target) / (states - 1))
    for before, after in pairwise(left):
        assert math.isclose(after, before * share, rel_tol=1e-9)  # 1 - p loses digits where p is near 1


@many
@given(STATES, TARGET)
def test_linear_removes_the_same_number(states: int, target: float) -> None:
    for state, rate in enumerate(rates(states, target, "linear")):
        assert math.isclose(rate, float(Fraction(target) * state / (states - 1)), abs_tol=ROUNDING)


@many
@given(STATES, TARGET)
def test_cubic_is_zhu_and_guptas(states: int, target: float) -> None:
    """s_t = s_f + (s_i - s_f)·(1 - (t - t_0)/(n·Δt))³ with s_i = 0 (arXiv 1710.01878, eq. 1)."""
    for state, rate in enumerate(rates(states, target, "cubic")):
        exact = Fraction(target) + (0 - Fraction(target)) * (1 - Fraction(state, states - 1)) ** 3
        assert math.isclose(rate, float(exact), abs_tol=ROUNDING)


def test_constant_prunes_all_at_once() -> None:
    assert rates(5, 0.7, "constant") == [0, 0.7, 0.7, 0.7, 0.7]


def test_values_worked_out_by_hand() -> None:
    assert rates(3, 0.75) == pytest.approx([0, 0.5, 0.75])
    assert rates(4, 0.875, "geometric") == pytest.approx([0, 0.5, 0.75, 0.875])
    assert rates(5, 0.8, "linear") == pytest.approx([0, 0.2, 0.4, 0.6, 0.8])
    assert rates(3, 0.8, "cubic") == pytest.approx([0, 0.7, 0.8])  # 0.8·(1 - 1/8)
    assert all(rates(2, 0.6, shape) == [0, 0.6] for shape in SHAPES)


@pytest.mark.parametrize(("states", "shape"), [(1, "linear"), (0, "geometric"), (5, "exponential")])
def test_nonsense_is_refused(states: int, shape: str) -> None:
    with pytest.raises(ValueError, match=r"states must be at least 2|shape must be one of"):
        rates(states, 0.7, shape)


@many
@given(st.integers(0, 100), st.integers(1, 20_000))
def test_number_kept_is_the_rounded_share(percent: int, units: int) -> None:
    kept = number_kept(percent / 100, units)
    exact = Fraction(100 - percent, 100) * units
    assert abs(kept - exact) <= Fraction(1, 2)


def test_seventy_percent_of_vit_small() -> None:
    assert number_kept(0.7, 72) == 22
    assert number_kept(0.7, 18_432) == 5_530
    assert number_kept(0.0, 72) == 72


def test_fillback_keeps_its_share_of_those_that_would_go() -> None:
    assert number_kept(0.7, 72, fillback_rate=0.1) == 22 + 5  # 0.1 of 50
    assert number_kept(0.7, 18_432, fillback_rate=0.5) == 5_530 + 6_451  # half of 12,902
    assert number_kept(0.0, 72, fillback_rate=0.5) == 72


SCHEDULE = st.builds(
    ScheduleOptions,
    states=st.integers(2, 12),
    epochs=st.integers(1, 7),
    epochs_first=st.none() | st.integers(0, 9),
    target=TARGET,
)


def every_epoch(schedule: ScheduleOptions) -> list[tuple[int, int]]:
    """(state, epoch) of each epoch of a run, one after the other, by walking through it."""
    walked = []
    for state in range(schedule.states):
        count = schedule.epochs
        if state == 0 and schedule.epochs_first is not None:
            count = schedule.epochs_first
        for epoch in range(count):
            walked.append((state, epoch))
    return walked


@many
@given(SCHEDULE)
def test_epochs_are_those_of_a_walk_through_the_run(schedule: ScheduleOptions) -> None:
    walked, section = every_epoch(schedule), schedule.model_dump(mode="json")
    for state in range(schedule.states):
        of_state = [place for place in walked if place[0] == state]
        assert epochs_of(section, state) == schedule.epochs_of(state) == len(of_state)
    for state in range(schedule.states + 1):
        assert epochs_before(section, state) == len([place for place in walked if place[0] < state])


def options(**keys: object) -> ScheduleOptions:
    return ScheduleOptions.model_validate({"states": 3, "epochs": 1, "target": 0.75, **keys})


def test_each_kind_has_its_own_curve_or_the_common_one() -> None:
    schedule = options(targets={"heads": 0.5}, shape="linear")
    assert schedule.curve() == schedule.curve("neurons") == rates(3, 0.75, "linear")
    assert schedule.curve("heads") == rates(3, 0.5, "linear")


def test_an_explicit_list_is_every_kinds_curve() -> None:
    schedule = options(targets={"heads": 0.5}, rates=[0, 0.1, 0.6])
    assert schedule.curve() == schedule.curve("heads") == schedule.curve("neurons") == [0, 0.1, 0.6]


@pytest.mark.parametrize("target", [0.0, 1.0, -0.1, 1.5])
def test_targets_lie_between_nothing_and_everything(target: float) -> None:
    with pytest.raises(ValidationError, match="target"):
        options(target=target)
    with pytest.raises(ValidationError, match="targets"):
        options(targets={"heads": target})
