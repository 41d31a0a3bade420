"""Every table against numbers computed by hand from a few lines of metrics."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats  # type: ignore[import-untyped]

from prune.report.conclusions import conclude
from prune.report.findings import Findings
from prune.report.latency import command, measurements
from prune.report.load import load
from prune.report.tables import accuracy, differences, pruning, runs, size, training
from prune.report.tables.table import Table
from prune.rundir.directory import RunDirectory
from tests.report.sweep import (
    IMAGES,
    configuration,
    epoch_line,
    state_line,
    structure_of,
    write_flat,
    write_predictions,
    write_run,
)
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
        "last − dense": "+1.17 [+0.44, +1.89]",  # of 1, 1, 1.5
        "epochs since rewind": "2",
        "training FLOPs": "29.99 G",  # 6 · 624,704 MACs · 1000 images · 8 epochs
        "runs": "R4 R5 R6",
    }
    assert dense["last − dense"] == "–"
    exact = line(table, variant="refill")
    assert exact["last_mean"] == pytest.approx(83.166667, abs=1e-6)
    assert exact["last_std"] == pytest.approx(1.258306, abs=1e-6)
    low, high, p = by_hand([[82], [83], [84.5]], [[81], [82], [83]])
    assert exact["against_baseline_ci_low"] == pytest.approx(low)
    assert exact["against_baseline_ci_high"] == pytest.approx(high)
    assert exact["against_baseline_p"] == pytest.approx(p)
    assert (exact["against_baseline_images"], exact["against_baseline_images_by"]) == (IMAGES, "images")
    assert exact["last_n"] == 3
    assert exact["epochs_since_rewind_mean"] == 2
    assert line(table, variant="dense")["epochs_since_rewind_mean"] == 8
    assert table is not None
    assert "Not equally trained (epochs since rewind): refill − dense in state 3: 2 / 8." in table.note


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
    # 8, 5 and 4 of 12 heads; 514, 344 and 230 of 768 neurons
    pruned = ["0.0", "heads 33.3, neurons 33.1", "heads 58.3, neurons 55.2", "heads 66.7, neurons 70.1"]
    assert [row["pruned (%)"] for row in found] == pruned
    assert [row["epochs since rewind"] for row in found] == ["2", *(f"{2 * s + 2} (dense); 2 (refill)" for s in (1, 2, 3))]
    assert found[0]["refill − dense"] == "identical"
    assert found[1]["refill (3 runs)"] == "80.00 ± 1.00"
    # All seeds lose 2 points, so there is nothing but the images' part
    low, high, _ = by_hand([[79], [80], [81]], [[81], [82], [83]])
    assert found[1]["refill − dense"] == f"−2.00 [−{-low:.2f}, −{-high:.2f}]" == "−2.00 [−2.20, −1.80]"
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
    said = "State 0 had not converged: still rising by 2.00 points from its last but one window of epochs to its last."
    assert f"{said} The first units were chosen on it." in sentences
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
    first, zero, verdicts, *rest = conclude(three_seeds, "digits")
    refill, dense = list(REFILL.values()), list(DENSE.values())
    at_state = by_hand([states[3:] for states in refill], [states[3:] for states in dense])[2]
    against_zero = by_hand([states[3:] for states in refill], [states[:1] for states in refill])[2]
    low, high, mean = by_hand([states[1:] for states in refill], [states[1:] for states in dense])
    # Holm: the smallest p three times, the next twice, the largest once, and never less than the one before
    assert against_zero < at_state < mean
    adjusted = [3 * against_zero, max(3 * against_zero, 2 * at_state)]
    adjusted.append(max(adjusted[-1], mean))
    assert first.startswith("refill in state 3 (")
    assert (
        "against dense in the same state: 1.17 points higher (95 % interval [+0.44, +1.89], 3 paired seeds, Holm p = "
        f"{adjusted[1]:.2g})." in first
    )
    # Mean over states 1 to 3: (−2 + 0 + 1) / 3 twice and (−2 + 0 + 1.5) / 3
    assert f"Mean over states 1–3: 0.28 points lower (95 % interval [−{-low:.2f}, −{-high:.2f}], 3 paired seeds" in first
    assert f"Holm p = {adjusted[2]:.2g}). The two point in opposite directions" in first
    assert "Epochs since the last rewind: 2 against 8; training FLOPs of the run by then: 29.99 G against 95.74 G." in first
    assert "The epochs differ, so this is a difference of method and training together." in first
    assert "against state 0 of the same runs: 2.17 points higher" in zero
    assert f"Holm p = {adjusted[0]:.2g})" in zero
    assert "Epochs since the last rewind: 2 against 2;" in zero
    assert "The epochs differ" not in zero
    assert verdicts.startswith("Verdicts go by Holm's p-values for all 3 differences that this page judges")
    assert not any("One seed" in s for s in rest)
    assert (
        "refill rewinds to init; dense does not. A dense run that is trained alike is `method=dense method.rewind=init`."
        in rest
    )


def test_both_in_one_direction_or_not(tmp_path: Path) -> None:
    """Behind in the states before, ahead in the last."""
    write_flat(tmp_path, "dense", {seed: [80.0, 80.0, 80.0] for seed in range(5)})
    write_flat(tmp_path, "rsst", {seed: [80.0, 60.0, 84.0] for seed in range(5)})
    sentence = conclude(analyse(tmp_path), "digits")[0]
    assert "4.00 points higher" in sentence
    assert "8.00 points lower" in sentence
    assert "point in opposite directions" in sentence


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


def test_conclusions_where_seeds_disagree(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", {0: [80.0, 81.0], 1: [80.0, 81.0], 2: [80.0, 81.0]})
    write_flat(tmp_path, "refill", {0: [80.0, 80.0], 1: [80.0, 82.0], 2: [80.0, 81.5]})
    sentence = conclude(analyse(tmp_path), "digits")[0]
    low, high, _ = by_hand([[80.0], [82.0], [81.5]], [[81.0], [81.0], [81.0]])
    assert (
        f"no difference beyond noise (+0.17 points, 95 % interval [−{-low:.2f}, +{high:.2f}], 3 paired seeds, Holm p"
        in sentence
    )


def test_an_interval_that_excludes_zero_is_no_verdict_among_many(tmp_path: Path) -> None:
    """Twenty configurations that differ from dense by chance, the first by enough for an interval of its own."""
    write_flat(tmp_path, "dense", {seed: [80.0, 80.0] for seed in range(3)})
    chance = random.Random(0)
    for index in range(20):
        drawn = [0.4, 0.5, 0.66] if index == 0 else [chance.uniform(-0.5, 0.5) for _ in range(3)]
        accuracies = {seed: [80.0, round(80.0 + value, 2)] for seed, value in enumerate(drawn)}
        write_flat(tmp_path, "rsst", accuracies, method__ramp=0.5 + index / 100)
    findings = analyse(tmp_path)
    result = findings.results("digits")[0]
    assert result.at_state.found.interval is not None
    assert result.at_state.found.interval[0] > 0
    assert result.at_state.beyond_noise is False
    assert findings.judged == 20 + 20 * 19 // 2
    sentences = conclude(findings, "digits")
    assert "by itself the interval excludes zero, among all that this page judges that is not enough" in sentences[0]
    assert "Of 190 further pairs, 190 show no difference beyond noise; all are in the tables." in sentences


def test_a_flagged_accuracy_is_left_out_without_a_verdict(tmp_path: Path) -> None:
    write_flat(tmp_path, "dense", {seed: [80.0, 80.0 + seed / 10] for seed in range(4)})
    for seed in range(4):
        config = configuration(method="rsst", seed=seed, schedule__states=2)
        removal = {"val_accuracy_before_removal": 80.0, "val_accuracy_after_removal": 70.0 if seed == 3 else 80.0}
        write_run(tmp_path, config, [state_line(config, 0, 80.0), state_line(config, 1, 80.0 + seed, **removal)])
    findings = analyse(tmp_path)
    sentence = conclude(findings, "digits")[0]
    assert "An accuracy in state 1 is flagged as an anomaly; without it: +0.90 points (95 % interval [" in sentence
    assert "3 paired seeds) (not judged)." in sentence
    assert findings.judged == 1


def test_conclusions_without_a_baseline_say_what_is_not_known(tmp_path: Path) -> None:
    write_flat(tmp_path / "rewinds", "refill", {0: [80.0, 82.0], 1: [80.0, 82.5]})
    sentences = conclude(analyse(tmp_path / "rewinds"), "digits")
    assert sentences[-1] == (
        "There is no dense run on digits; state 0 is dense and has had as many epochs as the last states since they were "
        "rewound."
    )
    assert "against state 0 of the same runs: +2.00 and +2.50 points, 2 seeds: too few for an interval" in sentences[0]
    write_flat(tmp_path / "goes on", "rsst", {0: [80.0, 82.0], 1: [80.0, 82.5]})
    (sentence,) = conclude(analyse(tmp_path / "goes on"), "digits")
    assert sentence == (
        "There is no dense run on digits: whether pruning costs or gains accuracy at equal training is not known (epochs since "
        "the last rewind: rsst in state 1: 4, state 0: 2)."
    )


def test_runs_that_do_not_tell_their_training_get_no_sentence_on_it(tmp_path: Path) -> None:
    for method in ("dense", "rsst"):
        config = configuration(method=method, schedule__states=2)
        lines = [state_line(config, s, 80.0 + s, epochs_since_rewind=None, training_flops=None) for s in range(2)]
        write_run(tmp_path, config, lines)
    findings = analyse(tmp_path)
    assert not any("Epochs since" in sentence or "The epochs differ" in sentence for sentence in conclude(findings, "digits"))
    (_, rsst) = rows(accuracy.overall(findings, "digits"))
    assert (rsst["epochs since rewind"], rsst["training FLOPs"]) == ("–", "–")


def test_what_was_pruned_is_counted_and_the_schedule_stands_beside_it(tmp_path: Path) -> None:
    """`fillback_rate` or one kind alone: other fractions than the schedule's rate."""
    config = configuration(method="rsst", schedule__states=2)
    dense = structure_of(config).dense
    kept = {name: 64 if name.endswith("mlp") else units for name, units in dense.items()}
    write_run(tmp_path, config, [state_line(config, 0, 80.0), state_line(config, 1, 80.0, kept)])
    findings = analyse(tmp_path)
    zero, one = rows(accuracy.every_state(findings, "digits"))
    assert (zero["pruned (%)"], zero["scheduled (%)"]) == ("0.0", "0.0")
    assert (one["pruned (%)"], one["scheduled (%)"]) == ("heads 0.0, neurons 66.7 (scheduled 70.0)", "70.0")
    # 4 blocks of 128 neurons fewer, of 97 parameters each, of 114,682
    total = structure_of(config).parameters()
    assert one["parameters pruned (%)"] == f"{100 * 4 * 128 * 97 / total:.1f}"
    states = runs.every_result(findings)
    assert list(states["pruned.neurons"]) == pytest.approx([0, 2 / 3])
    assert list(states["pruned.parameters"]) == pytest.approx([0, 4 * 128 * 97 / total])
    assert rows(accuracy.by_state(findings, "digits"))[1]["pruned (%)"] == "heads 0.0, neurons 66.7 (scheduled 70.0)"


def test_variants_that_are_pruned_by_different_amounts(tmp_path: Path) -> None:
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, schedule__target=0.5)
    write_flat(tmp_path, "refill", {0: [80.0, 81.0]}, schedule__target=0.7)
    table = accuracy.by_state(analyse(tmp_path), "digits")
    cell = rows(table)[1]["pruned (%)"]
    assert cell == "50.0 (refill · schedule.target=0.5); heads 66.7, neurons 70.1 (refill · schedule.target=0.7)"
    assert table is not None
    assert "pruned by different amounts in the same state" in table.note


def test_what_a_method_records_is_a_column(tmp_path: Path) -> None:
    config = configuration(schedule__states=2)
    own = [{"movement": 1.5, "chosen": "by score", "calm": True, "seed": 7}, {"movement": None, "chosen": None, "calm": False}]
    write_run(tmp_path, config, [state_line(config, s, 80.0, **own[s]) for s in range(2)])
    other = configuration(method="dense", schedule__states=2)
    write_run(tmp_path, other, [state_line(other, s, 80.0) for s in range(2)])
    findings = analyse(tmp_path)
    table = accuracy.every_state(findings, "digits")
    zero, one = rows(table)[2:]
    names = ("movement", "chosen", "calm", "recorded.seed")
    assert [zero[name] for name in names] == ["1.5", "by score", "true", "7"]
    assert [one[name] for name in names] == ["–", "–", "false", "–"]
    assert [rows(table)[0][name] for name in names] == ["–"] * 4
    states = runs.every_result(findings).set_index(["method", "state"])
    assert states.loc[("refill", 0), list(names)].tolist() == [1.5, "by score", True, 7]
    assert states.loc[("refill", 0), "seed"] == 0


def test_top_5_is_shown_where_it_was_measured(tmp_path: Path) -> None:
    config = configuration("cifar100", schedule__states=2)
    write_run(tmp_path, config, [state_line(config, s, 80.0, test_top5_best=95.0 + s) for s in range(2)])
    findings = analyse(tmp_path)
    (row,) = rows(accuracy.overall(findings, "cifar100"))
    assert row["last, top-5"] == "96.00"
    assert [r["test top-5, best epoch"] for r in rows(accuracy.every_state(findings, "cifar100"))] == ["95.00", "96.00"]
    config = configuration(schedule__states=2)
    write_run(tmp_path, config, [state_line(config, s, 80.0) for s in range(2)])
    findings = analyse(tmp_path)
    for table in (accuracy.overall(findings, "digits"), accuracy.every_state(findings, "digits")):
        assert table is not None
        assert not any("top-5" in column for column in table.columns)


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
