"""What a training step minimises: the cross-entropy with the labels, and with a teacher's answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.config.optim import OptimConfig
from prune.data.loading import TrainingBatch
from prune.data.mixing import MixedLabels
from prune.engine.evaluate import autocast
from prune.engine.teacher import Teacher

LossTerm = Callable[[Tensor, Tensor, Tensor], Tensor | None]
"""Of images, logits and labels: a term to add to the loss, or None."""


def compute_gradients(
    forward: nn.Module,
    batch: TrainingBatch,
    optim: OptimConfig,
    loss_term: LossTerm | None = None,
    teacher: Teacher | None = None,
) -> tuple[Tensor, Tensor]:
    """Fill the parameters' gradients. The batch's mean loss and its number of right predictions, both () and on the device.

    The graph ends with this function. Alive during the next forward pass, its small objects would lie between the rooms of
    freed activations and keep the allocator from joining them.
    """
    with autocast(batch.images.device, optim.precision):
        logits, loss = logits_and_loss(forward(batch.images), batch, optim.label_smoothing, teacher)
        term = None if loss_term is None else loss_term(batch.images, logits, batch.labels)
        if term is not None:
            loss = loss + term
    loss.backward()
    return loss.detach(), hits(logits.detach(), batch.labels, batch.mixed)


def logits_and_loss(
    output: Tensor | Sequence[Tensor], batch: TrainingBatch, smoothing: float, teacher: Teacher | None = None
) -> tuple[Tensor, Tensor]:
    """Of what a model gave in training mode: logits, or a tuple of them, one of each classifier.

    Without a teacher each classifier learns the label. With one, a single classifier learns both, in the shares that the
    teacher's weight says; of several the first learns the label and the others the teacher (DeiT's distillation token). The
    loss of several is the mean of theirs, weighted likewise, and their logits are the mean, as in evaluation.
    """
    outputs = [output] if isinstance(output, Tensor) else list(output)
    logits = _mean(outputs)
    if teacher is None:
        return logits, _mean([cross_entropy(each, batch.labels, batch.mixed, smoothing) for each in outputs])
    answer = teacher.answer(batch.images)
    label = cross_entropy(outputs[0], batch.labels, batch.mixed, smoothing)
    taught = _mean([teacher.loss(each, answer) for each in outputs[1:] or outputs])
    return logits, (1 - teacher.weight) * label + teacher.weight * taught


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    """Of one itself: the bits of a model with one classifier are those of its own loss."""
    return tensors[0] if len(tensors) == 1 else torch.stack(list(tensors)).mean(0)


def cross_entropy(logits: Tensor, labels: Tensor, mixed: MixedLabels | None, smoothing: float) -> Tensor:
    """Mean cross-entropy, (); of a mixed batch, the mean of that with both labels, weighted by their shares (MixUp, eq. 1)."""
    own = F.cross_entropy(logits, labels, label_smoothing=smoothing)
    if mixed is None:
        return own
    return mixed.share * own + (1 - mixed.share) * F.cross_entropy(logits, mixed.labels, label_smoothing=smoothing)


def hits(logits: Tensor, labels: Tensor, mixed: MixedLabels | None) -> Tensor:
    """How many predictions are right, (): of a mixed image each of its two labels counts by its share."""
    best = logits.argmax(1)
    own = (best == labels).sum()
    return own if mixed is None else mixed.share * own + (1 - mixed.share) * (best == mixed.labels).sum()
