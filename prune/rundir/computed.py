"""How long some runs have computed between them: a state 0 that they share was trained once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from prune.rundir.reader import RunRecord


@dataclass(frozen=True)
class Computed:
    """Of some runs' finished states.

    Attributes:
        seconds: what was computed; a shared state 0 counts once, whoever trained it.
        each_alone: what it would have been, had each run trained its own. A run's own seconds are always these.
        taken_over: how many runs have their state 0 from another.
    """

    seconds: float
    each_alone: float
    taken_over: int


def computed(runs: Iterable[RunRecord]) -> Computed:
    """Add up the runs' `seconds`. Runs of several sweeps may be among them: nothing is shared across sweeps."""
    runs = list(runs)
    once: dict[tuple[Path, str, int], float] = {}
    for run in runs:
        for line in run.states:
            trained_by = run.state_0_of if line["state"] == 0 else run.id
            once[run.directory.path.parent, trained_by, line["state"]] = line["seconds"]
    return Computed(
        seconds=sum(once.values()),
        each_alone=sum(line["seconds"] for run in runs for line in run.states),
        taken_over=sum(run.state_0_of != run.id for run in runs),
    )
