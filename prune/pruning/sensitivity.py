"""How the loss grows with what each group loses, and the order of removals that follows. No torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune.architectures.group import Measure, Structure
from prune.pruning.budget import StateBudget
from prune.pruning.removals import Counts, Order, shortest, spend, without


@dataclass(frozen=True)
class Curve:
    """The loss with so many of a group's lowest-scored units silenced, no others.

    Attributes:
        units: silenced, ascending from 0.
        loss: the mean cross-entropy over calibration images, of each.
    """

    units: tuple[int, ...]
    loss: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return {"units": list(self.units), "loss": list(self.loss)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Curve:
        return cls(tuple(content["units"]), tuple(content["loss"]))

    def slopes(self) -> np.ndarray:
        """What each further unit adds to the loss, on the lower convex hull of the points: (units,), ascending."""
        hull = lower_hull(self.units, self.loss)
        units, loss = np.array(self.units, dtype=float)[hull], np.array(self.loss)[hull]
        return np.repeat(np.diff(loss) / np.diff(units), np.diff(units).astype(int))


Curves = Mapping[str, Curve]
"""Group → its curve; a group that loses nothing has none."""


def points(removable: int) -> list[int]:
    """How many units are silenced where so many may go: a quarter, half, three quarters and all, at least one, each once."""
    return sorted({max(1, round(removable * quarters / 4)) for quarters in (1, 2, 3, 4)}) if removable > 0 else []


def lower_hull(x: Sequence[float], y: Sequence[float]) -> list[int]:
    """The points of the lower convex hull, x ascending: Andrew's monotone chain (1979), its lower half."""
    hull: list[int] = []
    for new in range(len(x)):
        while len(hull) > 1 and _above(hull[-2], hull[-1], new, x, y):
            hull.pop()
        hull.append(new)
    return hull


def _above(first: int, middle: int, last: int, x: Sequence[float], y: Sequence[float]) -> bool:
    """Whether the middle point lies on or above the line through the others."""
    return (y[middle] - y[first]) * (x[last] - x[first]) >= (y[last] - y[first]) * (x[middle] - x[first])


def by_loss(curves: Curves, structure: Structure, measure: Measure) -> Order:
    """All removals, those first that cost least loss per unit of the measure; of equals the larger (kind, block) first."""
    kinds = {kind: number for number, kind in enumerate(structure.kinds)}
    numbered = [(number, group) for number, group in enumerate(structure.groups) if group.name in curves]
    slopes = [curves[group.name].slopes() / max(1, group.cost(measure)) for _, group in numbered]
    owners = np.repeat([number for number, _ in numbered], [len(of_group) for of_group in slopes]).astype(int)
    rank = np.repeat([kinds[group.kind] for _, group in numbered], [len(of_group) for of_group in slopes])
    return owners[np.lexsort((-owners, -rank, np.concatenate([np.zeros(0), *slopes])))]


def first_of(order: Order, pools: str, budget: StateBudget, counts: Counts, structure: Structure) -> dict[str, int]:
    """Group → units that stay when the state's budget takes the first of an order of all kinds.

    Of a budget of units each kind loses its own number, or, with `joint` pools, all kinds together as many as that makes.
    """
    if budget.limit is not None:
        return without(shortest(order, budget, counts, structure), counts, structure)
    if pools == "joint":
        return without(order[: sum(counts.values()) - sum(budget.kept.values())], counts, structure)
    kinds = np.array([group.kind for group in structure.groups])[order]
    return spend({kind: order[kinds == kind] for kind in budget.pruned}, budget, counts, structure)
