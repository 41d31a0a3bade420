"""The tables of training: curves, convergence, fluctuation and overfitting, by hand."""

from __future__ import annotations

from pathlib import Path

from prune.report.conclusions import conclude
from prune.report.tables import training
from tests.report.handmade import analyse, long_run, rows


def test_curves_at_the_references_epochs() -> None:
    assert training.chosen_epochs(60) == [0, 10, 30, 50, 59]
    assert training.chosen_epochs(2) == [0, 1]
    assert training.chosen_epochs(0) == [0]


def test_convergence_fluctuation_and_overfitting(tmp_path: Path) -> None:
    long_run(tmp_path)
    findings = analyse(tmp_path)
    zero, one = rows(training.convergence(findings, "digits"))
    # A sixth of 12 epochs: two windows of 2, of 68, 69 and of 70, 71
    assert (zero["epochs before"], zero["last epochs"], zero["trend"]) == ("68.50", "70.50", "+2.00")
    assert (zero["converged?"], zero["fluctuation (std)"], zero["window"]) == ("still rising", "0.71", "2")
    # Only the six epochs after the removal count in state 1, so its fall from 90 is no trend.
    assert (one["trend"], one["converged?"], one["window"]) == ("0.00", "stable", "2")
    gaps = rows(training.overfitting(findings, "digits"))
    assert [(row["epoch"], row["train (%)"], row["val (%)"], row["gap (points)"]) for row in gaps] == [
        ("11", "91.00", "71.00", "20.00"),
        ("11", "95.00", "70.00", "25.00"),
    ]
    sentences = conclude(findings, "digits")
    said = "State 0 had not converged: still rising by 2.00 points from its last but one window of epochs to its last."
    assert f"{said} The first units were chosen on it." in sentences
    assert any("overfits in state 1: train accuracy is 25.00 points above validation" in s for s in sentences)
