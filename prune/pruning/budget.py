"""How many units stay in each state: rates, floors, quotas and their checks. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.pruning.options import MethodOptions
from prune.pruning.quotas import spread
from prune.pruning.schedule import ScheduleOptions, number_kept
from prune.pruning.shares import Shares, shares


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
    """What state s may keep.

    Attributes:
        rate: p_s of `schedule.target` (or of `schedule.rates`).
        kinds: what each kind may keep.
        fillback: share of the units to go that stays after all.
        quotas: group → how many of its units stay, where that is settled without looking at scores, which then say only which
            ones; None where the scores decide.
    """

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

    def macs(self, structure: Structure) -> int:
        """Multiply-accumulates of one image of what stays: exact with `quotas`, or where all units of a kind cost the same."""
        return structure.usual_macs(self.kept) if self.quotas is None else structure.macs(self.quotas)


def budgets(schedule: ScheduleOptions, method: MethodOptions, structure: Structure) -> list[StateBudget]:
    """The budget of every state.

    Raises:
        UserError: for kinds that the model does not have, an explicit `method.min_per_block` that does not fit what a state
            keeps, or `method.block_rates` that do not fit the model or what a state removes.
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
    planned = [
        StateBudget(
            rate=overall[state],
            kinds={kind: _budget(kind, state, rates[state], method, structure) for kind, rates in by_kind.items()},
            fillback=method.fillback,
        )
        for state in range(schedule.states)
    ]
    by_block = shares(method, structure)
    return planned if by_block is None else list(_with_quotas(planned, by_block, structure))


def _with_quotas(planned: Sequence[StateBudget], by_block: Shares, structure: Structure) -> Iterator[StateBudget]:
    """The same budgets, spread over the blocks; each state's quotas are within those of the state before."""
    sizes = {kind: [group.count for group in structure.of(kind)] for kind in structure.kinds}
    left = dict(sizes)
    for state, budget in enumerate(planned):
        quotas: dict[str, int] = {}
        for kind, of_kind in budget.kinds.items():
            weights = by_block[kind]
            most = sum(size - of_kind.floor for size, weight in zip(sizes[kind], weights, strict=True) if weight > 0)
            if of_kind.units - of_kind.kept > most:
                raise UserError(
                    f"method.block_rates lets at most {most:,} of {of_kind.units:,} {kind} go (a block of rate 0 keeps all its "
                    f"units), and state {state} removes {of_kind.units - of_kind.kept:,}; lower schedule.target."
                )
            left[kind] = spread(of_kind.kept, sizes[kind], of_kind.floor, left[kind], weights)
            quotas |= dict(zip((group.name for group in structure.of(kind)), left[kind], strict=True))
        yield replace(budget, quotas={group.name: quotas[group.name] for group in structure.groups})


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
