"""The learning rate of each step of a state. Plain arithmetic, no torch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prune.config.schema import OptimConfig


def learning_rate(optim: OptimConfig, step: int, steps: int, warmup_steps: int) -> float:
    """The rate of step `step` (from 0) of a state of `steps` steps.

    Warm-up: lr·(step + 1)/warmup_steps. Then `constant`: lr; `cosine`: from lr down to lr_final·lr, which the step after
    the last would reach: lr·(f + (1 - f)·(1 + cos(π·t))/2), t = (step - warmup)/(steps - warmup) (SGDR, arXiv 1608.03983).
    """
    if step < warmup_steps:
        return optim.lr * (step + 1) / warmup_steps
    if optim.lr_schedule == "constant":
        return optim.lr
    progress = (step - warmup_steps) / max(1, steps - warmup_steps)
    return optim.lr * (optim.lr_final + (1 - optim.lr_final) * (1 + math.cos(math.pi * progress)) / 2)
