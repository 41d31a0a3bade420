"""The optimiser's section of the configuration, and the learning rate that it means. Plain arithmetic, no torch."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from prune.base.section import Section

Share = Annotated[float, Field(ge=0, lt=1)]


class OptimConfig(Section):
    """The optimiser, made afresh in each state, and its learning-rate schedule."""

    name: Literal["sgd", "adamw"] = Field(description="which optimiser")
    lr: float = Field(gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="SGD only")
    betas: tuple[Share, Share] = Field((0.9, 0.999), description="AdamW only")
    weight_decay: float = Field(ge=0, description="SGD: added to the gradient as wd·w; AdamW: decoupled")
    decay: Literal["all", "matrices"] = Field("all", description="which parameters decay: all, or matrices only")
    batch_size: int = Field(ge=1, le=1_000_000, description="training images per step")
    warmup_epochs: float = Field(0.0, ge=0, description="the rate climbs linearly over these epochs of each state")
    lr_schedule: Literal["constant", "cosine"] = Field("constant", description="after the warm-up")
    lr_final: float = Field(0.0, ge=0, le=1, description="cosine ends at this share of lr")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="of the training loss only")
    grad_clip: float | None = Field(None, gt=0, description="clip the gradient's norm to this")
    precision: Literal["float32", "tf32", "bf16"] = Field("float32", description="of the matrix products")


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
