"""The images that analyses look at: of the validation split, the same for all runs on the same data, not augmented."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from prune.base.seeding import generator
from prune.data.base import DataFacts
from prune.data.loading import Batch, Loader


class Images:
    """Some validation images in the order of the split.

    Args:
        most: how many at most, drawn with a fixed seed; None: all.
    """

    def __init__(self, loader: Loader, facts: DataFacts, most: int | None = None):
        self.loader, self.facts = loader, facts
        total = loader.sizes["val"]
        self.indices = torch.arange(total)
        if most is not None and most < total:
            self.indices = torch.randperm(total, generator=generator(0, "analysis"))[:most].sort().values

    def __len__(self) -> int:
        return len(self.indices)

    def batches(self, size: int) -> Iterator[Batch]:
        """Normalised images and labels, in as few batches of at most `size` as there can be, equal to within one image."""
        return self.loader.images("val", self.indices.tensor_split(self.count(size)))

    def count(self, size: int) -> int:
        """How many batches `batches` gives."""
        return max(1, -(-len(self) // size))

    def some(self, positions: Tensor) -> tuple[Tensor, np.ndarray]:
        """(images as the model takes them, the same in [0, 1] as (n, height, width, channels)) at these positions."""
        ((images, _),) = self.loader.images("val", [self.indices[positions]])
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.facts.mean, self.facts.std))
        pixels = (images.cpu() * std.clamp_min(1e-6) + mean).clamp(0, 1).permute(0, 2, 3, 1)
        return images, pixels.numpy()
