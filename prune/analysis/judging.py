"""Right or wrong: what a model says of images, and what is counted of it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from prune.analysis.base import Numbers

BINS = 15
"""Of confidence, as wide as each other (Guo et al. 2017)."""


@torch.no_grad()
def judge(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Predicted classes, the probability that the model gives them, and the cross-entropy of each image, on the CPU."""
    logs = model(images).float().log_softmax(1)
    best, chosen = logs.max(1)
    loss = -logs.gather(1, labels[:, None])[:, 0]
    return chosen.cpu(), best.exp().cpu(), loss.cpu()


def by_class(right: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Accuracy in percent of each class's images; nan for a class without any."""
    images = np.bincount(labels, minlength=classes)
    hits = np.bincount(labels, weights=right, minlength=classes)
    return np.divide(100 * hits, images, out=np.full(classes, np.nan), where=images > 0)


def bins_of(confidence: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each of the `BINS` intervals (k/15, (k + 1)/15]: images, their mean confidence, their accuracy (nan without any)."""
    places = np.clip(np.ceil(confidence.astype(np.float64) * BINS).astype(int) - 1, 0, BINS - 1)
    count = np.bincount(places, minlength=BINS)
    empty = np.full(BINS, np.nan)
    sums = (np.bincount(places, weights=values, minlength=BINS) for values in (confidence, right))
    mean, accuracy = (np.divide(total, count, out=empty.copy(), where=count > 0) for total in sums)
    return count, mean, accuracy


def expected_calibration_error(confidence: np.ndarray, right: np.ndarray) -> float:
    """Σ over bins of (share of the images) · |accuracy - mean confidence|, in [0, 1]."""
    count, mean, accuracy = bins_of(confidence, right)
    return float(np.nansum(count * np.abs(accuracy - mean)) / count.sum())


def flipped(numbers: Numbers) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the images that only the dense model has right, and of those that only the pruned one has."""
    now, dense = (numbers[f"predicted.{name}"] == numbers["labels"] for name in ("now", "dense"))
    return np.flatnonzero(dense & ~now), np.flatnonzero(now & ~dense)
