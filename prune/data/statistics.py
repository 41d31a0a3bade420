"""What is found out about a dataset at a run's first start and stays with the run: classes, mean, std, fingerprint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.base.errors import UserError
from prune.base.files import read_json, write_json
from prune.data.base import ArraySplit, DataFacts, Dataset, Splits

if TYPE_CHECKING:
    import numpy as np

CHECKED_IMAGES = 20_000
"""Up to so many files per split are decoded once at first start: all of a small dataset, an even sample of a large one."""


def data_facts(path: Path, dataset: Dataset, splits: Splits, workers: int) -> DataFacts:
    """The facts stored at `path`, or computed and stored there at first start.

    Raises:
        UserError: if the content has changed since the first start, or an image cannot be decoded (it is named).
    """
    fingerprint = dataset.fingerprint()
    stored = read_json(path)
    if stored is not None:
        if stored["fingerprint"] != fingerprint:
            raise UserError(
                f"dataset.root={dataset.options.root} has changed since this run began; restore its files, or set another name."
            )
        return DataFacts(**stored)
    if isinstance(splits.train, ArraySplit):
        mean, std = _moments([splits.train.images])
    else:
        mean, std = _file_moments(splits, dataset.options, workers)
    facts = DataFacts(mean, std, splits.classes, fingerprint)
    write_json(path, asdict(facts))
    return facts


def _moments(arrays: Any) -> tuple[list[float], list[float]]:
    """Mean and std per channel, in [0, 1], of uint8 arrays (n, c, h, w); exact sums, so the order cannot matter."""
    import numpy as np

    count, total, squares = 0, 0, 0
    for images in arrays:
        for chunk in np.array_split(images, max(1, len(images) // 4096)):
            values = chunk.astype(np.uint64)
            count += values.size // values.shape[1]
            total = total + values.sum(axis=(0, 2, 3))
            squares = squares + (values * values).sum(axis=(0, 2, 3))
    mean = np.asarray(total, dtype=np.float64) / count
    std = np.sqrt(np.asarray(squares, dtype=np.float64) / count - mean**2)
    return (mean / 255).tolist(), (std / 255).tolist()


def _file_moments(splits: Splits, options: Any, workers: int) -> tuple[list[float], list[float]]:
    """Decodes (up to `CHECKED_IMAGES` of) every split, so that a broken file is found before training."""
    import torch

    from prune.data.streaming import Key, Stream

    def decoded(split: Any) -> Any:
        stream = Stream(split, options, workers, torch.device("cpu"))
        picked = _evenly(len(split), CHECKED_IMAGES)
        batches: list[list[Key]] = [
            [(int(index), None) for index in picked[at : at + 256]] for at in range(0, len(picked), 256)
        ]
        for images, _ in stream.read(batches):
            yield images.numpy()

    moments = _moments(decoded(splits.train))
    for split in (splits.val, splits.test):
        for _ in decoded(split):
            pass
    return moments


def _evenly(total: int, most: int) -> np.ndarray:
    import numpy as np

    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))
