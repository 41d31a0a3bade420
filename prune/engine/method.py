"""The interface of a pruning method. The loop in prune/engine/run.py calls it; it acts on the state through a few verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from prune.pruning.options import MethodOptions

if TYPE_CHECKING:
    from prune.config.schema import RunConfig
    from prune.engine.state import PruningState


class Method:
    """What happens at each point of a pruning state. Override what the method needs; the defaults do nothing.

    A method keeps no memory of its own: whatever must survive a restart goes through `state.mark`, `state.record` or
    `state.memory`, which are saved with every checkpoint.
    """

    Options: ClassVar[type[MethodOptions]] = MethodOptions

    def __init__(self, config: RunConfig):
        self.config = config

    @classmethod
    def check(cls, config: RunConfig) -> None:
        """Cross-checks while composing (no torch, no data). Raise `UserError`, one sentence that names the keys."""

    def prepare(self, steps_per_epoch: int) -> None:
        """Checks when the job starts, before any training, now that the number of steps is known."""

    def begin(self, state: PruningState) -> None:
        """A state s ≥ 1 begins, from the model that ended state s-1: prune it, or mark what is to go."""

    def before_step(self, state: PruningState, step: int) -> None:
        """After the gradient is clipped and before the optimiser's step `step` of the state (0, 1, …)."""

    def end_epoch(self, state: PruningState, epoch: int) -> None:
        """Epoch `epoch` of the state has been trained and evaluated; its metrics are written."""

    def can_be_best(self, state: PruningState, epoch: int) -> bool:
        """Whether the model at the end of this epoch is one of the state's rate."""
        return True

    def penalty(self, state: PruningState, step: int) -> float | None:
        """λ at a step, for the metrics; None where there is no penalty."""
        return None
