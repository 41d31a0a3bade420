"""The interface of a pruning method. The loop in run.py calls it; it acts on the state through a few verbs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from prune.config.schema import RunConfig
from prune.pruning.options import CommonOptions, MethodOptions

if TYPE_CHECKING:  # torch is not needed to read a method's options or to plan
    from torch import Tensor

    from prune.engine.state import PruningState


class Method:
    """What happens at each point of a run. Override what the method needs; the defaults do nothing.

    A method keeps no memory of its own: whatever must survive a restart goes through `state.mark`, `state.record`,
    `state.memory` (as long as the state) or `state.run_memory` (as long as the run), which are saved with every checkpoint.

    Attributes:
        Options: the class of its section of the configuration.
        changes_state_0: whether its hooks act in state 0 (on the training, or on `run_memory`), so that its state 0 is its own.
        config: the whole configuration.
        options: its own section, an instance of `Options`.
    """

    Options: ClassVar[type[CommonOptions]] = MethodOptions
    changes_state_0: ClassVar[bool] = False

    def __init__(self, config: RunConfig, options: Any):
        self.config, self.options = config, options

    @classmethod
    def check(cls, config: RunConfig, options: Any) -> None:
        """Cross-checks while composing (no torch, no data). Raise `UserError`, one sentence that names the keys."""

    @classmethod
    def macs_per_epoch(cls, config: RunConfig, options: Any, sizes: Sequence[int]) -> list[int]:
        """What the run costs, for the plan: forward MACs of one image in each epoch of the run, in order.

        Args:
            sizes: forward MACs of one image of the model that each state keeps.
        """
        return [size for state, size in enumerate(sizes) for _ in range(config.epochs_of(state))]

    def of(self, state: int) -> Method:
        """The method whose hooks are called in a state: this one, unless it is several that take turns."""
        return self

    @property
    def has_loss_term(self) -> bool:
        """Whether the method adds a term to the loss; its steps are then computed by the library's own modules alone."""
        return type(self).loss_term is not Method.loss_term

    @property
    def shares_state_0(self) -> bool:
        """Whether its state 0 is that of all methods: nothing of it acts there."""
        return not (self.changes_state_0 or self.has_loss_term)

    def prepare(self, steps_per_epoch: int) -> None:
        """Checks when the job starts, before any training, now that the number of steps is known."""

    def begin(self, state: PruningState) -> None:
        """A state begins, state 0 included."""

    def prune(self, state: PruningState) -> None:
        """Right after `begin`, in a state s ≥ 1, with the model that ended state s-1: prune it, or mark what is to go."""

    def loss_term(self, state: PruningState, images: Tensor, logits: Tensor, labels: Tensor) -> Tensor | None:
        """A term to add to the step's loss, a scalar on the device; None for none."""
        return None

    def before_step(self, state: PruningState, step: int) -> None:
        """After the gradient is clipped and before the optimiser's step `step` of the state (0, 1, …), state 0 included."""

    def after_step(self, state: PruningState, step: int) -> None:
        """After the optimiser's step. The gradients are still there."""

    def end_epoch(self, state: PruningState, epoch: int) -> None:
        """Epoch `epoch` of the state has been trained and evaluated; its metrics are written."""

    def end_state(self, state: PruningState) -> None:
        """The state's last epoch is over. The model, which may no longer change, is final; `record` may still be written."""

    def can_be_best(self, state: PruningState, epoch: int) -> bool:
        """Whether the model at the end of this epoch is one of the state's rate."""
        return True

    def penalty(self, state: PruningState, step: int) -> float | None:
        """λ at a step, for the metrics; None where there is no penalty."""
        return None
