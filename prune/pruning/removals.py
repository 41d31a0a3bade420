"""From the order in which units go to how many of each group stay, within a state's budget. No torch.

An order names groups alone, by their number in the structure: of its group a unit goes that scores lowest, whichever that is.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from prune.architectures.group import MEASURED, Structure
from prune.base.errors import UserError
from prune.pruning.budget import StateBudget
from prune.pruning.quotas import in_turn

Order = np.ndarray
"""int64: numbers of groups, in the order in which each loses one more unit; no group more often than its floor allows."""

Counts = Mapping[str, int]
"""Group → units alive."""


def spend(orders: Mapping[str, Order], budget: StateBudget, counts: Counts, structure: Structure) -> dict[str, int]:
    """Group → units that stay, where every kind that is pruned has an order of its own.

    Of a budget of units each kind loses its own number. Of any other the kinds' orders become one, interleaved by
    (k - ½)/N_kind, k = 1, 2, … counted from the start of the run (ties: the last kind first), and its `shortest` prefix goes.
    """
    alive = structure.by_kind(counts)
    if budget.limit is None:
        taken = [order[: alive[kind] - budget.kinds[kind].kept] for kind, order in orders.items()]
        return without(np.concatenate([np.arange(0), *taken]), counts, structure)
    units = [structure.units(kind) for kind in orders]
    gone = [structure.units(kind) - alive[kind] for kind in orders]
    turns = in_turn(units, gone, [len(order) for order in orders.values()])
    merged = np.empty_like(turns)
    for number, order in enumerate(orders.values()):
        merged[turns == number] = order
    return without(shortest(merged, budget, counts, structure), counts, structure)


def shortest(order: Order, budget: StateBudget, counts: Counts, structure: Structure) -> Order:
    """The shortest beginning of an order of all kinds with which the whole model fits the limit, less what stays after all.

    With fillback f the last round(f·n) of the n units that would be gone since the start of the run stay.

    Raises:
        UserError: if the whole order is not enough: `budgets` could not know what an earlier phase would leave of other kinds.
    """
    assert budget.limit is not None
    excess = structure.size(budget.measure, counts) - budget.limit
    if excess <= 0:
        return order[:0]
    totals = np.array([group.cost(budget.measure) for group in structure.groups])[order].cumsum()
    needed = int(np.searchsorted(totals, excess)) + 1
    if needed > len(order):
        short = excess - int(totals[-1] if len(order) else 0)
        raise UserError(
            f"schedule.measure={budget.measure}: when all has gone that this phase may remove, the model is still {short:,} "
            f"{MEASURED[budget.measure]} above what a rate of {budget.rate:.4g} leaves; lower it, or change method.targets."
        )
    gone = sum(structure.dense.values()) - sum(counts.values())
    return order[: max(0, needed - round(budget.fillback * (gone + needed)))]


def without(order: Order, counts: Counts, structure: Structure) -> dict[str, int]:
    """Group → units that stay once all of an order are gone."""
    lost = np.bincount(order, minlength=len(structure.groups)).tolist()
    return {group.name: counts[group.name] - units for group, units in zip(structure.groups, lost, strict=True)}


def by_shares(budget: StateBudget, counts: Counts, structure: Structure) -> dict[str, int]:
    """Group → units that stay where the budget's shares decide: each kind's spread over its blocks by highest averages."""
    assert budget.shares is not None
    numbers = {group.name: number for number, group in enumerate(structure.groups)}
    orders = {}
    for kind in budget.pruned:
        groups, floor = structure.of(kind), budget.kinds[kind].floor
        alive = [counts[group.name] for group in groups]
        gone = [group.count - units for group, units in zip(groups, alive, strict=True)]
        turns = in_turn(budget.shares[kind], gone, [max(0, units - floor) for units in alive])
        orders[kind] = np.array([numbers[group.name] for group in groups])[turns]
    return spend(orders, budget, counts, structure)
