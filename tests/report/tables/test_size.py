"""The tables of size: parameters and MACs of the true model, what is retained, and latency."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prune.report.findings import Findings
from prune.report.latency import command, measurements
from prune.report.tables import size
from tests.report.handmade import analyse, line, rows
from tests.report.sweep import configuration, state_line, write_flat, write_run


def test_parameters_and_macs_are_those_of_the_true_model(tmp_path: Path) -> None:
    config = configuration("cifar10", "refill", schedule__states=16)
    write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(16)])
    findings = analyse(tmp_path)
    dense, last = rows(size.parameters(findings, "cifar10"))
    exact = line(size.parameters(findings, "cifar10"), state=0)
    assert (exact["total_mean"], exact["heads_mean"], exact["neurons_mean"]) == (21_342_346, 7_091_712, 14_174_208)
    assert exact["other_mean"] == 21_342_346 - 7_091_712 - 14_174_208
    assert (dense["heads"], dense["total"]) == ("7.09 M (100.0 %)", "21.34 M (100.0 %)")
    # 22 heads of 98,496, 5,530 neurons of 769
    pruned = line(size.parameters(findings, "cifar10"), state=15)
    assert pruned["heads_mean"] == 22 * 98_496
    assert pruned["neurons_mean"] == 5_530 * 769
    assert pruned["other_mean"] == exact["other_mean"]
    assert last["compression"] == "3.29×"
    assert line(size.macs(findings, "cifar10"), state=0)["total_mean"] == 1_420_309_248


def test_retention_is_of_state_0_and_of_the_baseline_in_the_same_state(three_seeds: Findings) -> None:
    exact = line(size.retention(three_seeds, "digits"), variant="refill")
    assert exact["accuracy_of_state_0_mean"] == pytest.approx(100 * (82 / 80 + 83 / 81 + 84.5 / 82) / 3)
    assert exact["accuracy_of_baseline_mean"] == pytest.approx(100 * (82 / 81 + 83 / 82 + 84.5 / 83) / 3)
    # 4 blocks of 3 heads and 192 neurons: 4 of 12 heads and 230 of 768 neurons stay
    assert exact["kept.heads_mean"] == pytest.approx(100 * 4 / 12)
    assert exact["kept.neurons_mean"] == pytest.approx(100 * 230 / 768)


def test_latency_is_shown_beside_accuracy_or_the_command_that_measures_it(tmp_path: Path) -> None:
    (folder,) = write_flat(tmp_path, "refill", {0: [80.0, 81.0]})
    findings = analyse(tmp_path)
    assert measurements(findings.study) == []
    assert command(findings.study, "digits") == f"python -m prune latency {folder}/checkpoints/state_01"
    state = folder / "checkpoints" / "state_01"
    state.mkdir(parents=True)
    result = {"engine": "torch", "batch_size": 8, "p90_ms": 5.0, "images_per_second": 2000.0}
    content = {
        "machine": {"device": "CPU"},
        "results": [{**result, "variant": "dense", "median_ms": 9.0}, {**result, "variant": "pruned", "median_ms": 4.0}],
    }
    (state / "latency.json").write_text(json.dumps(content))
    (row,) = rows(size.latency(findings, "digits", measurements(findings.study)))
    assert (row["accuracy (%)"], row["dense, median (ms)"], row["pruned, median (p90) (ms)"]) == (
        "81.00",
        "9.00",
        "4.00 (5.00)",
    )
    assert (row["speed-up"], row["machine"], row["runs"]) == ("2.25×", "device CPU", "R1")
