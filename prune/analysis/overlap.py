"""Do other seeds keep the same units? Jaccard's index of keep sets, against what chance would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import stats  # type: ignore[import-untyped]

from prune.analysis.runs import AnalysedRun
from prune.architectures.group import Group
from prune.base.errors import UserError
from prune.base.files import read_json_object
from prune.report.variants import counted, group_key
from prune.rundir.directory import RunDirectory
from prune.rundir.reader import run_folders


def other_seeds(run: AnalysedRun) -> dict[int, RunDirectory]:
    """Seed → directory, of the runs of the same sweep that differ from this one in nothing but the seed."""
    every = _configurations(run.directory.path.resolve().parent)
    own = group_key(counted(run.record.config))
    return {seed: RunDirectory(path) for path, key, seed in every if key == own and seed != int(run.record.config["seed"])}


@lru_cache(maxsize=8)
def _configurations(sweep: Path) -> tuple[tuple[Path, str, int], ...]:
    """(directory, all that counts but the seed, seed) of the runs of a sweep that can be read."""
    found = []
    for path in run_folders(sweep):
        try:
            config = RunDirectory(path).read_config()
        except UserError:
            continue
        found.append((path, group_key(counted(config)), int(config["seed"])))
    return tuple(found)


def kept_in(directory: RunDirectory, state: int) -> dict[str, set[int]] | None:
    """Group → units kept in a state; None where it is not finished."""
    groups = read_json_object(directory.manifest(state)).get("groups")
    return {name: set(group["kept"]) for name, group in groups.items()} if isinstance(groups, dict) else None


def jaccard(first: Mapping[str, set[int]], second: Mapping[str, set[int]], groups: Sequence[Group]) -> float:
    """Units that both keep / units that either keeps, over all the groups; nan where neither keeps any."""
    both = sum(len(first[group.name] & second[group.name]) for group in groups)
    either = sum(len(first[group.name] | second[group.name]) for group in groups)
    return both / either if either else float("nan")


def by_chance(first: Mapping[str, set[int]], second: Mapping[str, set[int]], groups: Sequence[Group]) -> float:
    """The expectation of `jaccard` if each kept as many units of each group as it does, but random ones.

    The number that both keep is then a sum of hypergeometric variables, one a group, whose distribution is exact here.
    """
    distribution, total = np.ones(1), 0
    for group in groups:
        a, b = len(first[group.name]), len(second[group.name])
        distribution = np.convolve(distribution, stats.hypergeom.pmf(np.arange(min(a, b) + 1), group.count, a, b))
        total += a + b
    both = np.arange(len(distribution))
    return float((distribution * both / (total - both)).sum()) if total else float("nan")
