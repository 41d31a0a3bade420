"""Figures of sweeps: accuracy against the target rate, and over ceilings and shapes of the penalty."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.report.figures import swept
from prune.report.figures.style import Style
from prune.report.findings import Findings
from prune.report.load import load
from tests.report.figures.texts import drawing
from tests.report.sweep import configuration, state_line, write_run


def findings_of(folder: Path) -> Findings:
    return Findings(load([folder], "dense"), "dense")


def write(folder: Path, accuracy: float, states: int = 3, **config: Any) -> None:
    content = configuration(**config)
    write_run(folder, content, [state_line(content, state, accuracy) for state in range(states)])


@pytest.mark.usefixtures("kept")
def test_a_line_for_each_method_over_its_rates(tmp_path: Path) -> None:
    for method, gain in (("refill", 0.0), ("rsst", 2.0)):
        for target in (0.9, 0.5, 0.7):
            for seed in (0, 1):
                write(tmp_path, 100 - 20 * target + gain + seed, method=method, seed=seed, schedule__target=target)
    for target in (0.5, 0.7):  # the same model twice: a sweep of rates has run it at each
        write(tmp_path, 95.0, method="dense", schedule__target=target)
    write(tmp_path, 50.0, states=2, method="rsst", schedule__target=0.8)  # not finished: no point
    found = findings_of(tmp_path)
    canvas: Any = swept.by_target(found, Style(found.study), "digits")
    (axes,) = canvas.figure.axes
    lines = {bar.get_label(): bar.lines[0].get_xydata().tolist() for bar in axes.containers}
    assert lines == {
        "refill": [pytest.approx([50, 90.5]), pytest.approx([70, 86.5]), pytest.approx([90, 82.5])],
        "rsst": [pytest.approx([50, 92.5]), pytest.approx([70, 88.5]), pytest.approx([90, 84.5])],
    }
    assert axes.get_xlabel() == "target rate (% of units)"
    assert [text.get_text() for text in canvas.figure.legends[0].get_texts()].count("dense") == 1
    drawn = drawing(canvas.figure)
    assert (drawn.cut(), drawn.overlapping()) == ([], [])


@pytest.mark.usefixtures("kept")
def test_a_rate_of_size_is_named(tmp_path: Path) -> None:
    for target in (0.5, 0.6, 0.7):
        write(tmp_path, 90.0, schedule__target=target, schedule__measure="macs")
    found = findings_of(tmp_path)
    canvas: Any = swept.by_target(found, Style(found.study), "digits")
    assert canvas.figure.axes[0].get_xlabel() == "target rate (% of MACs)"


@pytest.mark.usefixtures("kept")
def test_one_rate_is_no_line_and_one_penalty_no_map(tmp_path: Path) -> None:
    write(tmp_path, 90.0, method="rsst")
    write(tmp_path, 91.0, method="rsst", schedule__target=0.5)
    found = findings_of(tmp_path)
    assert swept.by_target(found, Style(found.study), "digits") is None
    assert swept.penalties(found, "digits") == []


@pytest.mark.usefixtures("kept")
def test_a_map_of_ceilings_and_shapes(tmp_path: Path) -> None:
    def penalty(accuracy: float, states: int = 3, **keys: Any) -> None:
        write(tmp_path, accuracy, states, method="rsst", method__penalty=keys)

    for ceiling in (0.1, 2.0):
        for exponents in (2, 5):
            penalty(80 + ceiling + exponents, ceiling=ceiling, exponents=exponents)
    penalty(70.0, schedule="x^2", ceiling=0.1)
    penalty(99.0, states=2, schedule="x^2", ceiling=2.0)  # not finished: grey
    (canvas,) = swept.penalties(findings_of(tmp_path), "digits")
    axes = canvas.figure.axes[0]  # type: ignore[attr-defined]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "exp_custom_exponents, k = 2", "exp_custom_exponents, k = 5", "x^2",
    ]  # fmt: skip
    shown = {text.get_position(): text.get_text() for text in axes.texts}
    assert shown == {(0, 0): "82.1", (1, 0): "84.0", (0, 1): "85.1", (1, 1): "87.0", (0, 2): "70.0"}
    drawn = drawing(canvas.figure)  # type: ignore[attr-defined]
    assert (drawn.cut(), drawn.overlapping()) == ([], [])
