"""Splits → batches of normalised float images on the device. Same interface for data that is resident and data streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from prune.base.errors import UserError
from prune.base.seeding import generator
from prune.data.base import SPLITS, DataFacts, Splits
from prune.data.draws import BatchDraws, RecipeDraws, draw_batch, send, upload
from prune.data.erasing import erase
from prune.data.mixing import MixedLabels, mix_images
from prune.data.options import Augment
from prune.data.recipe import NO_RECIPE, ImageRecipe

Batch = tuple[Tensor, Tensor]
"""Images and labels."""

PADDING_LABEL = -1
"""Label of an image that only fills up an evaluation batch: it is never counted."""


class TrainingBatch(NamedTuple):
    """Images and labels, and the second labels of a batch whose images were mixed with each other."""

    images: Tensor
    labels: Tensor
    mixed: MixedLabels | None = None


class Loader(ABC):
    """Batches for training, evaluation and calibration.

    Every batch is images (b, channels, height, width), float32, normalised, and labels (b), int64, both on the device.
    The order of training images derives from (seed, state, epoch), their augmentation from (seed, state, epoch, step) or
    (seed, state, epoch, image), so an epoch can be entered at any step.
    """

    def __init__(self, splits: Splits, facts: DataFacts, batch_size: int, seed: int, device: torch.device, recipe: ImageRecipe):
        self.sizes = {name: len(splits.of(name)) for name in SPLITS}
        self.batch_size, self.seed, self.device, self.recipe = batch_size, seed, device, recipe
        if batch_size > self.sizes["train"]:
            raise UserError(
                f"optim.batch_size={batch_size} is larger than the training split, which has {self.sizes['train']} images."
            )
        std = torch.tensor(facts.std).clamp_min(1e-6)
        self._scale = (1 / (255 * std)).view(-1, 1, 1).to(device)
        self._shift = (-torch.tensor(facts.mean) / std).view(-1, 1, 1).to(device)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the few images left over differ from epoch to epoch."""
        return self.sizes["train"] // self.batch_size

    def order(self, state: int, epoch: int) -> Tensor:
        """The training images of an epoch, (steps, batch) indices."""
        indices = torch.randperm(self.sizes["train"], generator=generator(self.seed, "order", state, epoch))
        return indices[: self.steps_per_epoch * self.batch_size].view(-1, self.batch_size)

    def calibration(self, state: int, batches: int) -> Iterator[Batch]:
        """Batches of training images, drawn for this state, not augmented."""
        indices = torch.randperm(self.sizes["train"], generator=generator(self.seed, "calibration", state))
        return self._plain("train", list(indices.split(self.batch_size))[:batches])

    def images(self, split: str, batches: Sequence[Tensor]) -> Iterator[Batch]:
        """The given images of a split, batch by batch, not augmented."""
        return self._plain(split, list(batches))

    def evaluation(self, split: str, batch_size: int) -> Iterator[Batch]:
        """Every image of a split once, not augmented, in batches of one shape; the last is filled up (`PADDING_LABEL`)."""
        total = self.sizes[split]
        count = -(-total // batch_size)
        size = -(-total // count)
        for images, labels in self._plain(split, list(torch.arange(total).split(size))):
            missing = size - len(labels)
            if missing:
                images = torch.cat([images, images[:1].expand(missing, -1, -1, -1)])
                labels = torch.cat([labels, labels.new_full((missing,), PADDING_LABEL)])
            yield images, labels

    def close(self) -> None:  # noqa: B027  (most loaders hold nothing)
        """The run is over: let go of what outlives a pass over the data."""

    @abstractmethod
    def training(self, state: int, epoch: int, start: int) -> Iterator[TrainingBatch]:
        """The epoch's augmented batches from step `start` on."""

    @abstractmethod
    def _plain(self, split: str, batches: list[Tensor]) -> Iterator[Batch]:
        """The given images of a split as they are."""

    def _training_batch(self, images: Tensor, labels: Tensor, draws: RecipeDraws) -> TrainingBatch:
        """Augmented uint8 images, normalised, and what the recipe does to whole batches: erasing, then mixing."""
        images = self._normalise(images)
        if draws.boxes is not None:
            images = erase(images, draws.boxes)
        if draws.mix is None or draws.partners is None:
            return TrainingBatch(images, labels)
        mixed = MixedLabels(labels.index_select(0, draws.partners), draws.mix.share)
        return TrainingBatch(mix_images(images, draws.partners, draws.mix), labels, mixed)

    def _normalise(self, images: Tensor) -> Tensor:
        """uint8 → (x/255 - mean)/std."""
        return images.to(torch.float32).mul_(self._scale).add_(self._shift)


class ResidentLoader(Loader):
    """All splits live on the device as uint8 and are augmented there, a whole batch at a time. No worker processes.

    Training images lie there with the black margin around them that random crops need: taking a batch of images and
    cropping them is then one indexing.
    """

    def __init__(
        self,
        splits: Splits,
        facts: DataFacts,
        batch_size: int,
        seed: int,
        device: torch.device,
        augment: Augment,
        recipe: ImageRecipe = NO_RECIPE,
    ):
        super().__init__(splits, facts, batch_size, seed, device, recipe)
        self.augment, padding = augment, augment.crop_padding
        self._crops = all_crops(splits.of("train").images, padding, device)
        self._images = {name: torch.from_numpy(splits.of(name).images).to(device) for name in ("val", "test")}
        self._images["train"] = self._crops[:, :, padding, padding]
        self._labels = {name: torch.from_numpy(splits.of(name).labels).to(device) for name in SPLITS}
        height, width = splits.of("train").images.shape[2:]
        self._size, self._randaugment = (height, width), None
        if recipe.randaugment.on:
            from prune.data.randaugment import RandAugment

            self._randaugment = RandAugment(recipe.randaugment, self._size, device)

    def training(self, state: int, epoch: int, start: int) -> Iterator[TrainingBatch]:
        for draws in upload(self.draws(state, epoch, start), self.device):
            images = augment_batch(self._crops, draws)
            if self._randaugment is not None:
                assert draws.order is not None and draws.variants is not None and draws.counts is not None
                images = self._randaugment(images, draws.order, draws.variants, draws.counts)
            yield self._training_batch(images, self._labels["train"].index_select(0, draws.index), draws)

    def draws(self, state: int, epoch: int, start: int) -> list[BatchDraws]:
        """What is random about the epoch's batches from step `start` on, drawn on the host."""
        order = self.order(state, epoch)
        return [
            draw_batch(order[step], self.augment, self.seed, (state, epoch, step), self.recipe, self._size)
            for step in range(start, len(order))
        ]

    def _plain(self, split: str, batches: list[Tensor]) -> Iterator[Batch]:
        indices = send(torch.cat(batches), self.device)  # once for all: each copy by itself would be waited for
        for index in indices.split([len(batch) for batch in batches]):
            # index_select copies whole images; indexing with a tensor goes pixel by pixel.
            images = self._images[split].index_select(0, index)
            yield self._normalise(images), self._labels[split].index_select(0, index)


def all_crops(images: np.ndarray, padding: int, device: torch.device) -> Tensor:
    """Every crop of every image after padding it with black: (n, c, h, w) → (n, c, top, left, h, w), 0 ≤ top, left ≤ 2·padding.

    Only the padded images take memory: the crops are a view of them, in which [:, :, padding, padding] are the images.
    """
    # By numpy, which asks for huge pages: a batch's images lie far apart, and fewer pages are looked up for them.
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    height, width = images.shape[2:]
    return torch.from_numpy(padded).to(device).unfold(2, height, 1).unfold(3, width, 1)


def augment_batch(crops: Tensor, draws: BatchDraws) -> Tensor:
    """The drawn crop of each drawn image, the first of them mirrored.

    Args:
        crops: uint8, what `all_crops` gives.
        draws: on the device of the crops.

    Returns:
        uint8 (b, c, h, w).
    """
    images = _pick(crops, draws.index, draws.corners)
    if draws.mirrored:
        images[: draws.mirrored] = images[: draws.mirrored].flip(3)
    return images


def _pick(crops: Tensor, index: Tensor, corners: Tensor) -> Tensor:
    """Of image `index[i]` the crop whose top and left are `corners[:, i]`."""
    if crops.device.type == "cpu":  # numpy copies row by row, three times as fast as torch's pixel by pixel
        top, left = corners.numpy()
        return torch.from_numpy(crops.numpy()[index.numpy(), :, top, left])
    top, left = corners
    return crops[index, :, top, left]
