"""Splitting off a validation part, stratified and fixed by `dataset.split_seed`."""

from __future__ import annotations

import numpy as np


def stratified(labels: np.ndarray, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (rest, part), ascending: of each class, round(fraction·n) go to the part, at least 1 where the class has 2."""
    chooser = np.random.default_rng(seed)
    part = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(members))), len(members) - 1)
        part.append(chooser.permutation(members)[:count])
    chosen = np.sort(np.concatenate(part))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen
