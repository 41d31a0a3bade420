"""Evaluation of a model on one split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.data.loading import PADDING_LABEL, Batch

CLASSES_FOR_TOP5 = 20
"""With more classes than this, it also counts whether the right one is among the five most likely."""


@dataclass(frozen=True)
class Evaluation:
    """A model on a split.

    Attributes:
        loss: mean cross-entropy.
        accuracy: top-1, percent.
        top5: top-5, percent; None with 20 classes or fewer.
        predictions, labels: the predicted and the right class of every image, in order (int64, on the CPU).
    """

    loss: float
    accuracy: float
    top5: float | None
    predictions: Tensor
    labels: Tensor


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Mixed precision for `optim.precision=bf16`, else nothing."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


@torch.no_grad()
def evaluate(
    forward: nn.Module,
    model: nn.Module,
    batches: Iterator[Batch],
    precision: str,
    before_batch: Callable[[], None] | None = None,
) -> Evaluation:
    """The model in evaluation mode. `before_batch` may raise. The host waits for the device once, at the end."""
    training = model.training
    model.eval()
    totals: list[Tensor] = []
    chosen: list[Tensor] = []
    right: list[Tensor] = []
    for images, labels in batches:
        if before_batch is not None:
            before_batch()
        with autocast(images.device, precision):
            logits = forward(images)
        summed = F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=PADDING_LABEL)
        best = logits.argmax(1)
        totals.append(
            torch.stack([summed, (best == labels).sum(), (labels != PADDING_LABEL).sum(), _in_top5(logits, labels)]).double()
        )
        chosen.append(best)
        right.append(labels)
    model.train(training)
    classes = [torch.cat(of_batches).double() for of_batches in (chosen, right)]  # exact in float64
    sums, predicted, wanted = torch.cat([torch.stack(totals).sum(0), *classes]).cpu().split([4, *map(len, classes)])
    loss, correct, count, in_top5 = sums.tolist()
    real = int(count)  # padding stands at the end
    return Evaluation(
        loss=loss / count,
        accuracy=100 * correct / count,
        top5=100 * in_top5 / count if logits.shape[1] > CLASSES_FOR_TOP5 else None,
        predictions=predicted[:real].long(),
        labels=wanted[:real].long(),
    )


def _in_top5(logits: Tensor, labels: Tensor) -> Tensor:
    """How many of the right classes are among the five largest logits."""
    if logits.shape[1] <= CLASSES_FOR_TOP5:
        return torch.zeros((), device=logits.device)
    return (logits.topk(5, dim=1).indices == labels[:, None]).sum()
