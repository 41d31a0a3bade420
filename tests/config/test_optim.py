"""Learning rates against torch's own schedulers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.config.optim import OptimConfig, learning_rate


def config(**changes: Any) -> OptimConfig:
    values = {"name": "sgd", "lr": 0.02, "weight_decay": 0.01, "batch_size": 4, **changes}
    return OptimConfig.model_validate(values)


STEPS = st.integers(1, 300)


@settings(derandomize=True, max_examples=30, deadline=None)
@given(STEPS, st.integers(0, 50), st.sampled_from([0.0, 0.01, 0.5]))
def test_cosine_is_torchs_cosine_after_a_linear_warm_up(steps: int, warmup: int, final: float) -> None:
    total = steps + warmup
    rates = [learning_rate(config(lr_schedule="cosine", lr_final=final), step, total, warmup) for step in range(total)]
    assert rates[:warmup] == pytest.approx([0.02 * (step + 1) / warmup for step in range(warmup)])
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.02)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps, eta_min=final * 0.02)
    expected = []
    for _ in range(steps):
        expected.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    # Torch computes each rate from the one before, so its roundings add up over the steps.
    assert rates[warmup:] == pytest.approx(expected, rel=1e-6, abs=1e-9)


def test_cosine_by_hand() -> None:
    cosine = config(lr_schedule="cosine", lr_final=0.1)
    assert learning_rate(cosine, 0, 100, 0) == pytest.approx(0.02)
    assert learning_rate(cosine, 50, 100, 0) == pytest.approx(0.02 * (0.1 + 0.9 / 2))
    assert learning_rate(cosine, 25, 100, 0) == pytest.approx(0.02 * (0.1 + 0.9 * (1 + math.sqrt(0.5)) / 2))
    assert learning_rate(cosine, 100, 100, 0) == pytest.approx(0.002)


def test_constant_with_and_without_warm_up() -> None:
    assert {learning_rate(config(), step, 50, 0) for step in range(50)} == {0.02}
    warm = [learning_rate(config(), step, 50, 4) for step in range(50)]
    assert warm[:4] == pytest.approx([0.005, 0.01, 0.015, 0.02])
    assert set(warm[4:]) == {0.02}
