"""What the loss becomes when units of one group are silent: the curves of `method.scope=sensitivity`."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from prune.architectures.group import Group, Structure
from prune.base.errors import UserError
from prune.pruning.budget import StateBudget
from prune.pruning.compact import silenced
from prune.pruning.criteria.base import Scoring
from prune.pruning.keepset import KeepSet
from prune.pruning.ranking import Scores, place_in_block
from prune.pruning.replay import before, block_modules, recording, replaying
from prune.pruning.sensitivity import Curve, points


@torch.no_grad()
def sensitivities(
    scoring: Scoring, scores: Scores, alive: KeepSet, budget: StateBudget, check: Callable[[], None] = lambda: None
) -> dict[str, Curve]:
    """The curve of every group that may lose units: nothing is retrained, and only one group is changed at a time.

    Args:
        scoring: the model, its calibration batches and its groups.
        scores: of the alive units; the lowest are silenced first.
        budget: says which kinds lose units, and each block's floor.
        check: called before each forward pass; may raise.
    """
    structure, model = scoring.structure, scoring.model
    removable = {
        group: len(alive[group.name]) - budget.kinds[group.kind].floor
        for group in structure.groups
        if group.kind in budget.pruned
    }
    trials = [_trial(group, number, structure, scores, alive) for group, units in removable.items() for number in points(units)]
    blocks = block_modules(model, structure)
    training, images_seen, batches = model.training, 0, []
    model.eval()
    for images, labels in scoring.batches():
        images_seen += len(labels)
        check()
        with recording(model, list(blocks.values())) as given:
            losses = [_loss(scoring, images, labels)]
        for trial in trials:
            check()
            earlier = before(blocks, given, trial.group.block)
            with silenced(model, trial.structure, trial.alive, trial.keep), replaying(model, earlier):
                losses.append(_loss(scoring, images, labels))
        batches.append(torch.stack(losses))
    model.train(training)
    assert batches, "calibration gave no batch"
    dense, *others = (torch.stack(batches).sum(0) / images_seen).tolist()
    found: dict[str, list[tuple[int, float]]] = {}
    for trial, loss in zip(trials, others, strict=True):
        if not math.isfinite(loss):
            raise UserError(
                f"method.scope=sensitivity: without {trial.silent} units of {trial.group.name} the loss is {loss}; set another "
                "scope."
            )
        found.setdefault(trial.group.name, [(0, dense)]).append((trial.silent, loss))
    return {name: Curve(*map(tuple, zip(*curve, strict=True))) for name, curve in found.items()}


@dataclass(frozen=True)
class _Trial:
    """So many units of a group silenced, those of the lowest scores; `structure` has this group alone."""

    group: Group
    silent: int
    structure: Structure
    alive: KeepSet
    keep: KeepSet


def _trial(group: Group, silent: int, structure: Structure, scores: Scores, alive: KeepSet) -> _Trial:
    units = alive[group.name]
    keep = units[place_in_block(scores[group.name]) < len(units) - silent]
    return _Trial(group, silent, replace(structure, groups=(group,)), KeepSet({group.name: units}), KeepSet({group.name: keep}))


def _loss(scoring: Scoring, images: Tensor, labels: Tensor) -> Tensor:
    """The summed cross-entropy of a batch, in double precision, on its device."""
    return F.cross_entropy(scoring.logits(images).double(), labels, reduction="sum")
