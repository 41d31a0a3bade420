"""RSST: mark the units to go, shrink them by a growing L2 penalty while training, then remove them and recover."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pydantic import Field

from prune.base.errors import UserError
from prune.config.optim import learning_rate
from prune.engine.method import Method
from prune.methods.penalty_growth import NEAR_ZERO, PenaltyOptions, growth, simulate, smallest_ceiling
from prune.pruning.options import ScoredOptions

if TYPE_CHECKING:
    from prune.config.schema import RunConfig
    from prune.engine.state import PruningState

log = logging.getLogger(__name__)


class RSSTOptions(ScoredOptions):
    ramp: float = Field(0.75, gt=0, le=1, description="share of a state's steps over which λ grows")
    penalty: PenaltyOptions = PenaltyOptions()


class RSST(Method):
    Options = RSSTOptions

    def __init__(self, config: RunConfig, options: RSSTOptions):
        super().__init__(config, options)
        self.schedule = options.penalty
        self.ceiling = 0.0 if self.schedule.ceiling == "auto" else self.schedule.ceiling
        self.steps_per_epoch = self.ramp_steps = self.removal_epoch = 0

    @classmethod
    def check(cls, config: RunConfig, options: RSSTOptions) -> None:
        if options.ramp < 1 and config.schedule.epochs < 2:
            raise UserError(
                f"method.ramp={options.ramp:g} with schedule.epochs={config.schedule.epochs} leaves no epoch to recover in; "
                "set method.ramp=1 or schedule.epochs to at least 2."
            )

    @classmethod
    def macs_per_epoch(cls, config: RunConfig, options: RSSTOptions, sizes: Sequence[int]) -> list[int]:
        """A state trains at the size of the state before until what is marked goes."""
        result = [sizes[0]] * config.epochs_of(0)
        for state in range(1, len(sizes)):
            epochs = config.epochs_of(state)
            marked = _epochs_until_removal(options.ramp, epochs)
            result += [sizes[state - 1]] * marked + [sizes[state]] * (epochs - marked)
        return result

    def prepare(self, steps_per_epoch: int) -> None:
        """Fix the ramp and the removal; simulate one marked weight and refuse a penalty that would blow it up."""
        epochs, ramp = self.config.schedule.epochs, self.options.ramp
        self.steps_per_epoch = steps_per_epoch
        self.ramp_steps = max(1, round(ramp * epochs * steps_per_epoch))
        boundary = -(-self.ramp_steps // steps_per_epoch)
        if ramp < 1:
            # At least one epoch must end after the removal, so a ramp into the last epoch is cut to the one before.
            boundary = min(boundary, epochs - 1)
            self.ramp_steps = min(self.ramp_steps, boundary * steps_per_epoch)
        self.removal_epoch = boundary - 1
        self._check_penalty(boundary * steps_per_epoch)

    def _check_penalty(self, steps: int) -> None:
        optim, key = self.config.optim, "method.penalty.ceiling"
        total = self.config.schedule.epochs * self.steps_per_epoch
        warmup = round(optim.warmup_epochs * self.steps_per_epoch)
        growths = [self._growth(step) for step in range(steps)]
        lrs = [learning_rate(optim, step, total, warmup) for step in range(steps)]
        momentum = optim.momentum if optim.name == "sgd" else None
        if self.schedule.ceiling == "auto":
            found = smallest_ceiling(growths, lrs, momentum)
            if found is None:
                raise UserError(
                    f"{key}=auto: no ceiling brings a weight near zero in {steps} penalised steps at optim.lr={optim.lr:g}; "
                    "raise method.ramp, schedule.epochs or optim.lr."
                )
            self.ceiling = found
            log.info("%s=auto: %g suffices over %d penalised steps", key, found, steps)
            return
        if self.ceiling == 0:
            return
        decay = simulate(growths, lrs, self.ceiling, momentum)
        if not decay.stable(decoupled=momentum is None):
            effect = (
                f"lr·λ reaches {decay.strongest:.3g}, and from 1 on a step flips a weight's sign"
                if momentum is None
                else f"a penalised weight would grow to {decay.largest:.3g} times its size"
            )
            raise UserError(
                f"{key}={self.ceiling:g} is unstable at optim.lr={optim.lr:g}: {effect}; lower one of them or set {key}=auto."
            )
        if decay.final > NEAR_ZERO:
            found = smallest_ceiling(growths, lrs, momentum)
            advice = f"the smallest that suffices is {found:g}" if found else "no ceiling suffices; train longer states"
            log.warning(
                "%s=%g leaves marked weights at %.3g of their size when they are removed; %s.",
                key, self.ceiling, decay.final, advice,
            )  # fmt: skip

    def prune(self, state: PruningState) -> None:
        keep = state.choose(state.score())
        state.record["val_accuracy_pruned"] = state.evaluate(only=keep)
        state.rewind()
        state.mark(keep)

    def before_step(self, state: PruningState, step: int) -> None:
        strength = self.penalty(state, step)
        if strength:
            state.penalise(strength)

    def end_epoch(self, state: PruningState, epoch: int) -> None:
        if epoch != self.removal_epoch or state.marked is None:
            return
        state.record["marked_norm_ratio"] = state.marked_norm_ratio()
        state.record["val_accuracy_before_removal"] = state.val_accuracy  # the epoch has just been evaluated
        state.remove(state.marked)
        state.record["val_accuracy_after_removal"] = state.evaluate()

    def can_be_best(self, state: PruningState, epoch: int) -> bool:
        # With ramp 1 the removal is the last thing in the state, and the model just after it is the best and the final one.
        last = self.config.epochs_of(state.index) - 1
        return state.index == 0 or epoch > self.removal_epoch or epoch == last

    def penalty(self, state: PruningState, step: int) -> float | None:
        if state.marked is None:
            return None
        return self.ceiling * self._growth(step)

    def _growth(self, step: int) -> float:
        return growth(self.schedule.schedule, self.schedule.exponents, step, self.ramp_steps)


def _epochs_until_removal(ramp: float, epochs: int) -> int:
    """Epochs of a state up to the removal: at the end of the ramp's last one. A ramp below 1 leaves an epoch to recover in."""
    whole = max(1, math.ceil(round(ramp * epochs, 6)))  # rounded, since 0.55 × 20 is a little more than 11 in floating point
    return min(whole, epochs - 1) if ramp < 1 else epochs
