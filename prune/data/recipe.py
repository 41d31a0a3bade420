"""What a recipe does to training images and their labels: the keys. Plain arithmetic, no torch."""

from __future__ import annotations

from pydantic import Field

from prune.base.section import Section


class MixOptions(Section):
    """MixUp (arXiv 1710.09412) and CutMix (arXiv 1905.04899) of the images of a batch, and of their labels."""

    mixup: float = Field(0.0, ge=0, le=100, description="alpha of MixUp: the share is drawn from Beta(alpha, alpha); 0: off")
    cutmix: float = Field(0.0, ge=0, le=100, description="alpha of CutMix; 0: off")
    prob: float = Field(1.0, ge=0, le=1, description="share of batches that are mixed")
    switch_prob: float = Field(0.5, ge=0, le=1, description="with both on: share of mixed batches that CutMix mixes")

    @property
    def on(self) -> bool:
        """Whether any batch is ever mixed."""
        return self.prob > 0 and (self.mixup > 0 or self.cutmix > 0)

    @property
    def cutmix_share(self) -> float:
        """Of the mixed batches, the share that CutMix mixes, in [0, 1]."""
        if self.mixup > 0 and self.cutmix > 0:
            return self.switch_prob
        return 1.0 if self.cutmix > 0 else 0.0


class RandAugmentOptions(Section):
    """RandAugment (arXiv 1909.13719): operations drawn for each image, of one strength."""

    ops: int = Field(0, ge=0, le=20, description="operations done to each image in turn; 0: off")
    magnitude: int = Field(9, ge=0, le=30, description="strength of all operations, of 30")

    @property
    def on(self) -> bool:
        """Whether anything is done."""
        return self.ops > 0


class ErasingOptions(Section):
    """Random erasing (arXiv 1708.04896): a box of the image becomes the data set's mean colour."""

    prob: float = Field(0.0, ge=0, le=1, description="share of images in which a box is erased; 0: off")

    @property
    def on(self) -> bool:
        """Whether any image loses a box."""
        return self.prob > 0


class ImageRecipe(Section):
    """What is done to training images and labels, beyond the data set's own augmentation. All off by default."""

    mix: MixOptions = MixOptions()
    randaugment: RandAugmentOptions = RandAugmentOptions()
    erasing: ErasingOptions = ErasingOptions()


NO_RECIPE = ImageRecipe()
