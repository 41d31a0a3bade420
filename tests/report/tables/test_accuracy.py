"""The tables of accuracy against numbers computed by hand from a few lines of metrics."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.report.conclusions import conclude
from prune.report.findings import Findings
from prune.report.tables import accuracy, runs
from tests.report.handmade import DENSE, REFILL, analyse, by_hand, line, rows
from tests.report.sweep import IMAGES, configuration, state_line, structure_of, write_flat, write_run
from tests.report.test_statistics import REFERENCE


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


def test_every_row_names_its_run_directories(three_seeds: Findings) -> None:
    table = accuracy.overall(three_seeds, "digits")
    directories = line(table, variant="refill")["directories"].split()
    assert [Path(directory).name.split("-")[2] for directory in directories] == ["s0", "s1", "s2"]
    assert all((Path(directory) / "states.jsonl").is_file() for directory in directories)


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
