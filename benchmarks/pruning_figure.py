"""The time that pruning itself takes: ranking all units by magnitude and building the compact model."""

from __future__ import annotations

import copy
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED
from benchmarks.timing import clock, quartiles, take_turns
from benchmarks.workbench import dense_state, make_job, one_step
from prune.engine.state import PruningState
from prune.pruning.keepset import KeepSet


def prune_time(scale: Scale, folder: Path) -> Figure:
    """Rank by magnitude and slice / one dense training step."""
    job = make_job(folder, scale, *PRUNED)
    trained = dense_state(job)
    step = one_step(job, trained)
    seconds = quartiles(take_turns({"step": step}, max(2, scale.rounds // 3))["step"])[1]
    taken = []
    for number in range(scale.many + 1):
        state = job.state(1, copy.deepcopy(trained.model), KeepSet.dense(job.architecture.structure))

        def prune_it(state: PruningState = state) -> None:
            state.remove(state.choose(state.score()))

        duration = clock(prune_it)
        if number:
            taken.append(duration)
    return Figure.of(
        "prune_time",
        [duration / seconds for duration in taken],
        0.02,
        True,
        milliseconds=1000 * quartiles(taken)[1],
        step_seconds=seconds,
    )
