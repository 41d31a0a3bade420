"""How much there is to compute: epochs, and training FLOPs from the closed forms of the model's size."""

from __future__ import annotations

from prune.base.registries import DATASETS
from prune.config.schema import RunConfig
from prune.pruning.schedule import epochs_before

FLOPS_PER_MAC = 2
TRAINING_PASSES = 3
"""The backward pass takes two products for each of the forward pass."""


def epochs_in_all(config: RunConfig) -> int:
    """Epochs of all states."""
    return epochs_before(vars(config.schedule), config.schedule.states)


def flops_left(config: RunConfig, epochs_done: int = 0) -> float | None:
    """Training FLOPs of the epochs after the first `epochs_done`; None if the number of images is not known beforehand.

    Exact for separate pools where all units of a kind cost the same; else about so much.
    """
    images = DATASETS.load(config.dataset.name)(config.dataset).training_images()
    if images is None:
        return None
    used = images // config.optim.batch_size * config.optim.batch_size
    return sum(macs_per_epoch(config)[epochs_done:]) * used * FLOPS_PER_MAC * TRAINING_PASSES


def macs_per_epoch(config: RunConfig) -> list[float]:
    """Forward MACs of one image in each epoch of the run, in order."""
    structure = config.architecture().structure
    planned = [structure.usual_macs(budget.kept) for budget in config.budgets()]
    # A soft method trains a state's first part at the size of the state before, then removes what it marked.
    ramp = getattr(config.method, "ramp", 0.0) if config.method.prunes else 0.0
    result = []
    for state, macs in enumerate(planned):
        epochs, before = config.schedule.epochs_of(state), planned[max(state - 1, 0)]
        for epoch in range(epochs):
            unpruned = min(max(ramp * epochs - epoch, 0.0), 1.0)
            result.append(unpruned * before + (1 - unpruned) * macs)
    return result
