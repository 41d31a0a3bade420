"""What the report flags, and that it does not flag what is in order."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.report.anomalies import Anomaly
from prune.report.findings import Findings
from prune.report.load import load
from prune.report.tables import accuracy, runs
from prune.rundir.directory import RunDirectory
from tests.report.sweep import configuration, epoch_line, state_line, write_flat, write_predictions, write_run
from tests.report.test_statistics import REFERENCE


def find(sweep: Path) -> list[Anomaly]:
    return Findings(load([sweep], "dense"), "dense").anomalies


def three_states(sweep: Path, status: dict[str, Any], done: int = 2, **more: Any) -> None:
    """A run of three states that finished `done`, and one epoch of the next."""
    config = configuration(schedule__states=3)
    metrics = [epoch_line(s, e, 80.0) for s in range(done) for e in range(2)] + [epoch_line(done, 0, 60.0)]
    write_run(sweep, config, [state_line(config, s, 80.0, **more) for s in range(done)], metrics, status)


def test_a_complete_sweep_has_none(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", {0: [80.0, 80.5, 81.0], 1: [81.0, 81.5, 82.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 79.5, 78.0], 1: [81.0, 80.5, 79.0]})
    assert find(tmp_path) == []


def test_a_failed_run_is_flagged_with_its_reason(tmp_path: Path) -> None:
    three_states(tmp_path, {"status": "failed", "state": 2, "epoch": 1, "error": "the training loss became nan."})
    stopped, unfinished = find(tmp_path)
    assert (stopped.kind, stopped.run) == ("stopped", "R1")
    assert stopped.message == "2 of 3 states: failed in state 2, epoch 1: the training loss became nan."
    assert (unfinished.kind, unfinished.state) == ("unfinished", 2)
    assert unfinished.message == "has 1 of 2 epochs and no result; no table counts it"


def test_a_running_run_is_not_an_anomaly_but_is_not_complete(tmp_path: Path) -> None:
    three_states(tmp_path, {"status": "running", "state": 2, "epoch": 0})
    findings = Findings(load([tmp_path], "dense"), "dense")
    assert findings.anomalies == []
    (row,) = runs.completeness(findings).rows
    assert row[4:8] == ["running", "2 of 3 (67 %)", "state 2", "running in state 2, epoch 0"]


def test_a_run_whose_heartbeat_stopped_is_lost(tmp_path: Path) -> None:
    long_ago = (datetime.now(timezone.utc) - timedelta(hours=2)).isoformat(timespec="seconds")
    three_states(tmp_path, {"status": "running", "state": 2, "epoch": 0, "heartbeat": long_ago})
    stopped, unfinished = find(tmp_path)
    assert "its process is gone in state 2, epoch 0" in stopped.message
    assert f"last sign of life {long_ago} on node07" in stopped.message
    assert unfinished.kind == "unfinished"


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"status": "preempted", "state": 2, "epoch": 0}, "stopped by preemption or a time limit in state 2, epoch 0"),
        ({"status": "done"}, "status.json says done, but states are missing"),
        ({"status": None}, "no readable status.json: it never started, or its folder is incomplete"),
    ],
)
def test_other_ways_to_stop(tmp_path: Path, status: dict[str, Any], said: str) -> None:
    three_states(tmp_path, status)
    assert said in find(tmp_path)[0].message


def test_a_queued_run_waits(tmp_path: Path) -> None:
    config = configuration()
    write_run(tmp_path, config, [], [], {"status": "queued", "starts": []})
    findings = Findings(load([tmp_path], "dense"), "dense")
    assert findings.anomalies == []
    assert runs.completeness(findings).rows[0][5:8] == ["0 of 3 (0 %)", "state 0–2", "waiting to start"]


def test_the_references_state_15_is_flagged_and_marked_where_it_counts(tmp_path: Path) -> None:
    config = configuration("cifar10", "rsst", schedule__states=16)
    write_run(tmp_path, config, [state_line(config, s, v) for s, v in enumerate(REFERENCE["cifar10 rsst"])])
    findings = Findings(load([tmp_path], "dense"), "dense")
    (found,) = findings.anomalies
    assert (found.kind, found.run, found.state) == ("outlier", "R1", 15)
    assert found.message.startswith("validation accuracy 69.98 % is far outside its neighbours (")
    table = accuracy.by_state(findings, "cifar10")
    assert table is not None
    accuracies = [dict(zip(table.columns, row, strict=True))["rsst (1 run)"] for row in table.rows]
    assert accuracies[-2:] == ["79.78", "69.98 †"]


def test_outliers_are_found_on_validation_never_on_test(tmp_path: Path) -> None:
    config = configuration("cifar10", "rsst", schedule__states=16)
    values = REFERENCE["cifar10 rsst"]
    lines = [state_line(config, s, v, val_accuracy_best=80.0 + 0.1 * (s % 3)) for s, v in enumerate(values)]
    write_run(tmp_path / "test", config, lines)
    assert find(tmp_path / "test") == []
    lines = [state_line(config, s, 80.0 + 0.1 * (s % 3), val_accuracy_best=v) for s, v in enumerate(values)]
    write_run(tmp_path / "validation", config, lines)
    assert [(found.kind, found.state) for found in find(tmp_path / "validation")] == [("outlier", 15)]


def test_predictions_that_are_missing_or_of_another_accuracy(tmp_path: Path) -> None:
    config = configuration(schedule__states=3)
    run = write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(3)])
    RunDirectory(run).predictions(1).unlink()
    write_predictions(run, 2, np.arange(100) < 79)
    (found,) = find(tmp_path)
    assert (found.kind, found.run) == ("files", "R1")
    assert found.message.startswith("predictions/ lacks state 1–2, or does not give the accuracy in states.jsonl: ")


def test_a_removal_that_cost_accuracy(tmp_path: Path) -> None:
    config = configuration(method="rsst", schedule__states=2)
    removal = {"val_accuracy_before_removal": 80.0, "val_accuracy_after_removal": 77.0, "marked_norm_ratio": 0.5}
    write_run(tmp_path, config, [state_line(config, 0, 80.0), state_line(config, 1, 79.0, **removal)])
    (found,) = find(tmp_path)
    assert (found.kind, found.state) == ("removal", 1)
    assert "80.00 % → 77.00 % on validation (−3.00); the marked units had 50 % of their norm left" in found.message


def test_a_removal_of_units_that_were_not_suppressed(tmp_path: Path) -> None:
    config = configuration(method="rsst", schedule__states=2)
    removal = {"val_accuracy_before_removal": 80.0, "val_accuracy_after_removal": 80.0, "marked_norm_ratio": 0.99}
    write_run(tmp_path, config, [state_line(config, 0, 80.0), state_line(config, 1, 79.0, **removal)])
    (found,) = find(tmp_path)
    assert "the penalty had not suppressed; the marked units had 99 % of their norm left" in found.message


def test_state_0_that_differs_between_methods(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.34, 80.0], 1: [80.0, 80.0]})
    write_flat(tmp_path, "rsst", {0: [80.10, 80.0], 1: [80.0, 80.0]})
    (found,) = find(tmp_path)
    assert (found.kind, found.state) == ("comparison", 0)
    assert "with seed 0 they have 80.34 and 80.10 %" in found.message


def test_seeds_without_a_partner(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 80.0], 1: [80.0, 80.0], 2: [80.0, 80.0]})
    write_flat(tmp_path, "rsst", {0: [80.0, 80.0]})
    (found,) = find(tmp_path)
    assert (found.kind, found.variant) == ("comparison", "rsst")
    assert "no run with seeds 1–2" in found.message


def test_sizes_that_do_not_add_up_and_units_that_come_back(tmp_path: Path) -> None:
    config = configuration(schedule__states=3)
    lines = [state_line(config, s, 80.0) for s in range(3)]
    lines[1]["parameters"] += 1
    lines[2] = {**lines[2], **{key: lines[0][key] for key in ("kept", "groups", "parameters", "macs")}}
    write_run(tmp_path, config, lines)
    recorded, kinds, groups = [found.message for found in find(tmp_path)]
    # Geometric to 70 %: after the first of two steps √0.3 of 12 heads and of 768 neurons stay
    assert (
        recorded == f"states.jsonl records {lines[1]['parameters']:,} parameters; its units make {lines[1]['parameters'] - 1:,}"
    )
    assert kinds == "units kept rose: heads from 7 to 12, neurons from 421 to 768; a pruned unit must stay pruned"
    assert groups == (
        "units kept rose: blocks.0.attn from 2 to 3, blocks.0.mlp from 106 to 192, blocks.1.attn from 2 to 3 and 5 more; "
        "a pruned unit must stay pruned"
    )


def test_a_unit_that_comes_back_while_its_kind_shrinks(tmp_path: Path) -> None:
    config = configuration(schedule__states=3)
    lines = [state_line(config, s, 80.0) for s in range(2)]
    groups = {**lines[1]["groups"], "blocks.0.attn": 3, "blocks.1.attn": 0, "blocks.2.attn": 0}
    write_run(tmp_path, config, [*lines, state_line(config, 2, 80.0, groups)])
    (message,) = [found.message for found in find(tmp_path)]
    assert message == "units kept rose: blocks.0.attn from 2 to 3; a pruned unit must stay pruned"


def test_groups_that_the_model_does_not_have(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    lines = [state_line(config, s, 80.0) for s in range(2)]
    lines[1]["groups"]["blocks.9.attn"] = 1
    write_run(tmp_path, config, lines)
    (found,) = find(tmp_path)
    assert (found.kind, found.state) == ("numbers", 1)
    assert "names other groups of units than the model of config.yaml has" in found.message


def test_missing_epochs_and_missing_accuracy(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    lines = [state_line(config, 0, 80.0), state_line(config, 1, math.nan, val_accuracy_final=80.0)]
    run = write_run(tmp_path, config, lines, [epoch_line(0, 1, 80.0)], {"status": "running", "state": 1, "epoch": 0})
    (numbers, files) = find(tmp_path)
    assert (numbers.kind, numbers.state, numbers.message) == ("numbers", 0, "metrics.jsonl lacks its epochs 0")
    assert (files.kind, files.run) == ("files", "R1")
    assert files.message.startswith(f"{run / 'states.jsonl'} is damaged: in line 2 ")


def test_runs_that_computed_with_different_things(tmp_path: Path) -> None:
    base = {"time": "2026-01-01T00:00:00+00:00", "torch": "2.8.0", "device": "NVIDIA H100", "threads": 8}
    second = {**base, "threads": 4, "torch": "2.9.0", "compile": True, "plugins": {"method.name": "mine 0.3"}}
    for seed, starts in enumerate([[base, {**base, "threads": 4, "compile": False, "plugins": {}}], [second]]):
        config = configuration(seed=seed, schedule__states=2)
        write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)], status={"starts": starts})
    messages = [found.message for found in find(tmp_path)]
    assert "threads changed between its starts: 8 → 4" in messages
    assert "the runs differ in torch (2.8.0: R1; 2.9.0: R2)" in messages
    assert "the runs differ in compile (false: R1; true: R2)" in messages
    assert "the runs differ in plugins (method.name mine 0.3: R2; none: R1)" in messages


def test_unreadable_and_doubled_directories(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    for name in ("one", "two"):
        write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)], name=name)
    for name, text in (("torn", "seed: ["), ("old", "seed: 0")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(text)
    messages = [found.message for found in find(tmp_path)]
    assert any("old could not be read and is in no table (" in message and "another version" in message for message in messages)
    assert any("torn could not be read and is in no table" in message for message in messages)
    assert any("two has the configuration and seed of" in message for message in messages)
