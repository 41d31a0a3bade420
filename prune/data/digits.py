"""Scikit-learn's 1,797 real handwritten digits, and pairs of them: they ship with the package, so they work offline."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from prune.data.base import ArraySplit, Dataset, Splits
from prune.data.options import DatasetOptions

if TYPE_CHECKING:
    import numpy as np

TEST_FRACTION = 0.22
"""Digits held out for the test split: 395 of 1,797, the same share of each."""


class DigitsOptions(DatasetOptions):
    val_fraction: float = Field(0.14, gt=0, lt=1, description="share of the non-test digits used for validation")


class DigitPairsOptions(DigitsOptions):
    pairs_train: int = Field(60, ge=1, description="training pairs per class; another number draws other val and test pairs")
    pairs_val: int = Field(5, ge=1, description="validation pairs per class; another number draws other test pairs")
    pairs_test: int = Field(10, ge=1, description="test pairs per class")


class Digits(Dataset):
    """8×8 grey digits, ten classes."""

    Options: ClassVar[type[DatasetOptions]] = DigitsOptions

    def load(self) -> Splits:
        import numpy as np

        images, labels = _all_digits()
        rest, test = _split(labels, TEST_FRACTION, self.options.split_seed)
        train, val = _split(labels[rest], self.options.val_fraction, self.options.split_seed)
        indices = {"train": rest[train], "val": rest[val], "test": test}
        splits = {name: ArraySplit(images[index], labels[index]) for name, index in indices.items()}
        return Splits(**splits, classes=[str(digit) for digit in np.unique(labels)])

    def training_images(self) -> int:
        rest = 1797 - round(1797 * TEST_FRACTION)
        return rest - round(rest * self.options.val_fraction)


class DigitPairs(Digits):
    """Two digits side by side, 8×16, one hundred classes (ten times the left digit plus the right).

    Pairs are drawn within each split of `digits`, so no digit image is in two splits.
    """

    Options = DigitPairsOptions

    def load(self) -> Splits:
        import numpy as np

        single = super().load()
        chooser = np.random.default_rng(self.options.split_seed)
        counts = {"train": self.options.pairs_train, "val": self.options.pairs_val, "test": self.options.pairs_test}
        splits = {name: _pairs(single.of(name), count, chooser) for name, count in counts.items()}
        return Splits(**splits, classes=[f"{left}{right}" for left in range(10) for right in range(10)])

    def training_images(self) -> int:
        return 100 * self.options.pairs_train


def _all_digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (1797, 1, 8, 8) in 0..255, labels (1797)."""
    import numpy as np
    from sklearn.datasets import load_digits

    source = load_digits()
    # The package's values run from 0 to 16.
    images = np.rint(source.images * (255 / 16)).astype(np.uint8)[:, None]
    return images, source.target.astype(np.int64)


def _split(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    from prune.data.splitting import stratified

    return stratified(labels, fraction, seed)


def _pairs(split: ArraySplit, per_class: int, chooser: np.random.Generator) -> ArraySplit:
    import numpy as np

    members = [np.flatnonzero(split.labels == digit) for digit in range(10)]
    lefts = np.concatenate([chooser.choice(members[a], per_class) for a in range(10) for _ in range(10)])
    rights = np.concatenate([chooser.choice(members[b], per_class) for _ in range(10) for b in range(10)])
    images = np.concatenate([split.images[lefts], split.images[rights]], axis=3)
    return ArraySplit(images, np.repeat(np.arange(100), per_class))
