"""Sweeps of a few lines of metrics, their tables as they are read, and differences worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize, stats  # type: ignore[import-untyped]

from prune.report.findings import Findings
from prune.report.load import load
from prune.report.tables.table import Table
from tests.report.sweep import IMAGES, configuration, epoch_line, state_line, write_run

REFILL = {0: [80.0, 79.0, 81.0, 82.0], 1: [81.0, 80.0, 82.0, 83.0], 2: [82.0, 81.0, 83.0, 84.5]}
DENSE = {0: [80.0, 81.0, 81.0, 81.0], 1: [81.0, 82.0, 82.0, 82.0], 2: [82.0, 83.0, 83.0, 83.0]}
"""Seed → test accuracy in each state."""


def long_run(sweep: Path, method: str = "refill", **more: object) -> None:
    """Two states of 12 epochs: accuracy 60 + epoch in state 0; 70 flat in state 1, half of it in the dense size."""
    config = configuration(method=method, schedule__states=2, schedule__epochs=12)
    first = [epoch_line(0, e, 60.0 + e, train_accuracy=80.0 + e, seconds=2.0, images_per_second=100.0) for e in range(12)]
    second = [
        epoch_line(1, e, 90.0 if e < 6 else 70.0, parameters=1000 if e < 6 else 400, seconds=1.0, images_per_second=300.0,
                   penalty=0.1 * (e + 1) if e < 6 else None, train_accuracy=95.0)
        for e in range(12)
    ]  # fmt: skip
    lines = [
        state_line(config, 0, 71.0, seconds=24.0),
        state_line(
            config, 1, 70.0, seconds=12.0, val_accuracy_pruned=40.0, val_accuracy_before_removal=69.0,
            val_accuracy_after_removal=68.75, marked_norm_ratio=0.004,
        ),
    ]  # fmt: skip
    write_run(sweep, config, lines, first + second)


def analyse(sweep: Path, baseline: str = "dense") -> Findings:
    return Findings(load([sweep], baseline), baseline)


def rows(table: Table | None) -> list[dict[str, str]]:
    """A table's rows as the reader sees them, by column."""
    assert table is not None
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def line(table: Table | None, **where: object) -> pd.Series:
    """The one CSV row with these values."""
    assert table is not None
    frame = table.frame
    for column, value in where.items():
        frame = frame[frame[column] == value]
    assert len(frame) == 1
    return frame.iloc[0]


def by_hand(first: Sequence[Sequence[float]], second: Sequence[Sequence[float]]) -> tuple[float, float, float]:
    """Interval and p-value of accuracies, for each seed one a state, of models that get the easiest of the images right."""
    difference = np.mean(first, axis=1) - np.mean(second, axis=1)
    per_image = np.zeros(IMAGES)
    for ours, theirs in zip(first, second, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            low, high = sorted((round(one * IMAGES / 100), round(other * IMAGES / 100)))
            per_image[low:high] += 100 * math.copysign(1, one - other) / len(ours) / len(first)
    errors = [stats.sem(difference), stats.sem(per_image)]

    def half(p: float) -> float:
        return math.hypot(*(stats.t.isf(p / 2, n - 1) * e for n, e in zip((len(first), IMAGES), errors, strict=True)))

    mean = float(difference.mean())
    p = optimize.brentq(lambda p: half(p) - abs(mean), 1e-100, 1 - 1e-9)
    return mean - half(0.05), mean + half(0.05), float(p)
