"""CIFAR-10 and CIFAR-100 through torchvision: downloaded on first use, 45,000 / 5,000 / 10,000 images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from prune.base.errors import UserError
from prune.data.base import ArraySplit, Dataset, Splits
from prune.data.options import DatasetOptions


class CIFAROptions(DatasetOptions):
    root: str = Field("data", description="folder of the archives")
    val_fraction: float = Field(0.1, gt=0, lt=1, description="share of the training images used for validation")


class CIFAR(Dataset):
    Options = CIFAROptions

    def load(self) -> Splits:
        import numpy as np

        from prune.data.splitting import stratified

        train, test = self._open(train=True), self._open(train=False)
        images, labels = np.ascontiguousarray(train.data.transpose(0, 3, 1, 2)), np.asarray(train.targets)
        rest, part = stratified(labels, self.options.val_fraction, self.options.split_seed)
        return Splits(
            train=ArraySplit(images[rest], labels[rest]),
            val=ArraySplit(images[part], labels[part]),
            test=ArraySplit(np.ascontiguousarray(test.data.transpose(0, 3, 1, 2)), np.asarray(test.targets)),
            classes=list(train.classes),
        )

    def training_images(self) -> int:
        return 50_000 - round(50_000 * self.options.val_fraction)

    def fetch(self) -> None:
        self._open(train=True)

    def _open(self, train: bool) -> Any:
        from torchvision import datasets

        from prune.data.fetching import download_lock

        kind = datasets.CIFAR10 if self.options.name == "cifar10" else datasets.CIFAR100
        root = Path(self.options.root)
        try:
            return kind(root, train=train, download=False)
        except RuntimeError:  # torchvision's "not found or corrupted"
            pass
        try:
            with download_lock(root):
                return kind(root, train=train, download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{self.options.name} is not under dataset.root={root} and could not be downloaded ({_reason(error)}); put "
                f"{kind.filename} there, or use dataset=digits or dataset=digit_pairs, which need no download."
            ) from None


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].strip("<>. ") if str(error) else type(error).__name__
