"""The states of a run: how many epochs each has, and which share of the units is gone by then. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from prune.architectures.group import Measure
from prune.base.errors import UserError
from prune.base.section import Section

Rate = Annotated[float, Field(gt=0, lt=1)]

MOST_EPOCHS = 1_000_000
"""Of a run. More is a slip of the keyboard, and would be planned, and waited for, in vain."""

SHAPES = ("geometric", "linear", "cubic", "constant")


def rates(states: int, target: float, shape: str = "geometric") -> list[float]:
    """Rates p_0 … p_{S-1}: the fraction of units pruned, since the start, in each state.

    Args:
        states: S ≥ 2, state 0 (dense) included.
        target: the last state's rate, in [0, 1).
        shape: `geometric`: 1 - p_s = (1 - target)^(s/(S-1)), each state removes the same share of what is left;
            `linear`: p_s = target·s/(S-1);
            `cubic`: p_s = target·(1 - (1 - s/(S-1))³) (Zhu & Gupta 2017, arXiv 1710.01878, eq. 1);
            `constant`: p_s = target for every s ≥ 1 (what the reference program really ran).

    Returns:
        S floats, never decreasing, the first 0 and the last exactly `target`.
    """
    if states < 2:
        raise ValueError(f"states must be at least 2, not {states}")
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, not {shape!r}")
    last = states - 1

    def rate(state: int) -> float:
        progress = state / last
        if shape == "geometric":
            return 1 - (1 - target) ** progress
        if shape == "linear":
            return target * progress
        if shape == "cubic":
            return target * (1 - (1 - progress) ** 3)
        return target

    # The ends are set, not computed, so that no rounding moves them.
    return [0.0, *(rate(state) for state in range(1, last)), target]


def number_kept(rate: float, units: int, fillback_rate: float = 0.0) -> int:
    """How many of `units` stay at `rate`: round((1 - p)·N), plus round(f·(N - kept)) of those that would go (Refill+)."""
    kept = round((1 - rate) * units)
    return kept + round(fillback_rate * (units - kept))


class ScheduleOptions(Section):
    """States, epochs per state and the rate of each state."""

    states: int = Field(ge=2, le=10_000, description="S, state 0 (dense) included")
    epochs: int = Field(ge=1, description="epochs of each state")
    epochs_first: int | None = Field(None, ge=0, description="epochs of state 0; null: as `epochs`")
    epochs_last: int | None = Field(None, ge=1, description="epochs of the last state; null: as `epochs`")
    target: Rate = Field(description="the last state's rate, for all kinds of unit alike")
    targets: dict[str, Rate] | None = Field(None, description="other targets by kind: {heads: 0.5}")
    shape: Literal["geometric", "linear", "cubic", "constant"] = Field("geometric", description="how the rate grows")
    rates: list[float] | None = Field(None, description="an explicit list that starts at 0; overrides target and shape")
    measure: Measure = Field(
        "units", description="what a rate is a fraction of: units of each kind, or the whole model's parameters or MACs"
    )

    @model_validator(mode="after")
    def _check_length(self) -> ScheduleOptions:
        epochs = self.epochs_before(self.states)
        if epochs > MOST_EPOCHS:
            raise UserError(
                f"schedule.states={self.states} and schedule.epochs={self.epochs} make {epochs:,} epochs; a run has at most "
                f"{MOST_EPOCHS:,}."
            )
        return self

    def curve(self, kind: str | None = None) -> list[float]:
        """The rate of each state: of a kind, or of `target`."""
        if self.rates is not None:
            return list(self.rates)
        return rates(self.states, (self.targets or {}).get(kind or "", self.target), self.shape)

    def key_of_rate(self, kind: str | None = None) -> str:
        """The key that says the rate: of a kind, or the common one."""
        own = "targets" if kind in (self.targets or ()) else "target"
        return f"schedule.{own if self.rates is None else 'rates'}"

    def epochs_of(self, state: int) -> int:
        """Epochs of a state."""
        return epochs_of(vars(self), state)

    def epochs_before(self, state: int) -> int:
        """Epochs of all states before a state; with the number of states, those of the whole run."""
        return epochs_before(vars(self), state)


def epochs_of(schedule: Mapping[str, Any], state: int) -> int:
    """Epochs that a configuration's `schedule` section, as a file holds it, gives a state."""
    own = {0: schedule.get("epochs_first"), int(schedule["states"]) - 1: schedule.get("epochs_last")}.get(state)
    return int(schedule["epochs"] if own is None else own)


def epochs_before(schedule: Mapping[str, Any], state: int) -> int:
    """As `ScheduleOptions.epochs_before`, of a configuration's `schedule` section as a file holds it."""
    if state == 0:
        return 0
    last = int(schedule["states"]) - 1
    whole = epochs_of(schedule, 0) + (min(state, last) - 1) * int(schedule["epochs"])
    return whole + (epochs_of(schedule, last) if state > last else 0)
