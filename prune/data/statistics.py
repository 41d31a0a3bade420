"""What is found out about a dataset at a run's first start and stays with the run: classes, mean, std, fingerprint."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.base.errors import UserError
from prune.base.files import read_json, write_json
from prune.data.base import ArraySplit, DataFacts, Dataset, Splits

if TYPE_CHECKING:
    import numpy as np

CHECKED_IMAGES = 20_000
"""Up to so many files per split are decoded once at first start: all of a small dataset, an even sample of a large one."""


def known_facts(path: Path, dataset: Dataset, splits: Splits) -> DataFacts | None:
    """The facts stored at `path`; None at first start.

    Raises:
        UserError: if the content has changed since the first start.
    """
    stored = _stored(path)
    if stored is not None and stored.fingerprint != dataset.fingerprint():
        raise UserError(
            f"dataset.root={dataset.options.root} has changed since this run began"
            f"{_other_classes(stored.classes, splits.classes)}; restore its files, or set another name."
        )
    return stored


def new_facts(path: Path, dataset: Dataset, splits: Splits, workers: int, resident: bool | None = None) -> DataFacts:
    """Compute the facts and store them at `path`. Of a folder the same images are looked at, decoded already or not.

    Args:
        resident: of files, whether they live on the device (see `DataFacts`).

    Raises:
        UserError: naming an image that cannot be decoded.
    """
    fingerprint = dataset.fingerprint()
    if not isinstance(splits.train, ArraySplit):
        mean, std = _file_moments(splits, dataset.options, workers)
    elif fingerprint is None:
        mean, std = _moments([splits.train.images])
    else:
        mean, std = _moments([splits.train.images[_evenly(len(splits.train), CHECKED_IMAGES)]])
    facts = DataFacts(mean, std, splits.classes, fingerprint, resident)
    write_json(path, {name: value for name, value in asdict(facts).items() if (name, value) != ("resident", None)})
    return facts


def _stored(path: Path) -> DataFacts | None:
    """What the run's first start found; None if there is no such file, or it says nothing that makes sense."""
    stored = read_json(path)
    if not isinstance(stored, dict) or {*stored, "resident"} != {field.name for field in fields(DataFacts)}:
        return None
    facts = DataFacts(**stored)
    numbers = all(
        isinstance(values, list) and all(isinstance(value, float) for value in values) for values in (facts.mean, facts.std)
    )
    names = isinstance(facts.classes, list) and all(isinstance(name, str) for name in facts.classes)
    others = isinstance(facts.fingerprint, str | None) and isinstance(facts.resident, bool | None)
    return facts if numbers and names and others else None


def _other_classes(before: list[str], after: list[str]) -> str:
    """What to say of classes that came and went."""
    parts = [("it lacks", sorted(set(before) - set(after))), ("it has the new", sorted(set(after) - set(before)))]
    said = [f"{verb} class{'es' * (len(names) > 1)} {', '.join(names[:5])}" for verb, names in parts if names]
    return f" ({' and '.join(said)})" if said else ""


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
        try:
            for images, _ in stream.read(batches):
                yield images.numpy()
        finally:
            stream.close()

    moments = _moments(decoded(splits.train))
    for split in (splits.val, splits.test):
        for _ in decoded(split):
            pass
    return moments


def _evenly(total: int, most: int) -> np.ndarray:
    import numpy as np

    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))
