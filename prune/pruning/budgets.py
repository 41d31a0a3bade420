"""The budget of every state: rates, floors, limits, quotas and their checks. No torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction

from prune.architectures.group import MEASURED, Measure, Structure
from prune.base.errors import UserError
from prune.pruning.budget import KindBudget, StateBudget
from prune.pruning.options import CommonOptions, MethodOptions
from prune.pruning.removals import by_shares
from prune.pruning.schedule import ScheduleOptions, number_kept
from prune.pruning.shares import Shares, by_width, shares


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
    return list(_settled(result, structure))


def _within(budget: StateBudget, before: StateBudget) -> StateBudget:
    """What is gone stays gone when a method takes over that would keep more, or leaves a kind alone."""
    kinds = {}
    for kind, of_kind in budget.kinds.items():
        earlier = before.kinds[kind]
        kept, rate = min(of_kind.kept, earlier.kept), max(of_kind.rate, earlier.rate)
        kinds[kind] = replace(of_kind, rate=rate, kept=kept)
    limit = None if budget.limit is None or before.limit is None else min(budget.limit, before.limit)
    return replace(budget, rate=max(budget.rate, before.rate), kinds=kinds, limit=limit)


def _settled(planned: Iterable[StateBudget], structure: Structure) -> Iterator[StateBudget]:
    """The same budgets with the quotas that are known beforehand, and the numbers kept where a budget measures size.

    Quotas are known as long as no scores have had a say. After that a spread by width stands for them where size is measured.
    """
    counts: Mapping[str, int] = structure.dense
    known = True
    for budget in planned:
        if budget.quotas is not None:
            counts, known = budget.quotas, True
        else:
            known = known and (budget.shares is not None or not budget.pruned)
            if budget.pruned and budget.shares is not None and known:
                counts = by_shares(budget, counts, structure)
            elif budget.pruned and budget.limit is not None:
                counts = by_shares(replace(budget, shares=budget.shares or by_width(structure)), counts, structure)
        if budget.limit is not None:
            kept = structure.by_kind(counts)
            budget = replace(budget, kinds={kind: replace(of, kept=kept[kind]) for kind, of in budget.kinds.items()})
        yield replace(budget, quotas=counts if known else None)


def of_one_method(schedule: ScheduleOptions, method: MethodOptions, structure: Structure) -> list[StateBudget]:
    """The budget of every state if one method acts in all.

    Raises:
        UserError: for kinds that the model does not have, a target that no removal reaches, an explicit `method.min_per_block`
            that does not fit what a state keeps, or `method.block_rates` that do not fit the model or what a state removes.
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
    by_block = shares(method, structure)
    if schedule.measure != "units":
        return [
            _of_size(schedule.measure, rate, state, method, structure, pruned, by_block) for state, rate in enumerate(overall)
        ]
    by_kind = {kind: schedule.curve(kind) if kind in pruned else nothing for kind in structure.kinds}
    result = []
    for state in range(schedule.states):
        kinds = {kind: _of_kind(kind, state, rates[state], method, structure) for kind, rates in by_kind.items()}
        result.append(StateBudget(overall[state], kinds, method.fillback, shares=by_block))
        if method.block_rates is not None and by_block is not None:
            _check_shares(result[-1], state, by_block, structure)
    return result


def _of_kind(kind: str, state: int, rate: float, method: MethodOptions, structure: Structure) -> KindBudget:
    sizes, wanted = [group.count for group in structure.of(kind)], method.min_per_block
    units = sum(sizes)
    kept = number_kept(rate, units, method.fillback)
    if wanted == "auto":
        return KindBudget(rate, units, kept, floor=1 if kept >= len(sizes) else 0)
    if wanted > min(sizes) or wanted * len(sizes) > kept:
        raise UserError(
            f"method.min_per_block={wanted} does not fit: state {state} keeps {kept} {kind} in {_blocks(sizes)}; lower "
            "method.min_per_block or schedule.target."
        )
    return KindBudget(rate, units, kept, floor=wanted)


def _blocks(sizes: list[int]) -> str:
    """`12 blocks of 6`."""
    width = str(sizes[0]) if len(set(sizes)) == 1 else f"{min(sizes)} to {max(sizes)}"
    return f"{'1 block' if len(sizes) == 1 else f'{len(sizes)} blocks'} of {width}"


def _check_shares(budget: StateBudget, state: int, by_block: Shares, structure: Structure) -> None:
    """Raise `UserError` if blocks of rate 0 leave less to remove than a state removes."""
    for kind, of_kind in budget.kinds.items():
        groups, removed = structure.of(kind), of_kind.units - of_kind.kept
        most = sum(group.count - of_kind.floor for group, share in zip(groups, by_block[kind], strict=True) if share > 0)
        if removed > most:
            raise UserError(
                f"method.block_rates lets at most {most:,} of {of_kind.units:,} {kind} go (a block of rate 0 keeps all its "
                f"units), and state {state} removes {removed:,}; lower schedule.target."
            )


def _of_size(
    measure: Measure, rate: float, state: int, method: MethodOptions, structure: Structure, pruned: tuple[str, ...],
    by_block: Shares | None,
) -> StateBudget:  # fmt: skip
    """The budget of a state whose rate is one of all parameters or MACs; `_settled` says how many units that is about."""
    dense = structure.size(measure)
    # The rate as it is written: (1 - 0.7)·10 in floating point is a little more than 3, and could be a little less.
    limit = math.floor((1 - Fraction(repr(rate))) * dense)
    wanted = method.min_per_block
    for kind in pruned:
        sizes = [group.count for group in structure.of(kind)]
        if wanted != "auto" and wanted > min(sizes):
            raise UserError(
                f"method.min_per_block={wanted} does not fit: there are {kind} in {_blocks(sizes)}; lower method.min_per_block."
            )
    floors = (1, 0) if wanted == "auto" else (wanted,)
    smallest = {floor: _smallest(measure, floor, structure, pruned, by_block) for floor in floors}
    floor = next((floor for floor in floors if smallest[floor] <= limit), None)
    if floor is None:
        raise UserError(_out_of_reach(measure, rate, state, method, min(smallest.values()) / dense))
    kinds = {
        kind: KindBudget(rate if kind in pruned else 0.0, structure.units(kind), structure.units(kind), floor)
        for kind in structure.kinds
    }
    return StateBudget(rate, kinds, method.fillback, measure, limit, by_block)


def _smallest(measure: Measure, floor: int, structure: Structure, pruned: tuple[str, ...], by_block: Shares | None) -> int:
    """Parameters or MACs of a model that has lost all that it may."""
    left = dict(structure.dense)
    for kind in pruned:
        for number, group in enumerate(structure.of(kind)):
            if by_block is None or by_block[kind][number] > 0:
                left[group.name] = min(floor, group.count)
    return structure.size(measure, left)


def _out_of_reach(measure: Measure, rate: float, state: int, method: MethodOptions, rest: float) -> str:
    most = math.floor(1000 * (1 - rest)) / 1000
    targets = "all" if method.targets == "all" else f"[{', '.join(method.targets)}]"
    held = [f"method.targets={targets}"]
    held += [] if method.min_per_block == "auto" else [f"method.min_per_block={method.min_per_block}"]
    held += [] if method.block_rates is None else ["method.block_rates"]
    return (
        f"schedule.measure={measure}: state {state} removes {100 * rate:.4g} % of the {MEASURED[measure]}, but the most that "
        f"can go with {' and '.join(held)} is {100 * most:.4g} %; lower schedule.target to {most:g} or less, or change "
        f"{'it' if len(held) == 1 else 'one of them'}."
    )
