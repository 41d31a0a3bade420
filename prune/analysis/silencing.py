"""What the loss and the accuracy become when some units of one group are silenced, nothing being trained again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prune.analysis.base import Subject
from prune.analysis.runs import Snapshot
from prune.architectures.group import Group, Structure
from prune.pruning.compact import silenced
from prune.pruning.keepset import KeepSet
from prune.pruning.replay import before, block_modules, recording, replaying

BATCH = 256


@dataclass(frozen=True)
class Trial:
    """Units of one group, by their original indices, that are silenced together."""

    group: Group
    units: Tensor


@dataclass(frozen=True)
class Outcome:
    """Mean cross-entropy and accuracy (percent): of the model as it is, and of each trial in order."""

    trials: Sequence[Trial]
    loss: float
    accuracy: float
    losses: np.ndarray
    accuracies: np.ndarray

    def of(self, group: Group, values: np.ndarray) -> np.ndarray:
        """Those of the losses or accuracies that are of a group's trials, in order."""
        return values[[trial.group is group for trial in self.trials]]


@torch.no_grad()
def silence_each(subject: Subject, snapshot: Snapshot, trials: Sequence[Trial]) -> Outcome:
    """Every trial on the subject's images.

    A trial computes the model from its group's block on: of the blocks before, what they gave for the batch is used again.
    Memory holds one batch of every block's output.
    """
    model, structure, images = snapshot.model, subject.structure, subject.images
    blocks = block_modules(model, structure)
    sums = torch.zeros(len(trials) + 1, 2, dtype=torch.float64)
    order = sorted(range(len(trials)), key=lambda index: trials[index].group.block)
    steps = images.count(BATCH) * (len(trials) + 1)
    for index, batch, labels, given in subject.track(_rounds(model, blocks, images.batches(BATCH), order), steps):
        if index is None:
            sums[-1] += _judged(model, batch, labels)
            continue
        trial = trials[index]
        with replaying(model, before(blocks, given, trial.group.block)), _without(snapshot, structure, trial):
            sums[index] += _judged(model, batch, labels)
    losses, hits = (sums / len(images)).T.numpy()
    return Outcome(trials, float(losses[-1]), 100 * float(hits[-1]), losses[:-1], 100 * hits[:-1])


def _rounds(model: nn.Module, blocks: dict[int, str], batches: Any, order: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """For each batch: first (None, images, labels, …), during which the blocks' outputs are recorded, then each trial."""
    for images, labels in batches:
        with recording(model, list(blocks.values())) as given:
            yield None, images, labels, given
        for index in order:
            yield index, images, labels, given


def _judged(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    logits = model(images).float()
    loss = F.cross_entropy(logits, labels, reduction="sum")
    return torch.stack([loss.double(), (logits.argmax(1) == labels).sum().double()]).cpu()


@contextmanager
def _without(snapshot: Snapshot, structure: Structure, trial: Trial) -> Iterator[None]:
    """The snapshot's model with the trial's units silenced."""
    alive = snapshot.keep
    left = alive[trial.group.name]
    rest = KeepSet({**alive, trial.group.name: left[~torch.isin(left, trial.units)]})
    with silenced(snapshot.model, structure, alive, rest):
        yield
