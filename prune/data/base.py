"""What a dataset gives: three splits, as arrays that fit on the device or as files that are streamed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from prune.data.options import DatasetOptions

if TYPE_CHECKING:
    import numpy as np

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class ArraySplit:
    """Images that fit in memory: uint8 (n, channels, height, width), and int64 labels (n)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class FileSplit:
    """Images that are decoded when needed: paths, and int64 labels (n)."""

    paths: list[Path]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Splits:
    """Train, validation and test, all of one kind, and the names of the classes in the order of their labels."""

    train: ArraySplit | FileSplit
    val: ArraySplit | FileSplit
    test: ArraySplit | FileSplit
    classes: list[str]

    def of(self, split: str) -> Any:
        return getattr(self, split)


@dataclass(frozen=True)
class DataFacts:
    """Per-channel mean and std of the training images in [0, 1], class names, and a digest of the content.

    Of files also whether they are decoded once and live on the device, since the run's random crops depend on it.
    """

    mean: list[float]
    std: list[float]
    classes: list[str]
    fingerprint: str | None
    resident: bool | None = None


class Dataset(ABC):
    """A dataset. Importing its module must not import torch: its options are read while composing."""

    Options: ClassVar[type[DatasetOptions]] = DatasetOptions

    def __init__(self, options: DatasetOptions):
        self.options: Any = options

    @abstractmethod
    def load(self) -> Splits:
        """The splits, which depend on the options alone (`split_seed` among them), never on the run's seed.

        Raises:
            UserError: if the files are missing or broken.
        """

    def fetch(self) -> None:  # noqa: B027  (most datasets need no download)
        """Download what `load` needs, if anything: called once before jobs are submitted, under a lock."""

    def training_images(self) -> int | None:
        """Number of training images, where that is known or can be counted without reading them: for plans of sweeps."""
        return None

    def fingerprint(self) -> str | None:
        """A digest of the content where the configuration alone does not fix it; None for built-in data."""
        return None
