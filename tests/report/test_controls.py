"""Controls in the report: one variant over seeds, compared with what they control alone, and what is concluded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.base.files import write_json
from prune.report import compare
from prune.report.conclusions import conclude
from prune.report.findings import Findings
from prune.report.load import load
from prune.rundir.directory import RunDirectory
from tests.report.handmade import analyse
from tests.report.sweep import configuration, state_line, write_run

Accuracies = dict[int, list[float]]

REFILL: Accuracies = {0: [80.0, 90.0], 1: [80.0, 90.5], 2: [80.0, 90.2], 3: [80.0, 90.4], 4: [80.0, 90.1]}


def write(
    sweep: Path, accuracies: Accuracies, of: dict[int, Path] | None = None, stored: bool = False, **method: Any
) -> dict[int, Path]:
    """Runs of two states, one a seed; with `of`, controls of those runs. Seed → directory."""
    found = {}
    for seed, values in accuracies.items():
        counts = {} if of is None else {"counts": str(of[seed].parent if stored else of[seed])}
        config = configuration(method=method["name"], seed=seed, schedule__states=2)
        config["method"] = {**method, **counts}
        found[seed] = write_run(sweep, config, [state_line(config, s, value) for s, value in enumerate(values)])
        if of is not None and stored:  # a sweep's folder was named: the run says which run it has counted
            taken = {str(of[seed].parent): {"run": f"/moved/since/{of[seed].name}", "sha256": "", "groups": []}}
            write_json(RunDirectory(found[seed]).counts, taken)
    return found


def shifted(by: float) -> Accuracies:
    return {seed: [state0, last + by] for seed, (state0, last) in REFILL.items()}


@pytest.fixture
def findings(tmp_path: Path) -> Findings:
    """Refill, dense, and three controls of Refill: far behind, alike, ahead."""
    refill = write(tmp_path, REFILL, name="refill")
    write(tmp_path, shifted(1.0), name="dense")
    write(tmp_path, shifted(-8.0), refill, name="refill", criterion="random")
    write(tmp_path, {s: [80.0, 90.3 - 0.1 * (s % 2)] for s in REFILL}, refill, stored=True, name="refill", rewind="reinit")
    write(tmp_path, shifted(6.0), refill, name="scratch")
    return analyse(tmp_path)


def test_seeds_are_one_variant_named_after_what_it_controls(findings: Findings) -> None:
    named = {variant.label: (variant.control_of, variant.seeds) for variant in findings.study.variants}
    assert named == {
        "dense": (None, [0, 1, 2, 3, 4]),
        "refill": (None, [0, 1, 2, 3, 4]),
        "refill control: criterion=random": ("refill", [0, 1, 2, 3, 4]),
        "refill control: rewind=reinit": ("refill", [0, 1, 2, 3, 4]),
        "refill control: scratch": ("refill", [0, 1, 2, 3, 4]),
    }


def test_a_control_is_compared_with_what_it_controls_alone(findings: Findings) -> None:
    assert [pair.label for pair in findings.pairs("digits")] == [
        "refill − dense",
        "refill − refill control: criterion=random",
        "refill − refill control: rewind=reinit",
        "refill − refill control: scratch",
    ]
    scratch = findings.study.variants[-1]
    assert compare.baseline_of(findings.study, scratch, "dense") is None
    assert {result.pair.first.label for result in findings.results("digits") if not result.of_one_state} == {"refill"}


def test_the_conclusion_says_which_controls_are_beaten(findings: Findings) -> None:
    (sentence,) = [s for s in conclude(findings, "digits") if "beside its controls" in s]
    assert sentence.startswith(
        "refill beside its controls, against criterion=random in state 1 at equal size: 8.00 points higher ("
    )
    assert "against rewind=reinit in state 1 at equal size: no difference beyond noise (" in sentence
    assert "against scratch in state 1 at equal size (2 against 4 epochs since the last rewind): 6.00 points low" in sentence
    assert sentence.endswith(
        "So refill beats criterion=random beyond noise, is behind scratch and cannot be told from rewind=reinit. Where the "
        "epochs differ (scratch), so does the training: the difference is of both."
    )
    assert not any(s.startswith("No controls") for s in conclude(findings, "digits"))
    assert findings.judged == 5  # with dense, with three controls, with its own state 0: each counts for Holm's correction


def test_all_beaten_or_too_few_seeds_to_say(tmp_path: Path) -> None:
    many, few = tmp_path / "many", tmp_path / "few"
    write(many, shifted(-8.0), write(many, REFILL, name="refill"), name="refill", criterion="random")
    assert any(s.endswith("So refill beats its control beyond noise.") for s in conclude(analyse(many), "digits"))
    two = {seed: REFILL[seed] for seed in (0, 1)}
    write(few, {seed: [80.0, 70.0] for seed in two}, write(few, two, name="refill"), name="refill", criterion="random")
    (sentence,) = [s for s in conclude(analyse(few), "digits") if "beside its controls" in s]
    assert sentence == (
        "refill beside its controls, against criterion=random in state 1 at equal size: +20.00 and +20.50 points. Whether "
        "refill beats its controls cannot be said of so few seeds."
    )


def test_before_a_state_is_pruned_there_is_nothing_to_compare(tmp_path: Path) -> None:
    started = {seed: [80.0] for seed in REFILL}
    write(tmp_path, started, write(tmp_path, REFILL, name="refill"), name="refill", criterion="random")
    found = analyse(tmp_path)
    assert [result.label for result in found.results("digits")] == ["refill, state 1 − state 0"]


def test_a_scratch_run_asks_for_no_controls(tmp_path: Path) -> None:
    write(tmp_path, REFILL, name="scratch")
    assert not any(sentence.startswith("No controls") for sentence in conclude(analyse(tmp_path), "digits"))


def test_another_size_is_said(tmp_path: Path) -> None:
    refill = write(tmp_path, REFILL, name="refill")
    for seed, directory in refill.items():
        config = configuration(method="refill", seed=seed, schedule__states=2)
        config["method"] |= {"counts": str(directory), "criterion": "random"}
        lines = [state_line(config, s, 80.0) for s in range(2)]
        write_run(tmp_path, config, [lines[0], {**lines[1], "parameters": lines[1]["parameters"] + 1}])
    assert any("against criterion=random in state 1 at another size" in s for s in conclude(analyse(tmp_path), "digits"))


def test_controls_of_runs_that_are_elsewhere_are_variants_of_their_own(tmp_path: Path) -> None:
    refill = write(tmp_path / "here", REFILL, name="refill")
    write(tmp_path / "there", shifted(-8.0), refill, name="refill", criterion="random")
    apart, together = load([tmp_path / "there"], "dense"), load([tmp_path / "there", tmp_path / "here"], "dense")
    assert [variant.control_of for variant in apart.variants] == [None] * 5  # nothing tells that their runs are seeds of one
    assert [variant.label for variant in together.variants] == ["refill", "refill control: criterion=random"]
