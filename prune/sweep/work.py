"""How much there is to compute: training FLOPs, from the closed forms of the model's size."""

from __future__ import annotations

from prune.architectures.group import TRAINING_FLOPS_PER_MAC
from prune.base.errors import UserError
from prune.base.registries import DATASETS, METHODS
from prune.config.schema import RunConfig
from prune.engine.method import Method
from prune.pruning.budget import StateBudget
from prune.rundir.counts import budgets_of


def flops_left(config: RunConfig, epochs_done: int = 0) -> float | None:
    """Training FLOPs of the epochs after the first `epochs_done`; None if the number of images is not known beforehand.

    See `is_exact`.
    """
    images = DATASETS.load(config.dataset.name)(config.dataset).training_images()
    if images is None:
        return None
    used = images // config.optim.batch_size * config.optim.batch_size
    return sum(macs_per_epoch(config)[epochs_done:]) * used * TRAINING_FLOPS_PER_MAC


def is_exact(config: RunConfig) -> bool:
    """Whether sizes are known beforehand: where quotas fix them, or all units of a kind cost the same and each kind has its own
    count."""
    if all(budget.quotas is not None for budget in _budgets(config)):
        return True
    by_kind = config.schedule.measure == "units" or all(part.scope != "sensitivity" for part in config.method.parts)
    return by_kind and config.architecture().structure.even and all(part.pools == "separate" for part in config.method.parts)


def macs_per_epoch(config: RunConfig) -> list[int]:
    """Forward MACs of one image in each epoch of the run, in order."""
    structure = config.architecture().structure
    sizes = [budget.macs(structure) for budget in _budgets(config)]
    method: type[Method] = METHODS.load(config.method.name)
    return method.macs_per_epoch(config, config.method, sizes)


def _budgets(config: RunConfig) -> list[StateBudget]:
    """With the counts of another run; without them, where that cannot be read any more: sizes are then about so."""
    try:
        return budgets_of(config)
    except UserError:
        return config.budgets()
