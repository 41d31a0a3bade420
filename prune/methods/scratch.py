"""Scratch: the small model of each state, trained from fresh random weights (Liu et al. 2019, arXiv 1810.05270)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from prune.base.errors import UserError
from prune.engine.method import Method
from prune.pruning.options import MethodOptions
from prune.pruning.schedule import MOST_EPOCHS, ScheduleOptions

if TYPE_CHECKING:
    from prune.config.schema import RunConfig
    from prune.engine.state import PruningState


class ScratchOptions(MethodOptions):
    scope: Literal["layer"] = Field(
        "layer", description="each block keeps its share, unless `block_rates` or `counts` say others"
    )
    pools: Literal["separate"] = Field("separate", description="each kind by itself: there are no scores to compare")
    rewind: Literal["reinit"] = Field("reinit", description="fresh random weights, seeded by the run and the state")
    budget: Literal["state", "run"] = Field(
        "state",
        description="epochs of a pruned state; state: the schedule's; run: as many as a run that never rewinds has had by then",
    )

    def epochs(self, schedule: ScheduleOptions, state: int) -> int:
        return schedule.epochs_before(state + 1) if self.budget == "run" else schedule.epochs_of(state)


class Scratch(Method):
    Options = ScratchOptions

    @classmethod
    def check(cls, config: RunConfig, options: ScratchOptions) -> None:
        epochs = config.epochs_before(config.schedule.states)
        if epochs > MOST_EPOCHS:
            raise UserError(
                f"method.budget=run makes {epochs:,} epochs; a run has at most {MOST_EPOCHS:,}: lower schedule.states."
            )

    def prune(self, state: PruningState) -> None:
        import torch

        # Which units stay does not matter to weights that are drawn afresh: of equal scores the first stay.
        state.remove(state.choose({name: torch.zeros(len(units)) for name, units in state.alive.items()}))
        state.rewind()
