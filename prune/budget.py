"""How many units of each kind stay in each state: rates, floors and their checks. No torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prune.errors import UserError
from prune.schedule import number_kept, rates

if TYPE_CHECKING:
    from prune.config.schema import RunConfig


@dataclass(frozen=True)
class KindBudget:
    """One kind of unit in one state: its rate, how many units stay, and how many each block keeps at least."""

    rate: float
    kept: int
    floor: int


@dataclass(frozen=True)
class StateBudget:
    """What state s may keep. `rate` is p_s of `schedule.target` (or of `schedule.rates`)."""

    rate: float
    heads: KindBudget
    neurons: KindBudget
    fillback: float = 0.0


@dataclass(frozen=True)
class Rates:
    """The rate of each state: of `schedule.target`, of the heads, of the neurons."""

    overall: list[float]
    heads: list[float]
    neurons: list[float]


def rates_of(config: RunConfig) -> Rates:
    """The rates that a configuration asks for; 0 throughout for what it does not prune."""
    schedule, method = config.schedule, config.method
    zeros = [0.0] * schedule.states
    if not method.prunes:
        return Rates(zeros, zeros, zeros)

    def curve(target: float | None) -> list[float]:
        if schedule.rates is not None:
            return list(schedule.rates)
        return rates(schedule.states, schedule.target if target is None else target, schedule.shape)

    return Rates(
        overall=curve(None),
        heads=curve(schedule.target_heads) if method.targets != "mlp" else zeros,
        neurons=curve(schedule.target_neurons) if method.targets != "head" else zeros,
    )


def budgets(config: RunConfig) -> list[StateBudget]:
    """The budget of every state.

    Raises:
        UserError: if an explicit `method.min_per_block` does not fit what a state keeps.
    """
    planned, shape = rates_of(config), config.shape()
    result = []
    for state in range(config.schedule.states):
        heads = _kind(config, "heads", state, planned.heads[state], shape.num_heads)
        neurons = _kind(config, "neurons", state, planned.neurons[state], shape.mlp_hidden)
        result.append(StateBudget(planned.overall[state], heads, neurons, config.method.fillback))
    return result


def _kind(config: RunConfig, kind: str, state: int, rate: float, per_block: int) -> KindBudget:
    blocks, wanted = config.model.depth, config.method.min_per_block
    kept = number_kept(rate, blocks * per_block, config.method.fillback)
    if wanted == "auto":
        return KindBudget(rate, kept, floor=1 if kept >= blocks else 0)
    if wanted > per_block or wanted * blocks > kept:
        raise UserError(
            f"method.min_per_block={wanted} does not fit: state {state} keeps {kept} {kind} in {blocks} blocks of "
            f"{per_block}; lower method.min_per_block or schedule.target."
        )
    return KindBudget(rate, kept, floor=wanted)
