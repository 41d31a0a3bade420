"""The report's sentences, with the numbers, intervals and p-values worked out by hand."""

from __future__ import annotations

import random
from pathlib import Path

from prune.report.conclusions import conclude
from prune.report.findings import Findings
from prune.report.tables import accuracy
from tests.report.handmade import DENSE, REFILL, analyse, by_hand, rows
from tests.report.sweep import configuration, state_line, write_flat, write_run


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
    assert sentences[-2] == (
        "There is no dense run on digits; state 0 is dense and has had as many epochs as the last states since they were "
        "rewound."
    )
    assert "against state 0 of the same runs: +2.00 and +2.50 points, 2 seeds: too few for an interval" in sentences[0]
    write_flat(tmp_path / "goes on", "rsst", {0: [80.0, 82.0], 1: [80.0, 82.5]})
    sentence, controls = conclude(analyse(tmp_path / "goes on"), "digits")
    assert controls == (
        "No controls: rsst. Whether it matters which units stay, and with which weights, is not known; `python launch.py "
        "experiment=controls name=goes on` runs them."
    )
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
