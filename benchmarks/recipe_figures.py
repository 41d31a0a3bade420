"""What a recipe costs: mixed and changed images in a step, RandAugment in a loader, and a teacher beside the student."""

from __future__ import annotations

import copy
from pathlib import Path

from benchmarks.figure import Figure
from benchmarks.input_figure import rate
from benchmarks.scale import Scale
from benchmarks.timing import quartiles, ratios, take_turns
from benchmarks.workbench import dense_state, make_job, one_step
from prune.config.recipe import DistillationOptions
from prune.engine.teacher import Teacher

CHANGED = ("recipe.randaugment.ops=2", "recipe.randaugment.magnitude=9")
MIXED = ("recipe.mix.mixup=0.8", "recipe.mix.cutmix=1.0", *CHANGED)


def recipe_step(scale: Scale, folder: Path) -> Figure:
    """Training step, batch 64, with MixUp, CutMix and RandAugment on resident data / without."""
    batch = (f"optim.batch_size={min(64, scale.batch_size)}", "method=dense")
    jobs = {"plain": make_job(folder, scale, *batch), "recipe": make_job(folder, scale, *batch, *MIXED)}
    times = take_turns({name: one_step(job, dense_state(job)) for name, job in jobs.items()}, 2 * scale.rounds)
    rounds = ratios(times["recipe"], times["plain"])
    return Figure.of("recipe_step", rounds, 1.03, True, step_seconds=quartiles(times["plain"])[1])


def randaugment_rate(scale: Scale, folder: Path) -> Figure:
    """Images/s of ours / of a DataLoader with two workers and torchvision's RandAugment of PIL images."""
    return rate("randaugment_rate", 3, scale, folder, *CHANGED)


def teacher_step(scale: Scale, folder: Path) -> Figure:
    """What a teacher as large as the dense model adds to a dense training step / that step."""
    job = make_job(folder, scale, "method=dense")
    plain, taught = dense_state(job), dense_state(job)
    colours, macs = (job.facts.mean, job.facts.std), job.architecture.structure.macs()
    options = DistillationOptions(teacher="state0")
    taught.teacher = Teacher(copy.deepcopy(plain.model), options, (colours, colours), job.device, macs)
    times = take_turns({"plain": one_step(job, plain), "taught": one_step(job, taught)}, scale.rounds)
    rounds = [ratio - 1 for ratio in ratios(times["taught"], times["plain"])]
    return Figure.of("teacher_step", rounds, 0.35, True, step_seconds=quartiles(times["plain"])[1])
