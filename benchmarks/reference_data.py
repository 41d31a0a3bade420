"""The reference loop's data: PIL images through torchvision transforms, in a DataLoader with two workers."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from prune.base.registries import DATASETS
from prune.config import RunConfig
from prune.data.base import ArraySplit
from prune.data.options import Augment
from prune.data.recipe import NO_RECIPE, RandAugmentOptions

WORKERS = 2

Loaders = tuple[DataLoader[Any], DataLoader[Any], DataLoader[Any]]


class PILImages(Dataset[Any]):
    """What torchvision's CIFAR10 does: arrays in memory, a PIL image per item, transforms on it."""

    def __init__(self, split: ArraySplit, transform: Any):
        images = split.images.transpose(0, 2, 3, 1)
        self.images = images[..., 0] if images.shape[3] == 1 else images
        self.labels, self.transform = split.labels, transform

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.transform(Image.fromarray(self.images[index])), int(self.labels[index])


def transform(images: np.ndarray, augment: Augment | None, changed: RandAugmentOptions = NO_RECIPE.randaugment) -> Any:
    """Crop, flip and RandAugment if asked for, then a normalised tensor."""
    mean = (images.mean(axis=(0, 2, 3)) / 255).tolist()
    std = (images.std(axis=(0, 2, 3)) / 255).tolist()
    steps: list[Any] = []
    if augment is not None and augment.crop_padding:
        steps.append(transforms.RandomCrop(images.shape[2:], padding=augment.crop_padding))
    if augment is not None and augment.flip:
        steps.append(transforms.RandomHorizontalFlip())
    if changed.on:
        steps.append(transforms.RandAugment(changed.ops, changed.magnitude))
    return transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(mean, std)])


def loaders(config: RunConfig) -> Loaders:
    """Training, validation and test."""
    splits = DATASETS.load(config.dataset.name)(config.dataset).load()
    pixels = splits.train.images
    options: dict[str, Any] = {"num_workers": WORKERS, "persistent_workers": True}
    plain = transform(pixels, None)
    training = PILImages(splits.train, transform(pixels, config.dataset.augment, config.recipe.randaugment))
    shuffled = torch.Generator().manual_seed(config.seed)
    return (
        DataLoader(training, config.optim.batch_size, shuffle=True, drop_last=True, generator=shuffled, **options),
        DataLoader(PILImages(splits.val, plain), config.hardware.eval_batch_size, **options),
        DataLoader(PILImages(splits.test, plain), config.hardware.eval_batch_size, **options),
    )
