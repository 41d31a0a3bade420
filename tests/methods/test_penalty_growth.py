"""RSST's penalty: λ against closed forms, a simulated weight against torch's optimisers, the smallest ceiling by trying all."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.methods.penalty_growth import NEAR_ZERO, SCHEDULES, growth, simulate, smallest_ceiling

E = math.e
CLOSED_FORMS = {  # (u, λ/g), worked out from the formulas
    "exp_custom_exponents": [(0.25, (E ** (1 / 256) - 1) / (E - 1)), (0.5, (E ** (1 / 16) - 1) / (E - 1)), (1.0, 1.0)],
    "exp_custom": [(0.25, (E**0.25 - 1) / (E - 1)), (0.5, (math.sqrt(E) - 1) / (E - 1)), (1.0, 1.0)],
    "x": [(0.25, 0.25), (0.5, 0.5), (1.0, 1.0)],
    "x^2": [(0.25, 0.0625), (0.5, 0.25), (1.0, 1.0)],
    "x^3": [(0.25, 0.015625), (0.5, 0.125), (1.0, 1.0)],
    "exp": [(0.25, 1e-3), (0.5, 1e-2), (1.0, 1.0)],
}


@pytest.mark.parametrize("schedule", CLOSED_FORMS)
def test_growth_against_closed_forms(schedule: str) -> None:
    """u = (step + 1)/ramp_steps: step 24 of 100 is a quarter, 99 the end; after the ramp λ stays at the ceiling."""
    for u, expected in CLOSED_FORMS[schedule]:
        assert growth(schedule, 4, round(100 * u) - 1, 100) == pytest.approx(expected, rel=1e-12)
    assert growth(schedule, 4, 99, 100) == growth(schedule, 4, 100, 100) == growth(schedule, 4, 10_000, 100) == 1.0
    assert growth(schedule, 4, 0, 1) == 1.0
    steps = [growth(schedule, 4, step, 100) for step in range(100)]
    assert all(earlier < later for earlier, later in pairwise(steps))
    assert steps[0] > 0
    assert CLOSED_FORMS.keys() == SCHEDULES.keys()


def test_other_exponents() -> None:
    assert growth("exp_custom_exponents", 2, 49, 100) == pytest.approx((E**0.25 - 1) / (E - 1))
    assert growth("exp_custom_exponents", 1, 49, 100) == growth("exp_custom", 4, 49, 100)


def test_exp_grows_by_the_same_factor_each_step() -> None:
    steps = [growth("exp", 4, step, 50) for step in range(-1, 50)]
    assert steps[0] == pytest.approx(1e-4)  # where the ramp would start
    factors = [later / earlier for earlier, later in pairwise(steps)]
    assert factors == pytest.approx([10 ** (4 / 50)] * 50)


lists = st.lists(st.tuples(st.floats(0, 1), st.floats(1e-3, 0.3)), min_size=1, max_size=40)


@settings(derandomize=True, max_examples=40, deadline=None)
@given(lists, st.floats(0.01, 3), st.sampled_from([0.0, 0.5, 0.9, None]))
def test_simulation_is_what_torchs_optimisers_do(
    steps: list[tuple[float, float]], ceiling: float, momentum: float | None
) -> None:
    """SGD with the gradient λ·w; AdamW with no gradient, whose own decoupled decay is w·(1 - lr·λ)."""
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer: torch.optim.Optimizer = (
        torch.optim.AdamW([weight], lr=1.0) if momentum is None else torch.optim.SGD([weight], lr=1.0, momentum=momentum)
    )
    path = [1.0]
    for share, lr in steps:
        group: dict[str, Any] = optimizer.param_groups[0]
        group["lr"], strength = lr, ceiling * share
        if momentum is None:
            group["weight_decay"], weight.grad = strength, torch.zeros_like(weight)
        else:
            weight.grad = strength * weight.detach()
        optimizer.step()
        path.append(weight.item())
    decay = simulate([share for share, _ in steps], [lr for _, lr in steps], ceiling, momentum)
    assert decay.final == pytest.approx(abs(path[-1]), rel=1e-9, abs=1e-12)
    assert decay.largest == pytest.approx(max(abs(value) for value in path), rel=1e-9)
    assert decay.lowest == pytest.approx(min(path), rel=1e-9, abs=1e-12)
    assert decay.strongest == pytest.approx(max(ceiling * share * lr for share, lr in steps))


def scan(growths: list[float], lrs: list[float], momentum: float | None) -> float | None:
    """The smallest ceiling that suffices, by trying every one at 0.05 % apart from 1e-6 to 1e9."""
    ceilings = np.exp(np.arange(math.log(1e-6), math.log(1e9), math.log(1.0005)))
    weight, velocity = np.ones_like(ceilings), np.zeros_like(ceilings)
    stable = np.ones_like(ceilings, dtype=bool)
    with np.errstate(over="ignore", invalid="ignore"):  # far too large ceilings blow up, as they should
        for share, lr in zip(growths, lrs, strict=True):
            if momentum is None:
                weight, stable = weight * (1 - lr * ceilings * share), stable & (lr * ceilings * share < 1)
            else:
                velocity = momentum * velocity + ceilings * share * weight
                weight = weight - lr * velocity
            stable &= np.abs(weight) <= 1
        enough = stable & (np.abs(weight) <= 0.01)
    return float(ceilings[enough][0]) if enough.any() else None


@pytest.mark.parametrize("momentum", [None, 0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("steps", [1, 2, 7, 60, 445])
@pytest.mark.parametrize("schedule", ["exp_custom_exponents", "x", "exp"])
def test_smallest_ceiling_is_the_smallest(schedule: str, steps: int, momentum: float | None) -> None:
    """Also where momentum makes the weight shoot past zero, so that larger ceilings suffice again and again."""
    growths = [growth(schedule, 4, step, steps) for step in range(steps)]
    cosine = [0.005 * (1 + math.cos(math.pi * step / (1.33 * steps))) for step in range(steps)]
    found, expected = smallest_ceiling(growths, cosine, momentum), scan(growths, cosine, momentum)
    assert (found is None) == (expected is None)
    if found is not None:
        assert found == pytest.approx(expected, rel=2e-3)
        decay = simulate(growths, cosine, found, momentum)
        assert decay.final <= NEAR_ZERO
        assert decay.stable(decoupled=momentum is None)


def test_no_ceiling_suffices_without_steps_to_take() -> None:
    assert smallest_ceiling([1.0, 1.0], [0.0, 0.0], 0.9) is None


def test_ramp_steps_that_a_ceiling_of_one_needs() -> None:
    """SGD, lr 0.01, momentum 0.9, the default schedule: 195 ramp steps are the first to suffice for a ceiling of 1.

    From 240 to 295 the weight, shot past zero, is just above 0.01 again; any longer ramp suffices.
    """

    def final(steps: int) -> float:
        weight, velocity = 1.0, 0.0
        for step in range(steps):
            velocity = 0.9 * velocity + (E ** (((step + 1) / steps) ** 4) - 1) / (E - 1) * weight
            weight -= 0.01 * velocity
        return abs(weight)

    def smallest(steps: int) -> float | None:
        return smallest_ceiling([growth("exp_custom_exponents", 4, step, steps) for step in range(steps)], [0.01] * steps, 0.9)

    assert [steps for steps in range(1, 500) if final(steps) > 0.01] == [*range(1, 195), *range(240, 296)]
    before, at = smallest(194), smallest(195)
    assert before is not None
    assert at is not None
    assert at <= 1 < before
