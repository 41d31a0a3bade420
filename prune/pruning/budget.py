"""How many units of each kind stay in each state: rates, floors and their checks. No torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.pruning.options import CommonOptions, MethodOptions
from prune.pruning.schedule import ScheduleOptions, number_kept


@dataclass(frozen=True)
class KindBudget:
    """One kind of unit in one state.

    Attributes:
        rate: p_s, of this kind.
        units: of the dense model.
        kept: how many stay.
        floor: how many each block keeps at least.
    """

    rate: float
    units: int
    kept: int
    floor: int

    @property
    def removed_without_fillback(self) -> int:
        return self.units - number_kept(self.rate, self.units)


@dataclass(frozen=True)
class StateBudget:
    """What state s may keep. `rate` is p_s of `schedule.target` (or of `schedule.rates`)."""

    rate: float
    kinds: Mapping[str, KindBudget]
    fillback: float = 0.0
    quotas: Mapping[str, int] | None = None

    @property
    def rates(self) -> dict[str, float]:
        """Kind → its p_s: 0 for one that is left alone, another than `rate` for one that has a target of its own."""
        return {kind: budget.rate for kind, budget in self.kinds.items()}

    @property
    def kept(self) -> dict[str, int]:
        """Kind → units that stay."""
        return {kind: budget.kept for kind, budget in self.kinds.items()}


def budgets(schedule: ScheduleOptions, method: CommonOptions, structure: Structure) -> list[StateBudget]:
    """The budget of every state, of one method or of several that take turns.

    Raises:
        UserError: as `of_one_method`.
    """
    alone = {id(part): of_one_method(schedule, part, structure) for part in method.parts}
    result: list[StateBudget] = []
    for state in range(schedule.states):
        budget = alone[id(method.in_state(state))][state]
        result.append(_within(budget, result[-1]) if result else budget)
    return result


def _within(budget: StateBudget, before: StateBudget) -> StateBudget:
    """What is gone stays gone when a method takes over that would keep more, or leaves a kind alone."""
    kinds = {}
    for kind, of_kind in budget.kinds.items():
        earlier = before.kinds[kind]
        kept, rate = min(of_kind.kept, earlier.kept), max(of_kind.rate, earlier.rate)
        kinds[kind] = replace(of_kind, rate=rate, kept=kept)
    return replace(budget, rate=max(budget.rate, before.rate), kinds=kinds)


def of_one_method(schedule: ScheduleOptions, method: MethodOptions, structure: Structure) -> list[StateBudget]:
    """The budget of every state if one method acts in all.

    Raises:
        UserError: for kinds that the model does not have, or if an explicit `method.min_per_block` does not fit what a state
            keeps.
    """
    for key, named in (("method.targets", method.kinds(structure)), ("schedule.targets", tuple(schedule.targets or ()))):
        unknown = [kind for kind in named if kind not in structure.kinds]
        if unknown:
            raise UserError(
                f"{key} names {', '.join(unknown)}, which this model does not have; it has {', '.join(structure.kinds)}."
            )
    nothing = [0.0] * schedule.states
    overall = schedule.curve() if method.prunes else nothing
    pruned = method.kinds(structure) if method.prunes else ()
    idle = [kind for kind in schedule.targets or () if method.prunes and kind not in pruned]
    if idle:
        raise UserError(f"schedule.targets names {', '.join(idle)}, which method.targets leaves alone; change one of them.")
    by_kind = {kind: schedule.curve(kind) if kind in pruned else nothing for kind in structure.kinds}
    return [
        StateBudget(
            rate=overall[state],
            kinds={kind: _budget(kind, state, rates[state], method, structure) for kind, rates in by_kind.items()},
            fillback=method.fillback,
        )
        for state in range(schedule.states)
    ]


def _budget(kind: str, state: int, rate: float, method: MethodOptions, structure: Structure) -> KindBudget:
    sizes, wanted = [group.count for group in structure.of(kind)], method.min_per_block
    units = sum(sizes)
    kept = number_kept(rate, units, method.fillback)
    if wanted == "auto":
        return KindBudget(rate, units, kept, floor=1 if kept >= len(sizes) else 0)
    if wanted > min(sizes) or wanted * len(sizes) > kept:
        width = str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
        blocks = "1 block" if len(sizes) == 1 else f"{len(sizes)} blocks"
        raise UserError(
            f"method.min_per_block={wanted} does not fit: state {state} keeps {kept} {kind} in {blocks} of {width}; lower "
            "method.min_per_block or schedule.target."
        )
    return KindBudget(rate, units, kept, floor=wanted)
