"""predictions/state_XX.npz: what a state's best model predicts for every test and validation image, for paired statistics."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from prune.base.files import sha256_of, write_atomically
from prune.rundir.digests import Digests
from prune.rundir.directory import RunDirectory


class Predicted(Protocol):
    """Predicted and right classes of a split's images, in order: integer tensors on the CPU."""

    @property
    def predictions(self) -> object: ...

    @property
    def labels(self) -> object: ...


def save_predictions(digests: Digests, state: int, splits: Mapping[str, Predicted]) -> None:
    """Write the file: for each split its predicted classes, and beside them the right ones (`test`, `test_labels`, …)."""
    arrays: dict[str, np.ndarray] = {}
    for split, found in splits.items():
        arrays[split] = np.asarray(found.predictions, dtype=np.uint16)
        arrays[f"{split}_labels"] = np.asarray(found.labels, dtype=np.uint16)
    packed = io.BytesIO()
    np.savez_compressed(packed, allow_pickle=False, **arrays)
    store_predictions(digests, state, packed.getvalue())


def store_predictions(digests: Digests, state: int, data: bytes) -> None:
    """Write the file with this content."""
    path = digests.directory.predictions(state)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, lambda file: file.write(data))
    digests.note(path, sha256_of(data))


def read_correct(directory: RunDirectory, state: int, split: str = "test") -> np.ndarray | None:
    """For each image of a split whether it was classified rightly (bool); None if the file is missing or unreadable."""
    try:
        with np.load(directory.predictions(state), allow_pickle=False) as arrays:
            predicted, right = arrays[split], arrays[f"{split}_labels"]
    except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error):
        return None
    return np.asarray(predicted == right) if predicted.shape == right.shape and predicted.ndim == 1 else None
