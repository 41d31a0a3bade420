"""Which units are left: the keep sets in the states' pruned.json, block by block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from prune.base.files import read_json
from prune.report.study import Run, Variant


@dataclass(frozen=True)
class Survival:
    """Units kept of a variant.

    Attributes:
        states: the states with at least one readable pruned.json, ascending.
        counts: kind → array (runs, states, blocks) of units kept; nan where a run has no file for a state.
    """

    states: Sequence[int]
    blocks: int
    heads_per_block: int
    neurons_per_block: int
    counts: dict[str, np.ndarray]

    def kept(self, kind: str, state: int, block: int) -> list[float]:
        """Units of a kind that each run keeps in one block."""
        return [float(value) for value in self.counts[kind][:, self.states.index(state), block]]

    def fraction(self, kind: str) -> np.ndarray:
        """Share of each block's units that is kept, mean over runs: (blocks, states)."""
        of = self.heads_per_block if kind == "heads" else self.neurons_per_block
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nanmean(self.counts[kind], axis=0)).T / of


def survival(variant: Variant) -> Survival | None:
    """Read the keep sets of all runs; None if there are none (`checkpoint.keep` or a copy may have left them out)."""
    shape = variant.runs[0].shape
    if shape is None:
        return None
    found = {
        (i, s): kept for i, run in enumerate(variant.runs) for s in run.states_done if (kept := _kept(run, s, shape.depth))
    }
    if not found:
        return None
    states = sorted({state for _, state in found})
    counts = {kind: np.full((len(variant.runs), len(states), shape.depth), np.nan) for kind in ("heads", "neurons")}
    for (index, state), kept in found.items():
        for kind, array in counts.items():
            array[index, states.index(state)] = kept[kind]
    return Survival(states, shape.depth, shape.num_heads, shape.mlp_hidden, counts)


def _kept(run: Run, state: int, blocks: int) -> dict[str, list[int]] | None:
    content: Any = read_json(run.record.directory.state(state) / "pruned.json")
    if not isinstance(content, dict) or not {"heads", "neurons"} <= set(content):
        return None
    counts = {kind: [len(block) for block in content[kind]] for kind in ("heads", "neurons")}
    return counts if all(len(values) == blocks for values in counts.values()) else None
