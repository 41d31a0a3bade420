"""Rank correlations against loops, strata that cover all scores, and scores that are right or wrong by construction."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from prune.analysis import importance
from prune.analysis.importance import SAMPLE, Importance, spearman, stratified
from prune.analysis.overlap import _configurations
from prune.analysis.scoring import scores_of
from prune.analysis.silencing import Trial, silence_each
from prune.cli import main
from prune.rundir.directory import RunDirectory
from tests.analysis.subjects import MODELS, subject


def naive_ranks(values: list[float]) -> list[float]:
    """1 for the smallest; equal values share the mean of their ranks."""
    return [1 + sum(v < value for v in values) + (sum(v == value for v in values) - 1) / 2 for value in values]


def naive_spearman(first: list[float], second: list[float]) -> float:
    a, b = naive_ranks(first), naive_ranks(second)
    mean = (len(a) + 1) / 2
    top = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    below = sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b)
    return float(top / below**0.5)


def test_spearman_is_the_correlation_of_ranks_also_with_equal_values() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.integers(0, 6, 30).astype(float), draw.normal(size=30)
    assert spearman(first, second) == pytest.approx(naive_spearman(first.tolist(), second.tolist()))
    assert spearman(second, second) == pytest.approx(1) and spearman(second, -second) == pytest.approx(-1)
    assert np.isnan(spearman(np.ones(30), second))


def test_the_sample_has_one_unit_of_each_stratum() -> None:
    scores = np.random.default_rng(0).normal(size=200)
    places = stratified(scores, "a")
    ranks = np.argsort(np.argsort(scores))[places]
    edges = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(200), SAMPLE))])
    assert len(places) == SAMPLE == len(set(places.tolist()))
    assert sorted(np.searchsorted(edges, ranks, side="right") - 1) == list(range(SAMPLE))
    assert places.tolist() == stratified(scores, "a").tolist() != stratified(scores, "b").tolist()
    assert stratified(scores[:SAMPLE], "a").tolist() == list(range(SAMPLE))


@pytest.mark.parametrize("family", MODELS)
def test_correlations_are_those_of_scores_and_losses_unit_by_unit(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importance, "SAMPLE", 64)  # every unit
    looked_at = subject(family, state=0)
    found = Importance().measure(looked_at)
    for kind in looked_at.structure.kinds:
        losses: list[float] = []
        for group in looked_at.structure.of(kind):
            trials = [Trial(group, looked_at.now.keep[group.name][unit : unit + 1]) for unit in range(group.count)]
            outcome = silence_each(looked_at, looked_at.now, trials)
            losses += (outcome.losses - outcome.loss).tolist()
        every = {}
        for criterion in ("magnitude", "activation", "taylor"):
            scores = scores_of(looked_at, looked_at.now, criterion)
            every[criterion] = np.concatenate([scores[group.name] for group in looked_at.structure.of(kind)])
        for criterion, values in every.items():
            wanted = naive_spearman(values.tolist(), losses)
            assert found[f"spearman.{criterion}/{kind}"] == pytest.approx(wanted, abs=1e-9)
        names = found["criteria"].tolist()
        for one, other in itertools.permutations(every, 2):
            wanted = naive_spearman(every[one].tolist(), every[other].tolist())
            assert found[f"agreement/{kind}"][names.index(one), names.index(other)] == pytest.approx(wanted)


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (-1, -1.0)])
def test_a_criterion_that_knows_the_loss_is_found_out(sign: int, expected: float, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = subject("vit", state=0)
    truth = {}
    for group in looked_at.structure.groups:
        trials = [Trial(group, looked_at.now.keep[group.name][unit : unit + 1]) for unit in range(group.count)]
        truth[group.name] = sign * silence_each(looked_at, looked_at.now, trials).losses
    monkeypatch.setattr(importance, "COMPARED", ("magnitude",))
    monkeypatch.setattr(importance, "scores_of", lambda *_: truth)
    found = Importance().measure(looked_at)
    for kind in looked_at.structure.kinds:
        assert found[f"spearman.magnitude/{kind}"] == pytest.approx(expected)
        assert all(value == pytest.approx(expected) for value in found[f"by_block.magnitude/{kind}"] if value == value)


def test_seeds_of_the_same_configuration_are_compared(run: Path) -> None:
    """Two more seeds that kept the very same units: the overlap is 1, which chance would not give."""
    for seed in (1, 2):
        other = RunDirectory(Path(shutil.copytree(run, run.with_name(f"other-{seed}"))))
        other.write_config({**other.read_config(), "seed": seed})
    _configurations.cache_clear()
    assert main(["analyse", str(run), "--only", "importance", "--states", "last", "--images", "20"]) == 0
    with np.load(run / "analysis/state_02/importance.npz") as arrays:
        assert arrays["jaccard/neurons"].tolist() == [1, 1]
        assert (arrays["chance/neurons"] < 0.5).all()
    sentences = json.loads((run / "analysis/state_02/importance.json").read_text())["sentences"]
    assert any("overlap by 1.00 (Jaccard, mean over 2 others; by chance" in sentence for sentence in sentences)
