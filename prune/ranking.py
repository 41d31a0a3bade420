"""Scores → keep set. Vectorised: Python loops over blocks at most, never over units."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prune.budget import KindBudget, StateBudget
from prune.shape import ViTShape
from prune.units import KINDS, KeepSet, Kind


@dataclass(frozen=True)
class Scores:
    """One non-negative number for each alive unit: per block a vector in the order of the keep set's indices."""

    heads: tuple[Tensor, ...]
    neurons: tuple[Tensor, ...]

    def of(self, kind: Kind) -> tuple[Tensor, ...]:
        return self.heads if kind == "heads" else self.neurons


def rank_separate(scores: Scores, alive: KeepSet, budget: StateBudget, scope: str) -> KeepSet:
    """Keep the best units of each kind, heads and neurons apart.

    Args:
        scores: of the alive units.
        alive: the keep set to choose from; the result is a subset of it.
        budget: how many of each kind stay, and each block's floor.
        scope: `global` ranks a kind's units of all blocks in one list; `layer` ranks within each block: with n to keep of B
            blocks, block b keeps n//B + (b < n mod B).

    Returns:
        Exactly the numbers of the budget. Among equal scores the smaller (block, index) stays.
    """
    choose = _choose_global if scope == "global" else _choose_per_block
    heads = choose(scores.heads, budget.heads)
    neurons = choose(scores.neurons, budget.neurons)
    return KeepSet(_pick(alive.heads, heads), _pick(alive.neurons, neurons))


def rank_joint(densities: Scores, alive: KeepSet, budget: StateBudget, shape: ViTShape) -> KeepSet:
    """Rank heads and neurons in one list by density (score per parameter) and remove the longest prefix that fits.

    The list begins with the smallest density; the budget, in parameters, is what `rank_separate` would remove at these rates
    since the start, times (1 - fillback). Each block's best units up to the floors are not in the list.
    """
    cost = {"heads": shape.head_parameters, "neurons": shape.neuron_parameters}
    total = {"heads": shape.heads, "neurons": shape.neurons}
    gone = sum((total[kind] - sum(alive.counts(kind))) * cost[kind] for kind in KINDS)
    allowed = joint_budget(budget, shape) - gone

    blocks = [*densities.heads, *densities.neurons]
    sizes = [len(block) for block in blocks]
    floors = [budget.heads.floor] * len(densities.heads) + [budget.neurons.floor] * len(densities.neurons)
    protected = torch.cat([_place_in_block(block) < floor for block, floor in zip(blocks, floors, strict=True)])
    costs = torch.cat(
        [torch.full((len(block),), cost[kind], dtype=torch.int64) for kind in KINDS for block in densities.of(kind)]
    )
    # From the first to go to the last: the reverse of "best first, smaller (kind, block, index) first".
    order = torch.sort(torch.cat(blocks), descending=True, stable=True).indices.flip(0)
    order = order[~protected[order]]
    spent = costs[order].cumsum(0)
    removed = order[: int(torch.searchsorted(spent, int(max(allowed, 0)), right=True))]
    stay = torch.ones(sum(sizes), dtype=torch.bool)
    stay[removed] = False
    masks = stay.split(sizes)
    depth = len(densities.heads)
    return KeepSet(_pick(alive.heads, masks[:depth]), _pick(alive.neurons, masks[depth:]))


def joint_budget(budget: StateBudget, shape: ViTShape) -> int:
    """Parameters that may be gone in this state: what separate ranking without fillback removes, times (1 - fillback)."""
    from prune.schedule import number_kept

    heads = shape.heads - number_kept(budget.heads.rate, shape.heads)
    neurons = shape.neurons - number_kept(budget.neurons.rate, shape.neurons)
    # The millionth undoes the rounding of 1 - f: 170 × (1 - 0.9) pays for a neuron of 17 parameters.
    return int((heads * shape.head_parameters + neurons * shape.neuron_parameters) * (1 - budget.fillback) + 1e-6)


def _place_in_block(scores: Tensor) -> Tensor:
    """Each unit's place within its block, 0 for the best; equal scores in the order of their index."""
    order = torch.sort(scores, descending=True, stable=True).indices
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order))
    return place


def _choose_global(blocks: tuple[Tensor, ...], budget: KindBudget) -> tuple[Tensor, ...]:
    protected = torch.cat([_place_in_block(block) < budget.floor for block in blocks])
    order = torch.sort(torch.cat(blocks), descending=True, stable=True).indices
    # A stable sort by "protected or not" puts the floors first and leaves the order by score within each half.
    order = order[torch.sort((~protected[order]).to(torch.uint8), stable=True).indices]
    stay = torch.zeros(len(order), dtype=torch.bool)
    stay[order[: budget.kept]] = True
    return stay.split([len(block) for block in blocks])


def _choose_per_block(blocks: tuple[Tensor, ...], budget: KindBudget) -> tuple[Tensor, ...]:
    share, extra = divmod(budget.kept, len(blocks))
    return tuple(_place_in_block(block) < share + (number < extra) for number, block in enumerate(blocks))


def _pick(alive: tuple[Tensor, ...], masks: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(units[mask] for units, mask in zip(alive, masks, strict=True))
