"""The recipe's section of the configuration: what is done to training images, to labels, and who teaches. No torch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from prune.base.section import Section
from prune.data.recipe import ImageRecipe

STATE_0 = "state0"
"""The teacher that is the run's own dense model, the best of state 0."""


class DistillationOptions(Section):
    """A teacher whose answers are learnt beside the labels: soft (Hinton et al. 2015, arXiv 1503.02531) or hard (DeiT,
    arXiv 2012.12877)."""

    teacher: str | None = Field(None, description="state0, a pruned model or run, or one of timm's with weights; null: off")
    kind: Literal["soft", "hard"] = Field("soft", description="learn the teacher's probabilities, or its best guess")
    temperature: float = Field(1.0, gt=0, le=1000, description="soft only: both logits are divided by it")
    weight: float = Field(0.5, gt=0, le=1, description="share of the teacher in the loss; the labels have the rest")

    @field_validator("teacher")
    @classmethod
    def _named(cls, value: str | None) -> str | None:
        if value == "":
            raise ValueError("is empty; give state0, a path, a name that timm knows, or null")
        return value

    @property
    def on(self) -> bool:
        """Whether there is a teacher."""
        return self.teacher is not None

    @property
    def path(self) -> Path | None:
        """Where the teacher lies, if it is a file or folder and no name of timm's."""
        return Path(self.teacher) if self.teacher is not None and is_path(self.teacher) else None

    @property
    def of_timm(self) -> str | None:
        """The teacher's name, if timm knows it by that."""
        return None if self.teacher in (None, STATE_0) or self.path is not None else self.teacher


def is_path(teacher: str) -> bool:
    """Whether a teacher is given as a place on disk: that has a separator, a name of timm's has none."""
    return os.sep in teacher


class RecipeConfig(ImageRecipe):
    """How a state trains beyond its optimiser and the data set's own augmentation. All off by default."""

    distillation: DistillationOptions = DistillationOptions()

    @property
    def words(self) -> str:
        """What is on, for labels: `mixup 0.8 + cutmix 1 + randaugment 2×27 + erasing 0.25`; `none` where nothing is."""
        mix, taught = self.mix, self.distillation
        mixed = [f"{name} {alpha:g}" for name, alpha in (("mixup", mix.mixup), ("cutmix", mix.cutmix)) if alpha and mix.on]
        both = len(mixed) == 2
        rates = [f"prob {mix.prob:g}"] * (bool(mixed) and mix.prob < 1)
        rates += [f"switch {mix.switch_prob:g}"] * (both and mix.switch_prob != 0.5)
        parts = [
            " + ".join(mixed) + (f" ({', '.join(rates)})" if rates else ""),
            f"randaugment {self.randaugment.ops}×{self.randaugment.magnitude}" if self.randaugment.on else "",
            f"erasing {self.erasing.prob:g}" if self.erasing.on else "",
            f"{taught.kind} teacher {taught.teacher} ({taught.weight:g}, T {taught.temperature:g})" if taught.on else "",
        ]
        return " + ".join(filter(None, parts)) or "none"
