"""Evaluation of a model on one split."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.data.loading import PADDING_LABEL, Batch


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
) -> tuple[float, float]:
    """Mean cross-entropy and top-1 accuracy in percent, the model in evaluation mode. `before_batch` may raise."""
    training = model.training
    model.eval()
    loss, correct, count = 0.0, 0, 0
    totals: list[Tensor] = []
    for images, labels in batches:
        if before_batch is not None:
            before_batch()
        with autocast(images.device, precision):
            logits = forward(images)
        real = labels != PADDING_LABEL
        summed = F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=PADDING_LABEL)
        totals.append(torch.stack([summed, (logits.argmax(1) == labels).sum(), real.sum()]).double())
    model.train(training)
    loss, correct, count = torch.stack(totals).sum(0).tolist()
    return loss / count, 100 * correct / count
