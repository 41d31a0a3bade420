"""What budgets of size and curves of sensitivity cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from benchmarks.figure import Figure
from benchmarks.scale import Scale
from benchmarks.step_figures import PRUNED
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import dense_state, make_job, one_step
from prune.pruning.keepset import KeepSet
from prune.pruning.ranking import choose

CALIBRATION_IMAGES = 8 * 128
CIFAR_IMAGES = 45_000
"""Training images of CIFAR-10 after validation has taken its tenth."""


def choose_macs(scale: Scale, folder: Path) -> Figure:
    """Choosing the units that stay under a MAC budget / under one of units, from scores that are there."""
    jobs = {name: make_job(folder, scale, *PRUNED, f"schedule.measure={name}") for name in ("units", "macs")}
    structure = jobs["units"].architecture.structure
    draw = torch.Generator().manual_seed(0)
    scores = {group.name: torch.rand(group.count, generator=draw) for group in structure.groups}
    alive = KeepSet.dense(structure)

    def chosen(name: str) -> Any:
        return lambda: choose(scores, alive, structure, jobs[name].budgets[1])

    times = take_turns({name: chosen(name) for name in jobs}, scale.many)
    return Figure.of(
        "choose_macs", ratios(times["macs"], times["units"]), 2.0, True,
        milliseconds=1000 * quartiles(times["macs"])[1], units=sum(structure.dense.values()),
    )  # fmt: skip


def sensitivity(scale: Scale, folder: Path) -> Figure:
    """Curves of all groups on 8 batches of 128 images / one epoch of CIFAR-10's training steps, from one batch of each."""
    job = make_job(folder, scale, *PRUNED, "method.scope=sensitivity", "method.calibration_batches=1")
    trained = dense_state(job)
    state = job.state(1, trained.model, KeepSet.dense(job.architecture.structure))
    scores = state.score()
    calls = {"curves": lambda: state._measure_sensitivity(scores), "step": one_step(job, trained)}
    times = take_turns(calls, 2 if scale.rounds > 2 else 1, warmup=0 if scale.rounds > 2 else 1)
    share = CALIBRATION_IMAGES / CIFAR_IMAGES  # both took a batch of the same size
    return Figure.of(
        "sensitivity", [share * ratio for ratio in ratios(times["curves"], times["step"])], 0.45, True,
        batch_seconds=quartiles(times["curves"])[1], step_seconds=quartiles(times["step"])[1],
    )  # fmt: skip
