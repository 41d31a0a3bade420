"""Splits → batches of normalised float images on the device. Same interface for data that is resident and data streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from prune.data.base import ArraySplit, DataFacts, Splits
from prune.data.options import Augment
from prune.errors import UserError
from prune.seeding import generator

Batch = tuple[Tensor, Tensor]

PADDING_LABEL = -1
"""Label of an image that only fills up an evaluation batch: it is never counted."""


class Loader(ABC):
    """Batches for training, evaluation and calibration.

    Every batch is images (b, channels, height, width), float32, normalised, and labels (b), int64, both on the device.
    The order of training images derives from (seed, state, epoch), their augmentation from (seed, state, epoch, step) or
    (seed, state, epoch, image), so an epoch can be entered at any step.
    """

    def __init__(self, splits: Splits, facts: DataFacts, batch_size: int, seed: int, device: torch.device):
        self.splits, self.batch_size, self.seed, self.device = splits, batch_size, seed, device
        if batch_size > len(splits.train):
            raise UserError(
                f"optim.batch_size={batch_size} is larger than the training split, which has {len(splits.train)} images."
            )
        std = torch.tensor(facts.std).clamp_min(1e-6)
        self._scale = (1 / (255 * std)).view(-1, 1, 1).to(device)
        self._shift = (-torch.tensor(facts.mean) / std).view(-1, 1, 1).to(device)

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches in an epoch; the few images left over differ from epoch to epoch."""
        return len(self.splits.train) // self.batch_size

    def order(self, state: int, epoch: int) -> Tensor:
        """The training images of an epoch, (steps, batch) indices."""
        indices = torch.randperm(len(self.splits.train), generator=generator(self.seed, "order", state, epoch))
        return indices[: self.steps_per_epoch * self.batch_size].view(-1, self.batch_size)

    def calibration(self, state: int, batches: int) -> Iterator[Batch]:
        """Batches of training images, drawn for this state, not augmented."""
        indices = torch.randperm(len(self.splits.train), generator=generator(self.seed, "calibration", state))
        return self._plain("train", list(indices.split(self.batch_size))[:batches])

    def evaluation(self, split: str, batch_size: int) -> Iterator[Batch]:
        """Every image of a split once, not augmented, in batches of one shape; the last is filled up (`PADDING_LABEL`)."""
        total = len(self.splits.of(split))
        count = -(-total // batch_size)
        size = -(-total // count)
        for images, labels in self._plain(split, list(torch.arange(total).split(size))):
            missing = size - len(labels)
            if missing:
                images = torch.cat([images, images[:1].expand(missing, -1, -1, -1)])
                labels = torch.cat([labels, labels.new_full((missing,), PADDING_LABEL)])
            yield images, labels

    @abstractmethod
    def training(self, state: int, epoch: int, start: int) -> Iterator[Batch]:
        """The epoch's augmented batches from step `start` on."""

    @abstractmethod
    def _plain(self, split: str, batches: list[Tensor]) -> Iterator[Batch]:
        """The given images of a split as they are."""

    def _normalise(self, images: Tensor) -> Tensor:
        """uint8 → (x/255 - mean)/std."""
        return images.to(torch.float32).mul_(self._scale).add_(self._shift)


class ResidentLoader(Loader):
    """All splits live on the device as uint8 and are augmented there, a whole batch at a time. No worker processes."""

    def __init__(self, splits: Splits, facts: DataFacts, batch_size: int, seed: int, device: torch.device, augment: Augment):
        super().__init__(splits, facts, batch_size, seed, device)
        self.augment = augment
        self._images = {name: torch.from_numpy(self._array(name).images).to(device) for name in ("train", "val", "test")}
        self._labels = {name: torch.from_numpy(self._array(name).labels).to(device) for name in ("train", "val", "test")}

    def _array(self, name: str) -> ArraySplit:
        return self.splits.of(name)

    def training(self, state: int, epoch: int, start: int) -> Iterator[Batch]:
        order = self.order(state, epoch).to(self.device)
        for step in range(start, len(order)):
            images, labels = self._take("train", order[step])
            draw = generator(self.seed, "augment", state, epoch, step)
            yield self._normalise(augment_batch(images, self.augment, draw)), labels

    def _plain(self, split: str, batches: list[Tensor]) -> Iterator[Batch]:
        for index in batches:
            images, labels = self._take(split, index.to(self.device))
            yield self._normalise(images), labels

    def _take(self, split: str, index: Tensor) -> Batch:
        # index_select copies whole images; indexing with a tensor goes pixel by pixel.
        return self._images[split].index_select(0, index), self._labels[split].index_select(0, index)


def augment_batch(images: Tensor, augment: Augment, draw: torch.Generator) -> Tensor:
    """Random crop after padding with black, then a mirror image with probability 1/2; each image its own draw.

    Args:
        images: uint8 (b, c, h, w).
    """
    size, padding = len(images), augment.crop_padding
    if padding:
        corners = torch.randint(0, 2 * padding + 1, (2, size), generator=draw)
        images = _crop(torch.nn.functional.pad(images, [padding] * 4), corners, images.shape[2:])
    if augment.flip:
        mirrored = torch.rand(size, generator=draw) < 0.5
        # Out of the images and their mirror images: whole images are copied, which a choice pixel by pixel would not do.
        chosen = (torch.arange(size) + size * mirrored).to(images.device)
        images = torch.cat([images, images.flip(3)]).index_select(0, chosen)
    return images


def _crop(padded: Tensor, corners: Tensor, size: torch.Size) -> Tensor:
    """From image i the part of `size` (height, width) whose top left is `corners[:, i]`."""
    images = torch.arange(len(padded))
    if padded.device.type == "cpu":  # numpy copies row by row here, three times as fast as torch's pixel by pixel
        windows = np.lib.stride_tricks.sliding_window_view(padded.numpy(), tuple(size), axis=(2, 3))
        return torch.from_numpy(windows[images.numpy(), :, corners[0].numpy(), corners[1].numpy()])
    images, corners = images.to(padded.device), corners.to(padded.device)
    return padded.unfold(2, size[0], 1).unfold(3, size[1], 1)[images, :, corners[0], corners[1]]
