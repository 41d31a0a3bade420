"""Which units are left: the keep sets in the states' pruned.json, block by block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune.base.files import read_json
from prune.report.run import Run, Variant

Place = tuple[str, int]
"""(kind, block)."""


@dataclass(frozen=True)
class Survival:
    """Units kept of a variant.

    Attributes:
        states: the states with at least one readable pruned.json, ascending.
        units: place → units of the dense model there, for the places that have any, in the order of the blocks.
        counts: place → array (runs, states) of units kept there; nan where a run has no file for a state.
        labels: block → what a reader calls it, as the family of the variant's model says.
    """

    states: Sequence[int]
    units: Mapping[Place, int]
    counts: Mapping[Place, np.ndarray]
    labels: Mapping[int, str]

    @property
    def kinds(self) -> list[str]:
        return list(dict.fromkeys(kind for kind, _ in self.units))

    @property
    def blocks(self) -> list[int]:
        """The blocks that have units of some kind, ascending."""
        return sorted({block for _, block in self.units})

    def kept(self, kind: str, state: int, block: int) -> list[float]:
        """Units of a kind that each run keeps in one block that has them."""
        return [float(value) for value in self.counts[kind, block][:, self.states.index(state)]]

    def fraction(self, kind: str) -> np.ndarray:
        """Share of each block's units that is kept, mean over runs: (blocks, states); nan where a block has none of a kind."""
        missing = np.full(len(self.states), np.nan)
        shares = {block: np.nanmean(self.counts[kind, block], axis=0) / self.units[kind, block]
                  for block in self.blocks if (kind, block) in self.units}  # fmt: skip
        return np.array([shares.get(block, missing) for block in self.blocks])


def survival(variant: Variant) -> Survival | None:
    """Read the keep sets of all runs; None if there are none (a copy may have left them out)."""
    found = {(i, state): kept for i, run in enumerate(variant.runs) for state in run.states_done if (kept := _kept(run, state))}
    if not found:
        return None
    units = {place: dense for place, (_, dense) in next(iter(found.values())).items()}
    found = {key: kept for key, kept in found.items() if {place: dense for place, (_, dense) in kept.items()} == units}
    states = sorted({state for _, state in found})
    counts = {place: np.full((len(variant.runs), len(states)), np.nan) for place in units}
    for (index, state), kept in found.items():
        for place, (left, _) in kept.items():
            counts[place][index, states.index(state)] = left
    structure = variant.runs[0].structure
    labels = {block: str(block) if structure is None else structure.label(block) for _, block in units}
    return Survival(states, units, counts, labels)


def _kept(run: Run, state: int) -> dict[Place, tuple[int, int]] | None:
    """Place → (units kept, units of the dense model), as a state's manifest tells them; None without one that can be read."""
    content: Any = read_json(run.record.directory.manifest(state))
    places: dict[Place, tuple[int, int]] = {}
    try:
        for group in content["groups"].values():
            kept, units = places.get((group["kind"], group["block"]), (0, 0))
            places[group["kind"], group["block"]] = kept + len(group["kept"]), units + group["units"]
    except (AttributeError, KeyError, TypeError):
        return None
    return places
