"""Images decoded from files by worker processes while training goes on."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import RandomResizedCrop
from torchvision.transforms.v2 import functional as F

from prune.base.errors import UserError
from prune.base.seeding import derive, generator
from prune.base.text import printable
from prune.base.trouble import WORKER, first_line
from prune.data.base import SPLITS, DataFacts, FileSplit, Splits
from prune.data.draws import draw_recipe, upload
from prune.data.folder import FolderAugment, ImageFolderOptions
from prune.data.loading import Batch, Loader, TrainingBatch
from prune.data.operations import draw_operations
from prune.data.randaugment import RandAugment
from prune.data.recipe import NO_RECIPE, ImageRecipe
from prune.data.workers import Leash, errors_wait_their_turn

Key = tuple[int, tuple[int, int, int] | None]
"""(image index, (seed, state, epoch)) of an augmented image, or (image index, None) of a plain one."""


class Broken:
    """Takes the place of an image that cannot be decoded, so that the main process can name it."""

    def __init__(self, path: Path, reason: str):
        self.path, self.reason = path, reason


class DecodedImages(Dataset[Any]):
    """Decodes and augments one image by its key; each image's randomness derives from the key alone."""

    def __init__(
        self,
        split: FileSplit,
        options: ImageFolderOptions,
        recipe: ImageRecipe = NO_RECIPE,
    ):
        self.split, self.options = split, options
        self._rounds, self._randaugment = recipe.randaugment.ops, None
        if recipe.randaugment.on:
            self._randaugment = RandAugment(recipe.randaugment, options.size, torch.device("cpu"))

    def __getitem__(self, key: Key) -> tuple[Tensor, int] | Broken:
        index, draw_from = key
        path = self.split.paths[index]
        try:
            image = _decoded(path, "RGB" if self.options.channels == 3 else "L")
        except Exception as error:  # PIL's decoders raise whatever they stumble over in a damaged or hostile file
            return Broken(path, first_line(error))
        size = self.options.size
        if draw_from is None:
            image = _fit(image, size)
            return F.pil_to_tensor(image), int(self.split.labels[index])
        seed, *at = draw_from
        image = _augment(image, size, self.options.augment, derive(seed, "augment", *at, index))
        pixels = F.pil_to_tensor(image)
        if self._randaugment is not None:
            draw = generator(seed, "randaugment", *at, index)
            pixels = self._randaugment(pixels[None], *draw_operations(self._rounds, 1, draw))[0]
        return pixels, int(self.split.labels[index])


def _decoded(path: Path, mode: str) -> Image.Image:
    with warnings.catch_warnings():
        # PIL warns, in several lines, of an image that is large, and refuses one that is twice as large.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with Image.open(path) as file:
            return file.convert(mode)


def _fit(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The largest centred part with the wanted proportions, resized."""
    height, width = size
    scale = min(image.height / height, image.width / width)
    part = [max(1, round(height * scale)), max(1, round(width * scale))]
    return F.resize(F.center_crop(image, part), list(size), interpolation=InterpolationMode.BICUBIC)


def _augment(image: Image.Image, size: tuple[int, int], augment: FolderAugment, seed: int) -> Image.Image:
    if augment.crop_scale < 1:
        # torchvision draws the box from torch's default generator, which every training step re-seeds anyway.
        torch.manual_seed(seed)
        transform = RandomResizedCrop(size, scale=(augment.crop_scale, 1.0), interpolation=InterpolationMode.BICUBIC)
        image = transform(image)
    else:
        image = _fit(image, size)
    draw = random.Random(seed)
    if augment.crop_padding:
        padding = augment.crop_padding
        top, left = draw.randint(0, 2 * padding), draw.randint(0, 2 * padding)
        image = F.crop(F.pad(image, [padding]), top, left, *size)
    if augment.flip and draw.random() < 0.5:
        image = F.horizontal_flip(image)
    return image


def _collate(items: list[tuple[Tensor, int] | Broken]) -> Batch | Broken:
    for item in items:
        if isinstance(item, Broken):
            return item
    return torch.stack([item[0] for item in items]), torch.tensor([item[1] for item in items])  # type: ignore[index]


class _Plan:
    """A batch sampler whose batches are set before each pass, so that worker processes live on between epochs."""

    def __init__(self) -> None:
        self.batches: list[list[Key]] = []

    def __iter__(self) -> Iterator[list[Key]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class StreamingLoader(Loader):
    """Streams files through `workers` processes (0: decode in the main process)."""

    def __init__(
        self,
        splits: Splits,
        facts: DataFacts,
        batch_size: int,
        seed: int,
        device: torch.device,
        options: ImageFolderOptions,
        workers: int,
        recipe: ImageRecipe = NO_RECIPE,
    ):
        super().__init__(splits, facts, batch_size, seed, device, recipe)
        self._size = options.size
        self.streams = {name: Stream(splits.of(name), options, workers, device, recipe) for name in SPLITS}

    def close(self) -> None:
        for stream in self.streams.values():
            stream.close()

    def training(self, state: int, epoch: int, start: int) -> Iterator[TrainingBatch]:
        draw_from = (self.seed, state, epoch)
        batches: list[list[Key]] = [
            [(index, draw_from) for index in batch] for batch in self.order(state, epoch)[start:].tolist()
        ]
        drawn = [
            draw_recipe(self.recipe, self.batch_size, self._size, self.seed, (state, epoch, step))
            for step in range(start, self.steps_per_epoch)
        ]
        for (images, labels), draws in zip(self._batches("train", batches), upload(drawn, self.device), strict=True):
            yield self._training_batch(images, labels, draws)

    def _plain(self, split: str, batches: list[Tensor]) -> Iterator[Batch]:
        for images, labels in self._batches(split, [[(index, None) for index in batch.tolist()] for batch in batches]):
            yield self._normalise(images), labels

    def _batches(self, split: str, batches: list[list[Key]]) -> Iterator[Batch]:
        """uint8 images and labels, on the device."""
        for images, labels in self.streams[split].read(batches):
            yield images.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)


def _of_living_workers(batches: Iterator[Batch | Broken]) -> Iterator[Batch | Broken]:
    """The batches. A killed worker may take one with it that it had announced; torch says only that it cannot be had."""
    try:
        yield from batches
    except (ConnectionError, EOFError, FileNotFoundError) as error:
        raise RuntimeError(f"{WORKER} ended before a batch was fetched from it ({first_line(error)})") from error


class Stream:
    """Reads uint8 batches of one split. Its worker processes live until it is closed, or this process ends.

    Raises:
        UserError: naming the file, if an image cannot be decoded.
    """

    def __init__(
        self,
        split: FileSplit,
        options: ImageFolderOptions,
        workers: int,
        device: torch.device,
        recipe: ImageRecipe = NO_RECIPE,
    ):
        self.plan, self.leash = _Plan(), Leash()
        self.loader: DataLoader[Any] = DataLoader(
            DecodedImages(split, options, recipe),
            batch_sampler=self.plan,
            num_workers=workers,
            persistent_workers=workers > 0,
            collate_fn=_collate,
            pin_memory=device.type == "cuda",
            worker_init_fn=self.leash.follow,
        )

    def read(self, batches: list[list[Key]]) -> Iterator[Batch]:
        self.plan.batches = batches
        with errors_wait_their_turn():
            images = iter(self.loader)
        for batch in _of_living_workers(images):
            if isinstance(batch, Broken):
                raise UserError(f"dataset.root: {printable(batch.path)} cannot be decoded ({printable(batch.reason)}).")
            yield batch

    def close(self) -> None:
        """End the worker processes, also in the middle of a pass."""
        self.leash.release()
