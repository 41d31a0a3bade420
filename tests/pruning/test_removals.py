"""Budgets of parameters and MACs, for every family: the model fits, and with the unit removed last it would not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest

from prune.architectures.group import Group, Structure
from prune.base.errors import UserError
from prune.methods.refill import RefillOptions
from prune.pruning.budget import StateBudget
from prune.pruning.budgets import budgets
from prune.pruning.keepset import KeepSet
from prune.pruning.ranking import choose
from prune.pruning.schedule import ScheduleOptions
from tests.architectures.random_sizes import FAMILIES, random_structure
from tests.conftest import Compose
from tests.pruning.naive import as_scores, by_kind, draw_scores

MODELS = 100
"""Random models, targets and scores, of each family."""

Removed = tuple[str, int, int]
"""(kind, block's place among the kind's, index)."""


def random_models(family: str) -> Iterator[tuple[random.Random, Structure]]:
    draw = random.Random(family)
    for _ in range(MODELS):
        yield draw, random_structure(family, draw)


def cost(group: Group, measure: str) -> int:
    return sum(member.size for member in group.members) if measure == "parameters" else group.macs


def size(structure: Structure, kept: dict[str, list[list[int]]], measure: str) -> int:
    """Counted unit by unit."""
    fixed = structure.fixed_parameters if measure == "parameters" else structure.fixed_macs
    pairs = [pair for kind, blocks in kept.items() for pair in zip(structure.of(kind), blocks, strict=True)]
    return fixed + sum(len(units) * cost(group, measure) for group, units in pairs)


def naive(
    structure: Structure, scores: dict[str, list[list[float]]], alive: dict[str, list[list[int]]], measure: str,
    limit: Fraction, floor: int, pools: str, fillback: float,
) -> tuple[dict[str, list[list[int]]], list[Removed]]:  # fmt: skip
    """Remove unit after unit, looking at all that are left, until the model fits; then put the last of them back."""
    left = {kind: [list(units) for units in blocks] for kind, blocks in alive.items()}
    score = {
        (kind, block, unit): value
        for kind, blocks in alive.items()
        for block, units in enumerate(blocks)
        for unit, value in zip(units, scores[kind][block], strict=True)
    }
    gone = {kind: structure.units(kind) - sum(map(len, blocks)) for kind, blocks in left.items()}
    order = {kind: number for number, kind in enumerate(structure.kinds)}
    removed: list[Removed] = []
    while size(structure, left, measure) > limit:
        worst: list[tuple[Any, Removed]] = []
        for kind, blocks in left.items():
            candidates = []
            for block, units in enumerate(blocks):
                if len(units) <= floor:
                    continue
                unit = min(units, key=lambda u: (score[kind, block, u], -u))
                candidates.append((score[kind, block, unit], -block, -unit))
            if candidates:
                value, block, unit = min(candidates)
                turn = Fraction(2 * (gone[kind] + 1) - 1, 2 * structure.units(kind)) if pools == "separate" else value
                worst.append(((turn, -order[kind]), (kind, -block, -unit)))
        _, (kind, block, unit) = min(worst)
        left[kind][block].remove(unit)
        gone[kind] += 1
        removed.append((kind, block, unit))
    back = min(len(removed), round(fillback * sum(gone.values())))
    for kind, block, unit in removed[len(removed) - back :]:
        left[kind][block] = sorted([*left[kind][block], unit])
    return left, removed[: len(removed) - back]


@pytest.mark.parametrize("pools", ["separate", "joint"])
@pytest.mark.parametrize("measure", ["parameters", "macs"])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_fits_and_with_the_unit_removed_last_it_does_not(family: str, measure: Any, pools: Any) -> None:
    """Two states of random rates each. Where a floor holds the model back the next unit that may go has gone."""
    checked = 0
    for draw, structure in random_models(family):
        fixed = structure.fixed_parameters if measure == "parameters" else structure.fixed_macs
        most = 1 - fixed / structure.size(measure)
        rates = [0.0, *sorted(most * draw.uniform(0.05, 0.99) for _ in range(2))]
        schedule = ScheduleOptions(states=3, epochs=1, target=0.5, rates=rates, measure=measure)
        fillback = draw.choice([0.0, 0.0, 0.3])
        planned = budgets(schedule, RefillOptions(name="refill", pools=pools, fillback_rate=fillback), structure)
        alive = KeepSet.dense(structure)
        for budget in planned[1:]:
            limit = (1 - Fraction(repr(budget.rate))) * structure.size(measure)
            floor = {of.floor for of in budget.kinds.values()}.pop()
            scores = draw_scores(alive, structure, draw, ties=draw.random() < 0.3)
            before = by_kind(alive, structure)
            alive = choose(as_scores(scores, structure), alive, structure, budget, pools)
            found = by_kind(alive, structure)
            expected, removed = naive(structure, scores, before, measure, limit, floor, pools, fillback)
            assert found == expected
            if removed and not fillback:
                assert size(structure, found, measure) <= limit
                kind, block, _ = removed[-1]
                assert size(structure, found, measure) + cost(structure.of(kind)[block], measure) > limit
                checked += 1
            check_plan(budget, structure, found, pools)
    assert checked > MODELS


def check_plan(budget: StateBudget, structure: Structure, found: dict[str, list[list[int]]], pools: str) -> None:
    """Where all units of a kind cost the same, the numbers of each kind are known before any score is."""
    if structure.even and pools == "separate":
        assert budget.kept == {kind: sum(map(len, blocks)) for kind, blocks in found.items()}
        assert budget.macs(structure) == size(structure, found, "macs")


def spread_until_it_fits(
    structure: Structure, before: Mapping[str, int], limit: Fraction, floors: Mapping[str, int]
) -> dict[str, int]:
    """One unit after another, of the kind and then the block that has lost least of its share, until the MACs fit; no more."""
    left = dict(before)
    numbers = {group.name: number for number, group in enumerate(structure.groups)}

    def turn(group: Group) -> tuple[Fraction, int, Fraction, int]:
        of_kind = structure.of(group.kind)
        gone = sum(other.count - left[other.name] for other in of_kind)
        kind = Fraction(2 * gone + 1, 2 * sum(other.count for other in of_kind))
        block = Fraction(2 * (group.count - left[group.name]) + 1, 2 * group.count)
        return kind, -structure.kinds.index(group.kind), block, -numbers[group.name]

    while structure.fixed_macs + sum(left[group.name] * group.macs for group in structure.groups) > limit:
        best = min((group for group in structure.groups if left[group.name] > floors[group.kind]), key=turn)
        left[best.name] -= 1
    return left


@pytest.mark.parametrize("family", FAMILIES)
def test_spread_by_width_everything_is_known_beforehand(family: str) -> None:
    for draw, structure in random_models(family):
        rates = [0.0, *sorted(draw.uniform(0.02, 0.6) for _ in range(3))]
        schedule = ScheduleOptions(states=4, epochs=1, target=0.5, rates=rates, measure="macs")
        try:
            planned = budgets(schedule, RefillOptions(name="refill", scope="layer"), structure)
        except UserError:
            continue
        alive, before = KeepSet.dense(structure), structure.dense
        for budget in planned:
            assert budget.quotas is not None and budget.limit is not None
            scores = as_scores(draw_scores(alive, structure, draw, ties=False), structure)
            alive = choose(scores, alive, structure, budget)
            assert alive.counts() == budget.quotas
            assert budget.macs(structure) == structure.macs(budget.quotas) <= budget.limit
            floors = {kind: of.floor for kind, of in budget.kinds.items()}
            assert budget.quotas == spread_until_it_fits(structure, before, Fraction(budget.limit), floors)
            before = budget.quotas
        for earlier, later in pairwise(planned):
            assert earlier.quotas is not None and later.quotas is not None
            assert all(later.quotas[name] <= units for name, units in earlier.quotas.items())
        last = planned[-1]
        assert last.quotas is not None
        for kind in structure.kinds:  # no block is a unit away from its share of what goes
            gone = 1 - last.kept[kind] / structure.units(kind)
            for group in structure.of(kind):
                kept = max((1 - gone) * group.count, last.kinds[kind].floor)
                assert abs(last.quotas[group.name] - kept) < 1.5


MICRO = ("dataset=digits", "model=vit_micro")


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ("schedule.measure=macs", "schedule.target=0.99", "method.targets=[heads]"),
            "schedule.measure=macs: state 2 removes 45.88 % of the MACs, but the most that can go with method.targets=[heads] "
            "is 34.1 %; lower schedule.target to 0.341 or less, or change it.",
        ),
        (
            ("schedule.measure=parameters", "schedule.target=0.9", "method.min_per_block=7"),
            "schedule.measure=parameters: state 8 removes 70.71 % of the parameters, but the most that can go with "
            "method.targets=all and method.min_per_block=7 is 66.2 %; lower schedule.target to 0.662 or less, or change one "
            "of them.",
        ),
        (
            ("schedule.measure=macs", "schedule.targets={heads: 0.5}"),
            "schedule.measure=macs gives the whole model one rate, so schedule.targets must be null; give one of them.",
        ),
        (("schedule.measure=flops",), "schedule.measure=flops must be one of units, parameters, macs."),
        (("schedule.epochs_last=0",), "schedule.epochs_last=0 must be a whole number of at least 1 or null."),
    ],
)  # fmt: skip
def test_what_cannot_be_reached_is_one_sentence(compose: Compose, overrides: tuple[str, ...], message: str) -> None:
    with pytest.raises(UserError) as error:
        compose(*MICRO, *overrides)
    assert str(error.value) == message
