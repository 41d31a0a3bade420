"""How much there is to compute: training FLOPs, from the closed forms of the model's size."""

from __future__ import annotations

import math

from prune.base.registries import DATASETS
from prune.config.schema import RunConfig

FLOPS_PER_MAC = 2
TRAINING_PASSES = 3
"""The backward pass takes two products for each of the forward pass."""


def flops_left(config: RunConfig, epochs_done: int = 0) -> float | None:
    """Training FLOPs of the epochs after the first `epochs_done`; None if the number of images is not known beforehand.

    Exact for separate pools where all units of a kind cost the same; else about so much.
    """
    images = DATASETS.load(config.dataset.name)(config.dataset).training_images()
    if images is None:
        return None
    used = images // config.optim.batch_size * config.optim.batch_size
    return sum(macs_per_epoch(config)[epochs_done:]) * used * FLOPS_PER_MAC * TRAINING_PASSES


def macs_per_epoch(config: RunConfig) -> list[int]:
    """Forward MACs of one image in each epoch of the run, in order."""
    structure = config.architecture().structure
    planned = [structure.usual_macs(budget.kept) for budget in config.budgets()]
    result = [planned[0]] * config.schedule.epochs_of(0)
    for state in range(1, len(planned)):
        epochs = config.schedule.epochs_of(state)
        marked = _epochs_until_removal(config, epochs)
        result += [planned[state - 1]] * marked + [planned[state]] * (epochs - marked)
    return result


def _epochs_until_removal(config: RunConfig, epochs: int) -> int:
    """Epochs that a state trains at the size of the state before: a soft method removes at the end of its ramp's last epoch.

    A ramp below 1 leaves an epoch to recover in.
    """
    ramp = getattr(config.method, "ramp", 0.0)
    if ramp == 0:
        return 0
    whole = max(1, math.ceil(round(ramp * epochs, 6)))  # rounded, since 0.55 × 20 is a little more than 11 in floating point
    return min(whole, epochs - 1) if ramp < 1 else epochs
