"""predictions/state_XX.npz: what a state's best model predicts for every test and validation image, for paired statistics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from prune.base.files import write_atomically
from prune.rundir.directory import RunDirectory


class Predicted(Protocol):
    """Predicted and right classes of a split's images, in order: integer tensors on the CPU."""

    @property
    def predictions(self) -> object: ...

    @property
    def labels(self) -> object: ...


def save_predictions(directory: RunDirectory, state: int, splits: Mapping[str, Predicted]) -> None:
    """Write the file: for each split its predicted classes, and beside them the right ones (`test`, `test_labels`, …)."""
    arrays: dict[str, np.ndarray] = {}
    for split, found in splits.items():
        arrays[split] = np.asarray(found.predictions, dtype=np.uint16)
        arrays[f"{split}_labels"] = np.asarray(found.labels, dtype=np.uint16)
    path = directory.predictions(state)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays))


def read_correct(directory: RunDirectory, state: int, split: str = "test") -> np.ndarray | None:
    """For each image of a split whether it was classified rightly (bool); None if the file is missing or unreadable."""
    try:
        with np.load(directory.predictions(state), allow_pickle=False) as arrays:
            return np.asarray(arrays[split] == arrays[f"{split}_labels"])
    except (OSError, ValueError, KeyError):
        return None
