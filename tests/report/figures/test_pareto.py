"""Validation chooses the front; test is what is shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.base.files import write_json
from prune.report.figures.pareto import against_latency, against_macs, against_parameters
from prune.report.figures.style import Style
from prune.report.findings import Findings
from prune.report.latency import measurements
from prune.report.load import load
from prune.rundir.directory import RunDirectory
from tests.report.sweep import configuration, state_line, write_run

VALIDATION, TEST = [70.0, 74.0, 72.0, 60.0], [75.0, 71.0, 73.0, 79.0]
"""By state, each smaller than the one before. On validation the states 3, 2 and 1 are the front; on test 3 alone would be."""


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    config = configuration(schedule__states=4)
    both = enumerate(zip(VALIDATION, TEST, strict=True))
    folder = write_run(tmp_path, config, [state_line(config, s, test, val_accuracy_best=val) for s, (val, test) in both])
    for state in range(4):
        result = {"engine": "torch", "variant": "pruned", "batch_size": 1, "median_ms": 9.0 - state}
        content = {"machine": "CPU", "results": [result]}
        RunDirectory(folder).state(state).mkdir(parents=True)
        write_json(RunDirectory(folder).state(state) / "latency.json", content)
    return Findings(load([tmp_path], "dense"), "dense")


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("cost", ["parameters", "macs", "latency"])
def test_rings_are_chosen_on_validation_and_lie_at_test_accuracies(findings: Findings, cost: str) -> None:
    style = Style(findings.study)
    canvas: Any
    if cost == "latency":
        canvas = against_latency(findings, style, "digits", measurements(findings.study))
        costs = [9.0, 8.0, 7.0, 6.0]
    else:
        canvas = (against_parameters if cost == "parameters" else against_macs)(findings, style, "digits")
        unit = {"thousands": 1e3, "millions": 1e6}[canvas.figure.axes[0].get_xlabel().split("(")[1].strip(")")]
        costs = [line[cost] / unit for line in findings.study.variants[0].runs[0].lines.values()]
    lines = {line.get_label(): line for line in canvas.figure.axes[0].get_lines()}
    rings, points = lines["Pareto front (validation)"], lines["refill"]
    assert list(rings.get_xdata()) == pytest.approx([costs[3], costs[2], costs[1]])
    assert list(rings.get_ydata()) == [TEST[3], TEST[2], TEST[1]]
    assert sorted(points.get_ydata()) == sorted(TEST)
    assert "the Pareto front on validation" in canvas.caption
    assert "their test accuracy is what is shown" in canvas.caption
