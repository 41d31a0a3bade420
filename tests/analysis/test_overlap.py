"""Overlap of keep sets against counting, and its expectation against all choices there are."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import pytest
import torch

from prune.analysis.overlap import by_chance, jaccard, kept_in, other_seeds
from prune.analysis.runs import AnalysedRun
from prune.architectures.group import Group
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import read_run

GROUPS = [Group("a", "heads", 0, 4, 1, ()), Group("b", "heads", 1, 3, 1, ())]


def test_jaccard_counts_units_of_all_groups_together() -> None:
    first, second = {"a": {0, 1}, "b": {2}}, {"a": {1, 3}, "b": {2}}
    assert jaccard(first, second, GROUPS) == pytest.approx(2 / 4)
    assert jaccard(first, first, GROUPS) == 1


def test_chance_is_the_mean_over_all_choices_of_as_many_units() -> None:
    first, second = {"a": {0, 1}, "b": {2}}, {"a": {1, 2, 3}, "b": {0, 1}}
    choices = itertools.product(itertools.combinations(range(4), 3), itertools.combinations(range(3), 2))
    every = [jaccard(first, {"a": set(a), "b": set(b)}, GROUPS) for a, b in choices]
    assert by_chance(first, second, GROUPS) == pytest.approx(sum(every) / len(every))


def test_nothing_kept_has_no_overlap() -> None:
    empty: dict[str, set[int]] = {"a": set(), "b": set()}
    assert jaccard(empty, empty, GROUPS) != jaccard(empty, empty, GROUPS)  # nan
    assert by_chance(empty, empty, GROUPS) != by_chance(empty, empty, GROUPS)


def test_other_seeds_are_those_that_differ_in_nothing_else(finished_run: Path, tmp_path: Path) -> None:
    for name, seed, target in (("one", 0, 0.7), ("two", 1, 0.7), ("three", 2, 0.7), ("four", 3, 0.5)):
        copy = RunDirectory(Path(shutil.copytree(finished_run, tmp_path / name)))
        config = copy.read_config()
        copy.write_config({**config, "seed": seed, "schedule": {**config["schedule"], "target": target}})
    run = AnalysedRun(read_run(tmp_path / "two"), torch.device("cpu"))
    found = other_seeds(run)
    assert {seed: directory.path.name for seed, directory in found.items()} == {0: "one", 2: "three"}
    kept = kept_in(found[0], 2)
    assert kept is not None and len(kept["blocks.0.attn"]) >= 1
    assert kept_in(found[0], 3) is None
