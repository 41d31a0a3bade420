"""How much there is to compute: training FLOPs, from the closed forms of the model's size."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from prune.architectures.group import FORWARD_FLOPS_PER_MAC, TRAINING_FLOPS_PER_MAC
from prune.base.errors import UserError
from prune.base.registries import DATASETS, METHODS
from prune.config.recipe import STATE_0
from prune.config.schema import RunConfig
from prune.engine.method import Method
from prune.pruning.budget import StateBudget
from prune.rundir.counts import budgets_of
from prune.rundir.manifest import read_manifest
from prune.rundir.pretrained import teacher_file


def flops_left(config: RunConfig, epochs_done: int = 0) -> float | None:
    """Training FLOPs of the epochs after the first `epochs_done`; None if the number of images is not known beforehand.

    See `is_exact`.
    """
    images = DATASETS.load(config.dataset.name)(config.dataset).training_images()
    if images is None:
        return None
    used = images // config.optim.batch_size * config.optim.batch_size
    return sum(flops_of_image(config)[epochs_done:]) * used


def is_exact(config: RunConfig) -> bool:
    """Whether sizes are known beforehand: where quotas fix them, or all units of a kind cost the same and each kind has its own
    count. The size of a teacher must be known, too."""
    if _teacher_macs(config) is None:
        return False
    if all(budget.quotas is not None for budget in _budgets(config)):
        return True
    by_kind = config.schedule.measure == "units" or all(part.scope != "sensitivity" for part in config.method.parts)
    return by_kind and config.architecture().structure.even and all(part.pools == "separate" for part in config.method.parts)


def flops_of_image(config: RunConfig) -> list[int]:
    """Training FLOPs of one image in each epoch of the run, in order: the model's, and those of its teacher's forward pass.

    A teacher whose size is not known beforehand (one of timm's) counts for nothing.
    """
    taught = FORWARD_FLOPS_PER_MAC * (_teacher_macs(config) or 0)
    untaught = config.schedule.epochs_of(0) if config.recipe.distillation.teacher == STATE_0 else 0
    return [TRAINING_FLOPS_PER_MAC * macs + taught * (epoch >= untaught) for epoch, macs in enumerate(macs_per_epoch(config))]


def macs_per_epoch(config: RunConfig) -> list[int]:
    """Forward MACs of one image in each epoch of the run, in order."""
    structure = config.architecture().structure
    sizes = [budget.macs(structure) for budget in _budgets(config)]
    method: type[Method] = METHODS.load(config.method.name)
    return method.macs_per_epoch(config, config.method, sizes)


def _teacher_macs(config: RunConfig) -> int | None:
    """Forward MACs of one image of the teacher, 0 without one; None where they are not known beforehand."""
    teacher = config.recipe.distillation
    if not teacher.on:
        return 0
    if teacher.teacher == STATE_0:
        return config.architecture().structure.macs()
    if teacher.path is None:
        return None
    try:
        return _macs_of(teacher_file(teacher.path).folder)
    except UserError:  # the run will say what is wrong with it
        return None


@lru_cache
def _macs_of(folder: Path) -> int:
    """Read once for all cells of a sweep."""
    return read_manifest(folder).macs


def _budgets(config: RunConfig) -> list[StateBudget]:
    """With the counts of another run; without them, where that cannot be read any more: sizes are then about so."""
    try:
        return budgets_of(config)
    except UserError:
        return config.budgets()
