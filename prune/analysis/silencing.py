"""What the loss and the accuracy become when some units of one group are silenced, nothing being trained again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
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
    """Mean cross-entropy and accuracy (percent): of the model as it is, and of each trial in order.

    `standard_errors` are those of a trial's loss minus that of the model: both are of the same images, of which others would
    have given another difference. nan with a single image.
    """

    trials: Sequence[Trial]
    loss: float
    accuracy: float
    losses: np.ndarray
    accuracies: np.ndarray
    standard_errors: np.ndarray

    def of(self, group: Group, values: np.ndarray) -> np.ndarray:
        """Those of the losses, accuracies or standard errors that are of a group's trials, in order."""
        return values[[trial.group is group for trial in self.trials]]


@torch.no_grad()
def silence_each(subject: Subject, snapshot: Snapshot, trials: Sequence[Trial]) -> Outcome:
    """Every trial on the subject's images.

    A trial computes the model from its group's block on: of the blocks before, what they gave for the batch is used again.
    Memory holds one batch of every block's output.
    """
    model, structure, images = snapshot.model, subject.structure, subject.images
    blocks = block_modules(model, structure)
    sums = torch.zeros(len(trials) + 1, 3, dtype=torch.float64)  # of losses, of hits, of squares of the losses added
    whole = torch.zeros(0)
    order = sorted(range(len(trials)), key=lambda index: trials[index].group.block)
    steps = images.count(BATCH) * (len(trials) + 1)
    for index, batch, labels, given in subject.track(_rounds(model, blocks, images.batches(BATCH), order), steps):
        if index is None:
            whole = _judged(model, batch, labels)
            sums[-1, :2] += whole.sum(1).cpu()
            continue
        trial = trials[index]
        with replaying(model, before(blocks, given, trial.group.block)), _without(snapshot, structure, trial):
            judged = _judged(model, batch, labels)
        sums[index] += torch.cat([judged.sum(1), (judged[0] - whole[0]).square().sum(0, keepdim=True)]).cpu()
    losses, hits, squares = (sums / len(images)).T.numpy()
    errors = _standard_errors(losses[:-1] - losses[-1], squares[:-1], len(images))
    return Outcome(trials, float(losses[-1]), 100 * float(hits[-1]), losses[:-1], 100 * hits[:-1], errors)


def _standard_errors(means: np.ndarray, squares: np.ndarray, count: int) -> np.ndarray:
    """Of the means of so many differences, from these and the means of their squares."""
    if count < 2:
        return np.full(len(means), np.nan)
    return np.sqrt(np.clip(squares - means**2, 0, None) / (count - 1))


def _rounds(model: nn.Module, blocks: dict[int, str], batches: Any, order: Sequence[int]) -> Iterator[tuple[Any, ...]]:
    """For each batch: first (None, images, labels, …), during which the blocks' outputs are recorded, then each trial."""
    for images, labels in batches:
        with recording(model, list(blocks.values())) as given:
            yield None, images, labels, given
        for index in order:
            yield index, images, labels, given


def _judged(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Of each image its loss, and 1 where the model is right: (2, images), float64."""
    logits = model(images).float()
    losses = F.cross_entropy(logits, labels, reduction="none")
    return torch.stack([losses.double(), (logits.argmax(1) == labels).double()])


@contextmanager
def _without(snapshot: Snapshot, structure: Structure, trial: Trial) -> Iterator[None]:
    """The snapshot's model with the trial's units silenced."""
    alive = KeepSet({trial.group.name: snapshot.keep[trial.group.name]})
    rest = alive.without(KeepSet({trial.group.name: trial.units}))
    with silenced(snapshot.model, replace(structure, groups=(trial.group,)), alive, rest):
        yield
