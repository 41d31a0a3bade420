"""Every table against numbers computed by hand from a few lines of metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from prune.report.conclusions import conclude
from prune.report.findings import Findings
from prune.report.latency import command, measurements
from prune.report.load import load
from prune.report.tables import accuracy, pruning, runs, size, training
from prune.report.tables.table import Table
from tests.report.sweep import configuration, epoch_line, state_line, structure_of, write_flat, write_run
from tests.report.test_statistics import REFERENCE

REFILL = {0: [80.0, 79.0, 81.0, 82.0], 1: [81.0, 80.0, 82.0, 83.0], 2: [82.0, 81.0, 83.0, 84.5]}
DENSE = {0: [80.0, 81.0, 81.0, 81.0], 1: [81.0, 82.0, 82.0, 82.0], 2: [82.0, 83.0, 83.0, 83.0]}


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


@pytest.fixture
def three_seeds(tmp_path: Path) -> Findings:
    write_flat(tmp_path, "refill", REFILL)
    write_flat(tmp_path, "dense", DENSE)
    return analyse(tmp_path)


def test_overall(three_seeds: Findings) -> None:
    table = accuracy.overall(three_seeds, "digits")
    dense, refill = rows(table)
    assert refill == {
        "method": "refill",
        "state 0": "81.00 ± 1.00",
        "best": "83.17 ± 1.26",
        "best state": "3",
        "last": "83.17 ± 1.26",
        "last state": "3",
        "mean of states ≥ 2": "82.58 ± 1.13, states 2–3",  # of 81.5, 82.5, 83.75
        "last − dense": "+1.17 [+0.45, +1.88]",  # of 1, 1, 1.5; ± 4.302653 · 0.288675 / √3
        "runs": "R4 R5 R6",
    }
    assert dense["last − dense"] == "–"
    exact = line(table, variant="refill")
    assert exact["last_mean"] == pytest.approx(83.166667, abs=1e-6)
    assert exact["last_std"] == pytest.approx(1.258306, abs=1e-6)
    assert exact["against_baseline_ci_low"] == pytest.approx(0.449560, abs=1e-5)
    assert exact["last_n"] == 3


def test_the_best_state_is_chosen_on_validation(tmp_path: Path) -> None:
    config = configuration(schedule__states=3)
    validation = [70.0, 75.0, 74.0]
    lines = [state_line(config, s, test, val_accuracy_best=validation[s]) for s, test in enumerate([80.0, 81.0, 90.0])]
    write_run(tmp_path, config, lines)
    (row,) = rows(accuracy.overall(analyse(tmp_path), "digits"))
    assert (row["best state"], row["best"]) == ("1", "81.00")


def test_accuracy_state_by_state_with_paired_differences(three_seeds: Findings) -> None:
    table = accuracy.by_state(three_seeds, "digits")
    found = rows(table)
    assert [row["rate (%)"] for row in found] == ["0.0", "33.1", "55.2", "70.0"]
    assert found[0]["refill − dense"] == "identical"
    assert found[1]["refill (3 runs)"] == "80.00 ± 1.00"
    assert found[1]["refill − dense"] == "−2.00 [−2.00, −2.00]"
    exact = line(table, variant="refill", state=2)
    assert (exact["test_accuracy_best_mean"], exact["test_accuracy_best_std"], exact["test_accuracy_best_n"]) == (82, 1, 3)


def test_the_references_gap_between_methods(tmp_path: Path) -> None:
    """The report's own CIFAR-10 columns: +0.24 at state 0, +1.74 at state 14, and one seed supports no conclusion."""
    for method in ("refill", "rsst"):
        config = configuration("cifar10", method, schedule__states=16)
        lines = [state_line(config, s, value) for s, value in enumerate(REFERENCE[f"cifar10 {method}"])]
        write_run(tmp_path, config, lines)
    findings = analyse(tmp_path)
    found = rows(accuracy.by_state(findings, "cifar10"))
    assert [found[s]["refill − rsst"] for s in (0, 8, 14)] == ["+0.24 (1 seed)", "+0.94 (1 seed)", "+1.74 (1 seed)"]
    refill, rsst = rows(accuracy.overall(findings, "cifar10"))
    assert (refill["state 0"], refill["best"], refill["best state"], refill["last"]) == ("80.34", "81.70", "4", "81.50")
    # 1137.01 / 14, where the report prints 81.12; 1111.23 / 14, and 1041.25 / 13 without state 15
    assert refill["mean of states ≥ 2"] == "81.22, states 2–15"
    assert rsst["mean of states ≥ 2"] == "79.37 †, states 2–15"
    table = accuracy.overall(findings, "cifar10")
    assert table is not None
    assert "† Without state 15 of R2, rsst's mean is 80.10." in table.note
    assert any("one seed: no spread known, so no conclusion" in sentence for sentence in conclude(findings, "cifar10"))


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


def _long_run(sweep: Path, method: str = "refill", **more: object) -> None:
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


def test_curves_at_the_references_epochs() -> None:
    assert training.chosen_epochs(60) == [0, 10, 30, 50, 59]
    assert training.chosen_epochs(2) == [0, 1]
    assert training.chosen_epochs(0) == [0]


def test_convergence_fluctuation_and_overfitting(tmp_path: Path) -> None:
    _long_run(tmp_path)
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
    assert any(s.startswith("State 0 had not converged (still rising by 2.00 points") for s in sentences)
    assert any("overfits in state 1: train accuracy is 25.00 points above validation" in s for s in sentences)


def test_drop_recovery_and_removal(tmp_path: Path) -> None:
    _long_run(tmp_path, "rsst")
    findings = analyse(tmp_path)
    (row,) = rows(pruning.recovery(findings, "digits"))
    found = (row["before (state − 1, final)"], row["right after pruning"], row["drop"], row["recovery"], row["net"])
    assert found == ("71.00", "40.00", "-31.00".replace("-", "−"), "+30.00", "−1.00")
    assert row["after epoch 0"] == "90.00"
    (row,) = rows(pruning.removal(findings, "digits"))
    found = (row["before removal"], row["after removal"], row["change"], row["norm left (%)"])
    assert found == ("69.00", "68.75", "−0.25", "0.4")
    (row,) = rows(pruning.penalties(findings, "digits"))
    assert (row["λ, first epoch"], row["λ, largest"], row["penalised epochs"]) == ("0.1", "0.6", "0–5")


def test_time(tmp_path: Path) -> None:
    _long_run(tmp_path)
    (row,) = rows(runs.time(analyse(tmp_path), "digits"))
    assert (row["per run"], row["per state"], row["per epoch"]) == ("36.0 s", "18.0 s", "1.5 s")
    assert (row["per epoch, state 0"], row["per epoch, last"], row["images/s"]) == ("2.0 s", "1.0 s (state 1)", "200")


def test_survival_per_block(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    dense = {name: list(range(units)) for name, units in structure_of(config).dense.items()}
    heads, neurons = [[0], [1], [0, 2], []], [100, 90, 30, 10]
    pruned = {f"blocks.{block}.attn": kept for block, kept in enumerate(heads)}
    pruned |= {f"blocks.{block}.mlp": list(range(kept)) for block, kept in enumerate(neurons)}
    write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)], kept={0: dense, 1: pruned})
    found = rows(pruning.per_block(analyse(tmp_path), "digits"))
    assert [row["heads kept"] for row in found] == ["1.0 of 3", "1.0 of 3", "2.0 of 3", "0.0 of 3"]
    assert [row["neurons kept"] for row in found] == ["100.0 of 192", "90.0 of 192", "30.0 of 192", "10.0 of 192"]


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


def test_every_row_names_its_run_directories(three_seeds: Findings) -> None:
    table = accuracy.overall(three_seeds, "digits")
    directories = line(table, variant="refill")["directories"].split()
    assert [Path(directory).name.split("-")[2] for directory in directories] == ["s0", "s1", "s2"]
    assert all((Path(directory) / "states.jsonl").is_file() for directory in directories)


def test_conclusions_with_three_seeds(three_seeds: Findings) -> None:
    (sentence, *rest) = conclude(three_seeds, "digits")
    assert sentence.startswith("refill in state 3 (")
    assert "against dense in the same state: 1.17 points higher (95 % interval [+0.45, +1.88], 3 paired seeds)." in sentence
    # Mean over states 1 to 3: (−2 + 0 + 1) / 3 twice and (−2 + 0 + 1.5) / 3
    assert "Mean over states 1–3: 0.28 points lower (95 % interval [−0.52, −0.04], 3 paired seeds)." in sentence
    assert "point in opposite directions" in sentence
    assert not any("One seed" in s for s in rest)


def test_conclusions_where_seeds_disagree(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", {0: [80.0, 81.0], 1: [80.0, 81.0], 2: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 80.0], 1: [80.0, 82.0], 2: [80.0, 81.5]})
    sentence = conclude(analyse(tmp_path), "digits")[0]
    assert "no difference beyond seed noise (+0.17 points, 95 % interval [−2.42, +2.75], 3 paired seeds)" in sentence


def test_conclusions_without_a_baseline_say_what_is_not_known(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 82.0], 1: [80.0, 82.5]})
    (sentence,) = conclude(analyse(tmp_path), "digits")
    assert sentence.startswith("There is no dense run on digits: whether pruning costs or gains accuracy is not known")


def test_runs_of_unequal_length_are_compared_where_both_are(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", DENSE)
    config = configuration(seed=0, schedule__states=4)
    write_run(tmp_path, config, [state_line(config, s, v) for s, v in enumerate(REFILL[0])])
    for seed in (1, 2):
        config = configuration(seed=seed, schedule__states=4)
        lines = [state_line(config, s, v) for s, v in enumerate(REFILL[seed][:3])]
        write_run(tmp_path, config, lines, status={"status": "running", "state": 3, "epoch": 0})
    findings = analyse(tmp_path)
    _, refill = rows(accuracy.overall(findings, "digits"))
    assert refill["last"] == "82.00 (n = 1)"
    assert refill["last − dense"] == "identical in state 2"
    assert refill["mean of states ≥ 2"] == "81.50 (n = 1), states 2–3"
    assert "Not all runs are complete, so these statements may change: refill (1 of 3 complete)." in conclude(
        findings, "digits"
    )
