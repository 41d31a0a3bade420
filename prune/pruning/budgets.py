"""The budget of every state: rates, floors, limits, quotas and their checks. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Literal

from prune.architectures.group import MEASURED, Structure
from prune.base.errors import UserError
from prune.pruning.budget import KindBudget, StateBudget
from prune.pruning.options import CommonOptions, MethodOptions
from prune.pruning.removals import by_shares
from prune.pruning.schedule import ScheduleOptions, number_kept
from prune.pruning.shares import Shares, by_width, shares


def budgets(schedule: ScheduleOptions, method: CommonOptions, structure: Structure) -> list[StateBudget]:
    """The budget of every state, of one method or of several that take turns.

    Raises:
        UserError: for kinds that the model does not have or that nothing prunes; for `method.block_rates` that do not fit the
            model; and for a state's target that no removal reaches, an explicit `method.min_per_block` that does not fit what
            the state keeps, or blocks of rate 0 that leave less than it removes.
    """
    _check_kinds(schedule, method, structure)
    result: list[StateBudget] = []
    counts: Mapping[str, int] = structure.dense
    known = True  # so long as no scores have had a say, these are the counts, and not about those
    for state in range(schedule.states):
        budget = _of_state(schedule, method.in_state(state), state, structure, counts)
        if result:
            budget = _within(budget, result[-1])
        known = known and (budget.shares is not None or not budget.pruned)
        if budget.pruned and (known or budget.limit is not None):
            # A spread by width stands for that of scores.
            counts = by_shares(replace(budget, shares=budget.shares or by_width(structure)), counts, structure)
        if budget.limit is not None:
            kept = structure.by_kind(counts)
            budget = replace(budget, kinds={kind: replace(of, kept=kept[kind]) for kind, of in budget.kinds.items()})
        result.append(replace(budget, quotas=counts if known else None))
    return result


def _check_kinds(schedule: ScheduleOptions, method: CommonOptions, structure: Structure) -> None:
    named = [kind for part in method.parts for kind in part.kinds(structure)]
    for key, kinds in (("method.targets", named), ("schedule.targets", list(schedule.targets or ()))):
        unknown = [kind for kind in dict.fromkeys(kinds) if kind not in structure.kinds]
        if unknown:
            raise UserError(
                f"{key} names {', '.join(unknown)}, which this model does not have; it has {', '.join(structure.kinds)}."
            )
    pruned = {kind for part in method.parts if part.prunes for kind in part.kinds(structure)}
    idle = [kind for kind in schedule.targets or () if method.prunes and kind not in pruned]
    if idle:
        raise UserError(f"schedule.targets names {', '.join(idle)}, which method.targets leaves alone; change one of them.")


def _within(budget: StateBudget, before: StateBudget) -> StateBudget:
    """What is gone stays gone when a method takes over that would keep more, or leaves a kind alone."""
    kinds = {}
    for kind, of_kind in budget.kinds.items():
        earlier = before.kinds[kind]
        kept, rate = min(of_kind.kept, earlier.kept), max(of_kind.rate, earlier.rate)
        kinds[kind] = replace(of_kind, rate=rate, kept=kept, left_alone=of_kind.rate == 0)
    limit = None if budget.limit is None or before.limit is None else min(budget.limit, before.limit)
    return replace(budget, rate=max(budget.rate, before.rate), kinds=kinds, limit=limit)


def _of_state(
    schedule: ScheduleOptions, method: MethodOptions, state: int, structure: Structure, counts: Mapping[str, int]
) -> StateBudget:
    """What a method may keep in a state, whatever another has removed before.

    Args:
        counts: group → units that the state before keeps, or about so many.
    """
    overall, pruned = (schedule.curve()[state], method.kinds(structure)) if method.prunes else (0.0, ())
    by_block = shares(method, structure)
    for kind in pruned:
        _check_floor(method.min_per_block, kind, [group.count for group in structure.of(kind)])
    if schedule.measure != "units":
        return _of_size(overall, pruned, schedule, method, state, structure, counts, by_block)
    rates = {kind: schedule.curve(kind)[state] if kind in pruned else 0.0 for kind in structure.kinds}
    kinds = {kind: _of_kind(kind, rate, schedule, method, state, structure) for kind, rate in rates.items()}
    budget = StateBudget(overall, kinds, method.fillback, shares=by_block)
    if method.block_rates is not None and by_block is not None:
        _check_shares(budget, schedule, state, by_block, structure)
    return budget


def _check_floor(wanted: int | Literal["auto"], kind: str, sizes: Sequence[int]) -> None:
    if wanted != "auto" and wanted > min(sizes):
        raise UserError(
            f"method.min_per_block={wanted} does not fit: there are {kind} in {_blocks(sizes)}; lower method.min_per_block."
        )


def _of_kind(
    kind: str, rate: float, schedule: ScheduleOptions, method: MethodOptions, state: int, structure: Structure
) -> KindBudget:
    sizes, wanted = [group.count for group in structure.of(kind)], method.min_per_block
    units = sum(sizes)
    kept = number_kept(rate, units, method.fillback)
    if wanted == "auto":
        return KindBudget(rate, units, kept, floor=1 if kept >= len(sizes) else 0)
    if kept < min(units, wanted * len(sizes)):
        raise UserError(
            f"method.min_per_block={wanted} does not fit: state {state} keeps {kept} {kind} in {_blocks(sizes)}; lower "
            f"method.min_per_block or {schedule.key_of_rate(kind)}."
        )
    return KindBudget(rate, units, kept, floor=wanted)


def _blocks(sizes: Sequence[int]) -> str:
    """`12 blocks of 6`."""
    width = str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    return f"{'1 block' if len(sizes) == 1 else f'{len(sizes)} blocks'} of {width}"


def _check_shares(budget: StateBudget, schedule: ScheduleOptions, state: int, by_block: Shares, structure: Structure) -> None:
    """Raise `UserError` if blocks of rate 0 leave less to remove than a state removes."""
    for kind, of_kind in budget.kinds.items():
        groups, removed = structure.of(kind), of_kind.units - of_kind.kept
        most = sum(group.count - of_kind.floor for group, share in zip(groups, by_block[kind], strict=True) if share > 0)
        if removed > most:
            raise UserError(
                f"method.block_rates lets at most {most:,} of {of_kind.units:,} {kind} go (a block of rate 0 keeps all its "
                f"units), and state {state} removes {removed:,}; lower {schedule.key_of_rate(kind)}."
            )


def _of_size(
    rate: float, pruned: Sequence[str], schedule: ScheduleOptions, method: MethodOptions, state: int, structure: Structure,
    counts: Mapping[str, int], by_block: Shares | None,
) -> StateBudget:  # fmt: skip
    """The budget of a state whose rate is one of all parameters or MACs; `budgets` says how many units that is about."""
    measure, wanted = schedule.measure, method.min_per_block
    # The rate as it is written: (1 - 0.7)·10 in floating point is a little more than 3, and could be a little less.
    limit = math.floor((1 - Fraction(repr(rate))) * structure.size(measure))
    floors = (1, 0) if wanted == "auto" else (wanted,)
    smallest = {floor: structure.size(measure, _least(floor, structure, counts, pruned, by_block)) for floor in floors}
    floor = next((floor for floor in floors if smallest[floor] <= limit), None)
    if floor is None:
        raise UserError(_out_of_reach(schedule, method, state, rate, min(smallest.values()) / structure.size(measure)))
    kinds = {
        kind: KindBudget(rate if kind in pruned else 0.0, structure.units(kind), structure.units(kind), floor)
        for kind in structure.kinds
    }
    return StateBudget(rate, kinds, method.fillback, measure, limit, by_block)


def _least(
    floor: int, structure: Structure, counts: Mapping[str, int], pruned: Sequence[str], by_block: Shares | None
) -> dict[str, int]:
    """Group → units left when all that may go has gone, whichever blocks have lost theirs before."""
    left = dict(counts)
    for kind in pruned:
        for number, group in enumerate(structure.of(kind)):
            if by_block is None or by_block[kind][number] > 0:
                left[group.name] = min(floor, group.count)
    return left


def _out_of_reach(schedule: ScheduleOptions, method: MethodOptions, state: int, rate: float, rest: float) -> str:
    most = math.floor(1000 * (1 - rest)) / 1000
    targets = "all" if method.targets == "all" else f"[{', '.join(method.targets)}]"
    held = [f"method.targets={targets}"]
    held += [] if method.min_per_block == "auto" else [f"method.min_per_block={method.min_per_block}"]
    held += [] if method.block_rates is None else ["method.block_rates"]
    return (
        f"schedule.measure={schedule.measure}: state {state} removes {100 * rate:.4g} % of the {MEASURED[schedule.measure]}, "
        f"but the most that can go with {' and '.join(held)} is {100 * most:.4g} %; lower {schedule.key_of_rate()} to {most:g} "
        f"or less, or change {'it' if len(held) == 1 else 'one of them'}."
    )
