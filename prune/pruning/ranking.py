"""Scores → keep set. Vectorised: Python loops over groups at most, never over units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.pruning.budget import KindBudget, StateBudget
from prune.pruning.keepset import KeepSet
from prune.pruning.quotas import spread

Scores = Mapping[str, Tensor]
"""Group → one non-negative number for each alive unit, in the order of the keep set's indices."""


def check_scores(scores: Scores, alive: KeepSet, who: str) -> None:
    """Raise `UserError` unless there is one finite number for each alive unit of each group.

    Args:
        who: gave the scores, for the message (`method.criterion=taylor`).
    """
    for group, units in alive.items():
        if group not in scores:
            raise UserError(f"{who} gave no scores for {group}.")
        vector = scores[group]
        if not isinstance(vector, Tensor):
            raise UserError(f"{who} gave scores for {group} that are a {type(vector).__name__}; they must be a tensor.")
        if vector.shape != (len(units),):
            raise UserError(f"{who} gave scores of shape {list(vector.shape)} for {group}, which has {len(units)} units.")
        bad = len(vector) - int(vector.isfinite().sum())
        if bad:
            raise UserError(f"{who} gave {bad} scores for {group} that are not finite.")
    unknown = [group for group in scores if group not in alive]
    if unknown:
        raise UserError(f"{who} gave scores for {unknown[0]}, which is no group of the model.")


def keep_best(scores: Scores, alive: KeepSet, quotas: Mapping[str, int]) -> KeepSet:
    """Of each group as many units as its quota says (all, if it has no more), those that score best.

    Among equal scores the smaller index stays.
    """
    return KeepSet({name: units[_place_in_block(scores[name]) < quotas[name]] for name, units in alive.items()})


def rank_separate(scores: Scores, alive: KeepSet, structure: Structure, budget: StateBudget, scope: str) -> KeepSet:
    """Keep the best units of each kind, every kind by itself.

    Args:
        scores: of the alive units.
        alive: the keep set to choose from; the result is a subset of it.
        budget: how many of each kind stay, and each block's floor.
        scope: `global` ranks a kind's units of all blocks in one list; `layer` ranks within each block, which keeps its
            share of the kind's units (see `spread`).

    Returns:
        Exactly the numbers of the budget. Among equal scores the smaller (block, index) stays.
    """
    kept: dict[str, Tensor] = {}
    for kind in structure.kinds:
        groups, of_kind = structure.of(kind), budget.kinds[kind]
        blocks = [scores[group.name] for group in groups]
        if scope == "global":
            stay = _best_of_all(blocks, of_kind)
        else:
            sizes, left = [group.count for group in groups], [len(alive[group.name]) for group in groups]
            stay = _best_of_each(blocks, spread(of_kind.kept, sizes, of_kind.floor, left))
        kept |= {group.name: alive[group.name][mask] for group, mask in zip(groups, stay, strict=True)}
    return KeepSet({group.name: kept[group.name] for group in structure.groups})


def rank_joint(densities: Scores, alive: KeepSet, structure: Structure, budget: StateBudget) -> KeepSet:
    """Rank the units of all kinds in one list by density (score per parameter) and remove the longest prefix that fits.

    The list begins with the smallest density; the budget, in parameters, is what `rank_separate` would remove at these rates
    since the start, times (1 - fillback). Each block's best units up to the floors are not in the list. Among equal
    densities the smaller (kind, block, index) stays.
    """
    groups = [group for kind in structure.kinds for group in structure.of(kind)]
    allowed = joint_budget(budget, structure) - (structure.parameters() - structure.parameters(alive.counts()))

    scores = [densities[group.name] for group in groups]
    floors = [budget.kinds[group.kind].floor for group in groups]
    protected = torch.cat([_place_in_block(block) < floor for block, floor in zip(scores, floors, strict=True)])
    costs = torch.cat(
        [torch.full((len(block),), group.parameters, dtype=torch.int64) for block, group in zip(scores, groups, strict=True)]
    )
    # From the first to go to the last: the reverse of "best first, smaller (kind, block, index) first".
    order = torch.sort(torch.cat(scores), descending=True, stable=True).indices.flip(0)
    order = order[~protected[order]]
    spent = costs[order].cumsum(0)
    removed = order[: int(torch.searchsorted(spent, int(max(allowed, 0)), right=True))]
    stay = torch.ones(len(costs), dtype=torch.bool)
    stay[removed] = False
    masks = dict(zip((group.name for group in groups), stay.split([len(block) for block in scores]), strict=True))
    return KeepSet({group.name: alive[group.name][masks[group.name]] for group in structure.groups})


def joint_budget(budget: StateBudget, structure: Structure) -> int:
    """Parameters that may be gone in this state: what separate ranking without fillback removes, times (1 - fillback).

    Where a kind's units cost more in some blocks than in others, each counts as much as they do on average.
    """
    parameters = sum(structure.usual_parameters(kind, budget.kinds[kind].removed_without_fillback) for kind in structure.kinds)
    # The millionth undoes the rounding of 1 - f: 170 × (1 - 0.9) pays for a neuron of 17 parameters.
    return int(parameters * (1 - budget.fillback) + 1e-6)


def _place_in_block(scores: Tensor) -> Tensor:
    """Each unit's place within its block, 0 for the best; equal scores in the order of their index."""
    order = torch.sort(scores, descending=True, stable=True).indices
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place


def _best_of_all(blocks: Sequence[Tensor], budget: KindBudget) -> tuple[Tensor, ...]:
    protected = torch.cat([_place_in_block(block) < budget.floor for block in blocks])
    order = torch.sort(torch.cat(list(blocks)), descending=True, stable=True).indices
    # A stable sort by "protected or not" puts the floors first and leaves the order by score within each half.
    order = order[torch.sort((~protected[order]).to(torch.uint8), stable=True).indices]
    stay = torch.zeros(len(order), dtype=torch.bool)
    stay[order[: budget.kept]] = True
    return stay.split([len(block) for block in blocks])


def _best_of_each(blocks: Sequence[Tensor], quotas: Sequence[int]) -> tuple[Tensor, ...]:
    return tuple(_place_in_block(block) < quota for block, quota in zip(blocks, quotas, strict=True))
