"""The table of differences: their intervals, and what stands in for predictions that are missing."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from prune.report.conclusions import conclude
from prune.report.tables import differences
from prune.rundir.directory import RunDirectory
from tests.report.handmade import DENSE, REFILL, analyse, line, rows
from tests.report.sweep import IMAGES, configuration, state_line, write_flat, write_predictions, write_run


def test_one_image_of_395_in_three_seeds_is_no_difference(tmp_path: Path) -> None:
    """All differences alike, so that the seeds have no spread: an interval of no width claimed it."""
    for method, right in (("dense", 371), ("rsst", 372)):
        for run in write_flat(tmp_path, method, {seed: [90.0, 100 * right / 395] for seed in range(3)}):
            write_predictions(run, 1, np.arange(395) < right)
    findings = analyse(tmp_path)
    (row,) = rows(differences.leading(findings, "digits"))
    assert row["in that state"].startswith("+0.25 [−0.")
    assert row["verdict"] == "no difference beyond noise"
    assert "no difference beyond noise (+0.25 points" in conclude(findings, "digits")[0]


def test_a_run_without_predictions_has_a_bound_and_the_page_says_so(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", DENSE)
    folders = write_flat(tmp_path, "rsst", REFILL)
    RunDirectory(folders[1]).predictions(3).unlink()
    findings = analyse(tmp_path)
    table = differences.leading(findings, "digits")
    exact = line(table, first="rsst")
    assert (exact["difference_images"], exact["difference_images_by"]) == (IMAGES, "accuracies")
    bound = sum(p * (100 - p) for p in (83 + 1 / 6, 82.0)) / IMAGES
    half = math.hypot(4.302653 * 0.288675 / math.sqrt(3), stats.t.ppf(0.975, IMAGES - 1) * math.sqrt(bound))
    assert exact["difference_ci_high"] == pytest.approx(7 / 6 + half, rel=1e-5)
    assert table is not None
    assert "Predictions are missing: the test images' part in the error is a bound by the accuracies alone" in table.note


def test_without_any_predictions_the_number_of_images_is_what_gives_the_accuracies(tmp_path: Path) -> None:
    for method, right in (("dense", (371, 380, 383)), ("rsst", (370, 381, 377))):
        for seed, count in enumerate(right):
            config = configuration(method=method, seed=seed, schedule__states=2)
            lines = [state_line(config, s, 100 * (count - 1 + s) / 395) for s in range(2)]
            write_run(tmp_path, config, lines, predictions=False)
    findings = analyse(tmp_path)
    assert findings.study.test_images == {"digits": 395}
    assert findings.anomalies == [a for a in findings.anomalies if a.kind == "comparison"]
    assert line(differences.leading(findings, "digits"), first="rsst")["difference_images"] == 395
