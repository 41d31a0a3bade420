"""A folder of random images, and what should become of it, decoded here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from prune.config import RunConfig
from prune.data.base import SPLITS, DataFacts, Dataset, FileSplit, Splits
from prune.data.folder import ImageFolder
from prune.data.recipe import NO_RECIPE, ImageRecipe
from prune.data.statistics import known_facts, new_facts
from prune.data.streaming import StreamingLoader

SIZE = 8
CLASSES = ("ant", "bee", "cat")


def write(path: Path, seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> None:
    """A random image (height, width); PNG keeps its pixels as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def files(config: RunConfig) -> dict[str, FileSplit]:
    splits = ImageFolder(config.dataset).load()
    return {name: splits.of(name) for name in SPLITS}


def loader(
    config: RunConfig,
    tmp_path: Path,
    batch_size: int = 6,
    workers: int = 0,
    seed: int = 0,
    recipe: ImageRecipe = NO_RECIPE,
) -> StreamingLoader:
    dataset = ImageFolder(config.dataset)
    splits = dataset.load()
    facts = data_facts(tmp_path / "data.json", dataset, splits, workers)
    options: Any = config.dataset
    return StreamingLoader(splits, facts, batch_size, seed, torch.device("cpu"), options, workers, recipe)


def data_facts(path: Path, dataset: Dataset, splits: Splits, workers: int) -> DataFacts:
    """As a run comes by them: those stored at `path`, or computed and stored there at first start."""
    return known_facts(path, dataset, splits) or new_facts(path, dataset, splits, workers)


def joined(batches: Iterator[tuple[Any, ...]]) -> tuple[Tensor, Tensor]:
    images, labels, *_ = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


def pixels(split: FileSplit) -> np.ndarray:
    """All images of a split (n, 3, h, w), decoded here."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in split.paths])


def normalised(config: RunConfig, split: FileSplit) -> Tensor:
    train = pixels(files(config)["train"]).astype(np.float64) / 255
    mean, std = train.mean((0, 2, 3))[:, None, None], train.std((0, 2, 3))[:, None, None]
    return torch.from_numpy((pixels(split) / 255 - mean) / std).to(torch.float32)
