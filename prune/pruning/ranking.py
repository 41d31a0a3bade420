"""Scores → keep set. Vectorised: Python loops over groups at most, never over units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.pruning.budget import StateBudget
from prune.pruning.keepset import KeepSet
from prune.pruning.removals import Counts, Order, by_shares, shortest, spend, without
from prune.pruning.sensitivity import Curves, by_loss, first_of

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


def choose(
    scores: Scores,
    alive: KeepSet,
    structure: Structure,
    budget: StateBudget,
    pools: str = "separate",
    losses: Curves | None = None,
) -> KeepSet:
    """The units that stay: as many of each group as the budget allows it, those that score best.

    All ways of saying how many go through the same: an order in which groups lose a unit, of which the budget takes the
    beginning. Within a group the lowest score goes first; among equals the smaller index stays.

    Args:
        scores: of the alive units; densities with `joint` pools.
        alive: the keep set to choose from; the result is a subset of it.
        budget: how much stays, and each block's floor.
        pools: `separate` or `joint`, where neither quotas nor shares decide.
        losses: how the loss grows with what each group loses, where that decides how much each does; scores are then compared
            within groups alone.
    """
    places = {name: place_in_block(scores[name]) for name in alive}
    quotas = _quotas(_Ranked(scores, places, structure, budget), alive.counts(), pools, losses)
    return KeepSet({name: units[places[name] < quotas[name]] for name, units in alive.items()})


@dataclass(frozen=True)
class _Ranked:
    """Scores, and each unit's place within its block."""

    scores: Scores
    places: Mapping[str, Tensor]
    structure: Structure
    budget: StateBudget

    def order(self, kinds: Sequence[str]) -> Order:
        """The groups of some kinds as their units go: the lowest score of all first; each block's best, up to its floor, never.

        Among equal scores the larger (kind, block, index) goes first.
        """
        groups = [group for kind in kinds for group in self.structure.of(kind)]
        protected = torch.cat([self.places[group.name] < self.budget.kinds[group.kind].floor for group in groups])
        best_first = torch.sort(torch.cat([self.scores[group.name] for group in groups]), descending=True, stable=True).indices
        # The reverse of "best first, among equals the smaller (kind, block, index) first".
        worst_first = best_first.flip(0)
        numbers = {group.name: number for number, group in enumerate(self.structure.groups)}
        owners = np.repeat([numbers[group.name] for group in groups], [len(self.scores[group.name]) for group in groups])
        return owners[worst_first[~protected[worst_first]].numpy()]


def _quotas(ranked: _Ranked, counts: Counts, pools: str, losses: Curves | None) -> Counts:
    """Group → how many of its units stay."""
    budget, structure = ranked.budget, ranked.structure
    if budget.quotas is not None:
        return budget.quotas
    if budget.shares is not None:
        return by_shares(budget, counts, structure)
    if losses is not None:
        return first_of(by_loss(losses, structure, budget.measure), pools, budget, counts, structure)
    if pools == "separate":
        return spend({kind: ranked.order([kind]) for kind in budget.pruned}, budget, counts, structure)
    order = ranked.order(structure.kinds)
    if budget.limit is not None:
        return without(shortest(order, budget, counts, structure), counts, structure)
    return without(_affordable(order, joint_budget(budget, structure), counts, structure), counts, structure)


def _affordable(order: Order, allowed: int, counts: Counts, structure: Structure) -> Order:
    """The longest beginning of an order whose parameters, with those that are gone, are no more than allowed."""
    costs = np.array([group.parameters for group in structure.groups])[order]
    gone = structure.parameters() - structure.parameters(counts)
    return order[: int(np.searchsorted(costs.cumsum(), max(allowed - gone, 0), side="right"))]


def joint_budget(budget: StateBudget, structure: Structure) -> int:
    """Parameters that may be gone in this state: what separate ranking without fillback removes, times (1 - fillback).

    Where a kind's units cost more in some blocks than in others, each counts as much as they do on average.
    """
    parameters = sum(structure.usual_parameters(kind, budget.kinds[kind].removed_without_fillback) for kind in structure.kinds)
    # The millionth undoes the rounding of 1 - f: 170 × (1 - 0.9) pays for a neuron of 17 parameters.
    return int(parameters * (1 - budget.fillback) + 1e-6)


def place_in_block(scores: Tensor) -> Tensor:
    """Each unit's place within its block, 0 for the best; equal scores in the order of their index."""
    order = torch.sort(scores, descending=True, stable=True).indices
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place
