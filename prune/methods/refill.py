"""Refill: rank, keep the best units whole, remove the others at once, rewind what is left, train (arXiv 2202.04736)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from prune.engine.method import Method
from prune.pruning.options import ScoredOptions

if TYPE_CHECKING:
    from prune.engine.state import PruningState


class RefillOptions(ScoredOptions):
    rewind: str = Field("init", description="init | epoch:K | reinit | none")
    fillback_rate: float = Field(0.0, ge=0, lt=1, description="Refill+: share of the units to go that stays after all")

    @property
    def fillback(self) -> float:
        return self.fillback_rate


class Refill(Method):
    Options = RefillOptions

    def prune(self, state: PruningState) -> None:
        state.remove(state.choose(state.score()))
        state.record["val_accuracy_pruned"] = state.evaluate()
        state.rewind()
