"""RSST: its ramp, the checks of its penalty, and what soft pruning buys in real runs."""

from __future__ import annotations

import logging
import math

import pytest

from prune.base.errors import UserError
from prune.base.files import read_jsonl
from prune.engine.cell import run_cell
from prune.methods.penalty_growth import growth, simulate
from prune.methods.rsst import RSST, Ramp
from tests.conftest import Compose
from tests.engine.runs import RunTiny, finished
from tests.methods.test_penalty_growth import scan


def prepared(compose: Compose, steps_per_epoch: int, *overrides: str) -> RSST:
    config = compose("method=rsst", "dataset=digits", "model=vit_micro", *overrides)
    method = RSST(config, config.method)
    method.prepare(steps_per_epoch)
    return method


@pytest.mark.parametrize(
    ("ramp", "expected"),
    [
        (0.75, Ramp(60, 5)),
        (0.7, Ramp(56, 5)),  # ends within epoch 5, removed at its end
        (1, Ramp(80, 7)),
        (0.999, Ramp(70, 6)),  # one epoch must be left to recover in
        (1e-9, Ramp(1, 0)),
    ],
)
def test_ramp_and_removal(compose: Compose, ramp: float, expected: Ramp) -> None:
    assert prepared(compose, 10, "schedule.epochs=8", f"method.ramp={ramp}").ramps == {8: expected}


def test_a_longer_last_state_has_a_longer_ramp(compose: Compose) -> None:
    method = prepared(compose, 10, "schedule.epochs=8", "schedule.epochs_last=20", "schedule.epochs_first=3")
    assert method.ramps == {8: Ramp(60, 5), 20: Ramp(150, 14)}
    lengths = {"short": (8, 8), "last longer": (8, 20), "last shorter": (20, 8), "long": (20, 20)}
    found = {
        name: prepared(
            compose, 10, "method.penalty.ceiling=auto", f"schedule.epochs={epochs}", f"schedule.epochs_last={last}"
        ).ceiling
        for name, (epochs, last) in lengths.items()
    }
    # The shorter states need the stronger penalty.
    assert found["short"] == found["last longer"] == found["last shorter"] > found["long"]


def test_unstable_ceiling_is_an_error_that_names_the_keys(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"method\.penalty\.ceiling=.*optim\.lr="):
        prepared(compose, 10, "method.penalty.ceiling=1e5")
    with pytest.raises(UserError, match=r"method\.penalty\.ceiling=.*optim\.lr="):
        prepared(compose, 10, "optim=adamw", "method.penalty.ceiling=1e4")


def test_weak_ceiling_is_a_warning_with_one_that_suffices(compose: Compose, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        prepared(compose, 10, "schedule.epochs=20", "method.penalty.ceiling=0.5")
    [record] = caplog.records
    suggested = float(record.getMessage().split("suffices is ")[1].split(";")[0].rstrip("."))
    growths = [growth("exp_custom_exponents", 4, step, 150) for step in range(150)]
    assert suggested == pytest.approx(scan(growths, [0.01] * 150, 0.9), rel=2e-3)


def test_no_penalty_needs_no_warning(compose: Compose, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        method = prepared(compose, 10, "method.penalty.ceiling=0")
    assert method.ceiling == 0
    assert not caplog.records


def test_auto_takes_the_smallest_that_suffices(compose: Compose) -> None:
    method = prepared(compose, 10, "schedule.epochs=20", "method.penalty.ceiling=auto")
    growths = [growth("exp_custom_exponents", 4, step, 150) for step in range(150)]
    assert method.ceiling == pytest.approx(scan(growths, [0.01] * 150, 0.9), rel=2e-3)


def test_with_ramp_1_it_ends_with_the_model_just_after_removal(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny("method=rsst", "method.ramp=1"))
    for line in read_jsonl(directory.states)[1:]:
        assert line["best_epoch"] == 1
        assert line["val_accuracy_best"] == line["val_accuracy_final"] == line["val_accuracy_after_removal"]
        assert line["test_accuracy_best"] == line["test_accuracy_final"]


def test_only_epochs_after_the_removal_can_be_best(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny("method=rsst", "method.ramp=0.5", "schedule.epochs=4"))
    metrics = read_jsonl(directory.metrics)
    for line in read_jsonl(directory.states)[1:]:
        after = [m for m in metrics if m["state"] == line["state"] and m["epoch"] >= 2]
        best = max(after, key=lambda m: (m["val_accuracy"], -m["epoch"]))
        assert (line["best_epoch"], line["val_accuracy_best"]) == (best["epoch"], best["val_accuracy"])
        assert {m["parameters"] for m in after} == {line["parameters"]}


SOFT = ("experiment=demo", "dataset=digits", "method=rsst", "hardware=cpu", "hardware.threads=1", "schedule.states=2")


def test_the_simulated_weight_agrees_with_a_real_run(compose: Compose) -> None:
    config = compose(*SOFT, "method.penalty.ceiling=auto", "schedule.epochs_first=4")
    directory = finished(run_cell(config))
    measured = read_jsonl(directory.states)[1]["marked_norm_ratio"]
    # The contract's ramp, spelt out: 0.75 of 6 epochs is 4.5, so the removal is after epoch 4.
    steps = 1203 // 32
    ramp, total, warmup = round(0.75 * 6 * steps), 6 * steps, steps
    lrs, growths = [], []
    for step in range(5 * steps):
        after = (step - warmup) / (total - warmup)
        lrs.append(3e-3 * (step + 1) / warmup if step < warmup else 3e-3 * (1 + math.cos(math.pi * after)) / 2)
        growths.append(growth("exp_custom_exponents", 4, step, ramp))
    ceiling = max(line["penalty"] or 0 for line in read_jsonl(directory.metrics))
    simulated = simulate(growths, lrs, ceiling, momentum=None).final
    # The loss still pulls at real weights while they shrink, hence a factor and not a digit.
    assert 0.5 < measured / simulated < 2


def test_soft_pruning_makes_the_removal_harmless_and_hard_removal_is_not(compose: Compose) -> None:
    lines = {}
    for ceiling in (200, 0):
        directory = finished(run_cell(compose(*SOFT, f"method.penalty.ceiling={ceiling}", "schedule.epochs_first=8")))
        lines[ceiling] = read_jsonl(directory.states)[1]
    drop = {
        ceiling: line["val_accuracy_before_removal"] - line["val_accuracy_after_removal"] for ceiling, line in lines.items()
    }
    assert lines[200]["marked_norm_ratio"] < 1 / 100
    assert abs(drop[200]) < 1
    assert lines[0]["marked_norm_ratio"] > 0.5
    assert drop[0] > 1
