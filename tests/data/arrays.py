"""Datasets whose images fit in memory, as arrays: what several test modules of this folder look at."""

from __future__ import annotations

import numpy as np

from prune.base.registries import DATASETS
from prune.config import RunConfig
from prune.data.base import ArraySplit, Splits


def load(config: RunConfig) -> Splits:
    return DATASETS.load(config.dataset.name)(config.dataset).load()


def arrays(splits: Splits, name: str) -> ArraySplit:
    split = splits.of(name)
    assert isinstance(split, ArraySplit)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int64
    return split


def keys(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]
