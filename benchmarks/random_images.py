"""A dataset of random pixels with the sizes of CIFAR: time and memory do not depend on what an image shows."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from prune.base.registries import DATASETS
from prune.data.base import ArraySplit, Dataset, Splits
from prune.data.options import DatasetOptions


class RandomImagesOptions(DatasetOptions):
    val_fraction: float = Field(0.1, description="not used: the counts below say how many images there are")
    images: tuple[int, int, int] = Field((1024, 256, 256), description="training, validation and test images")


class RandomImages(Dataset):
    Options: ClassVar[type[DatasetOptions]] = RandomImagesOptions

    def load(self) -> Splits:
        draw = np.random.default_rng(0)
        options = self.options

        def split(count: int) -> ArraySplit:
            pixels = draw.integers(0, 256, (count, options.channels, *options.size), dtype=np.uint8)
            return ArraySplit(pixels, draw.integers(0, options.classes, count))

        train, val, test = (split(count) for count in options.images)
        return Splits(train, val, test, classes=[str(label) for label in range(options.classes)])


def register() -> None:
    """Make `dataset.name=random_images` known in this process."""
    DATASETS.table["random_images"] = "benchmarks.random_images:RandomImages"
