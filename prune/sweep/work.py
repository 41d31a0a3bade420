"""How much there is to compute: epochs, and training FLOPs from the closed forms of the model's size."""

from __future__ import annotations

from prune.budget import StateBudget, budgets
from prune.config.schema import RunConfig
from prune.data import DATASETS

FLOPS_PER_MAC = 2
TRAINING_PASSES = 3
"""The backward pass takes two products for each of the forward pass."""


def epochs_in_all(config: RunConfig) -> int:
    """Epochs of all states."""
    return sum(config.epochs(state) for state in range(config.schedule.states))


def flops_left(config: RunConfig, epochs_done: int = 0) -> float | None:
    """Training FLOPs of the epochs after the first `epochs_done`; None if the number of images is not known beforehand."""
    images = DATASETS.load(config.dataset.name)(config.dataset).training_images()
    if images is None:
        return None
    used = images // config.optim.batch_size * config.optim.batch_size
    return sum(macs_per_epoch(config)[epochs_done:]) * used * FLOPS_PER_MAC * TRAINING_PASSES


def macs_per_epoch(config: RunConfig) -> list[float]:
    """Forward MACs of one image in each epoch of the run, in order."""
    planned = [_macs(config, budget) for budget in budgets(config)]
    # A soft method trains a state's first part at the size of the state before, then removes what it marked.
    ramp = getattr(config.method, "ramp", 0.0) if config.method.prunes else 0.0
    result = []
    for state, macs in enumerate(planned):
        epochs, before = config.epochs(state), planned[max(state - 1, 0)]
        for epoch in range(epochs):
            unpruned = min(max(ramp * epochs - epoch, 0.0), 1.0)
            result.append(unpruned * before + (1 - unpruned) * macs)
    return result


def _macs(config: RunConfig, budget: StateBudget) -> float:
    """MACs of the model that a state keeps; they depend on the total of each kind only, not on the blocks."""
    blocks = config.model.depth - 1
    return config.shape().macs([budget.heads.kept] + [0] * blocks, [budget.neurons.kept] + [0] * blocks).total
