"""RSST: mark the units to go, shrink them by a growing L2 penalty while training, then remove them and recover."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
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

CEILING = "method.penalty.ceiling"


class RSSTOptions(ScoredOptions):
    ramp: float = Field(0.75, gt=0, le=1, description="share of a state's steps over which λ grows")
    penalty: PenaltyOptions = PenaltyOptions()


@dataclass(frozen=True)
class Ramp:
    """How λ grows over a state: for so many steps, then held until the epoch after which the marked units go."""

    steps: int
    removal_epoch: int

    @classmethod
    def of(cls, share: float, epochs: int, steps_per_epoch: int) -> Ramp:
        """Of a state of so many epochs, over this share of its steps."""
        steps = max(1, round(share * epochs * steps_per_epoch))
        boundary = -(-steps // steps_per_epoch)
        if share < 1:
            # At least one epoch must end after the removal, so a ramp into the last epoch is cut to the one before.
            boundary = min(boundary, epochs - 1)
            steps = min(steps, boundary * steps_per_epoch)
        return cls(steps, boundary - 1)


class RSST(Method):
    Options = RSSTOptions

    def __init__(self, config: RunConfig, options: RSSTOptions):
        super().__init__(config, options)
        self.schedule = options.penalty
        self.ceiling = 0.0 if self.schedule.ceiling == "auto" else self.schedule.ceiling
        self.ramps: dict[int, Ramp] = {}  # by the epochs of a state

    @classmethod
    def check(cls, config: RunConfig, options: RSSTOptions) -> None:
        schedule = config.schedule
        for state in config.states_of(options):
            epochs = config.epochs_of(state)
            if options.ramp < 1 and epochs < 2:
                last = state == schedule.states - 1 and schedule.epochs_last is not None
                key = "schedule.epochs_last" if last else "schedule.epochs"
                raise UserError(
                    f"method.ramp={options.ramp:g} with {key}={epochs} leaves no epoch to recover in; set method.ramp=1 or "
                    f"{key} to at least 2."
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
        """Fix the ramps and removals; simulate one marked weight and refuse a penalty that would blow it up."""
        lengths = sorted({self.config.epochs_of(state) for state in self.config.states_of(self.options)})
        self.ramps = {epochs: Ramp.of(self.options.ramp, epochs, steps_per_epoch) for epochs in lengths}
        if self.schedule.ceiling == "auto":
            self.ceiling = max(self._smallest_ceiling(epochs, steps_per_epoch) for epochs in lengths)
        if self.ceiling:
            for epochs in lengths:
                self._check_penalty(epochs, steps_per_epoch)

    def _penalised(self, epochs: int, steps_per_epoch: int) -> tuple[list[float], list[float]]:
        """λ / ceiling and the learning rate at each penalised step of a state of so many epochs."""
        optim, ramp = self.config.optim, self.ramps[epochs]
        steps = range((ramp.removal_epoch + 1) * steps_per_epoch)
        total, warmup = epochs * steps_per_epoch, round(optim.warmup_epochs * steps_per_epoch)
        return [self._growth(step, ramp) for step in steps], [learning_rate(optim, step, total, warmup) for step in steps]

    @property
    def _momentum(self) -> float | None:
        return self.config.optim.momentum if self.config.optim.name == "sgd" else None

    def _smallest_ceiling(self, epochs: int, steps_per_epoch: int) -> float:
        """What `ceiling=auto` takes for a state of so many epochs."""
        growths, lrs = self._penalised(epochs, steps_per_epoch)
        found = smallest_ceiling(growths, lrs, self._momentum)
        if found is None:
            raise UserError(
                f"{CEILING}=auto: no ceiling brings a weight near zero in {len(lrs)} penalised steps at "
                f"optim.lr={self.config.optim.lr:g}; raise method.ramp, schedule.epochs or optim.lr."
            )
        log.info("%s=auto: %g suffices over %d penalised steps", CEILING, found, len(lrs))
        return found

    def _check_penalty(self, epochs: int, steps_per_epoch: int) -> None:
        optim, momentum = self.config.optim, self._momentum
        growths, lrs = self._penalised(epochs, steps_per_epoch)
        decay = simulate(growths, lrs, self.ceiling, momentum)
        if not decay.stable(decoupled=momentum is None):
            effect = (
                f"lr·λ reaches {decay.strongest:.3g}, and from 1 on a step flips a weight's sign"
                if momentum is None
                else f"a penalised weight would grow to {decay.largest:.3g} times its size"
            )
            raise UserError(
                f"{CEILING}={self.ceiling:g} is unstable at optim.lr={optim.lr:g}: {effect}; lower one of them or set "
                f"{CEILING}=auto."
            )
        if decay.final > NEAR_ZERO:
            found = smallest_ceiling(growths, lrs, momentum)
            advice = f"the smallest that suffices is {found:g}" if found else "no ceiling suffices; train longer states"
            log.warning(
                "%s=%g leaves marked weights at %.3g of their size when they are removed; %s.",
                CEILING, self.ceiling, decay.final, advice,
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
        if state.marked is None or epoch != self.ramps[state.epochs].removal_epoch:
            return
        state.record["marked_norm_ratio"] = state.marked_norm_ratio()
        state.record["val_accuracy_before_removal"] = state.val_accuracy  # the epoch has just been evaluated
        state.remove(state.marked)
        state.record["val_accuracy_after_removal"] = state.evaluate()

    def can_be_best(self, state: PruningState, epoch: int) -> bool:
        # With ramp 1 the removal is the last thing in the state, and the model just after it is the best and the final one.
        return state.index == 0 or epoch > self.ramps[state.epochs].removal_epoch or epoch == state.epochs - 1

    def penalty(self, state: PruningState, step: int) -> float | None:
        if state.marked is None:
            return None
        return self.ceiling * self._growth(step, self.ramps[state.epochs])

    def _growth(self, step: int, ramp: Ramp) -> float:
        return growth(self.schedule.schedule, self.schedule.exponents, step, ramp.steps)


def _epochs_until_removal(ramp: float, epochs: int) -> int:
    """Epochs of a state up to the removal: at the end of the ramp's last one. A ramp below 1 leaves an epoch to recover in."""
    whole = max(1, math.ceil(round(ramp * epochs, 6)))  # rounded, since 0.55 × 20 is a little more than 11 in floating point
    return min(whole, epochs - 1) if ramp < 1 else epochs
