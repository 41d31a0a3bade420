"""Relative rates by block: how many units of each block stay, against handing out what goes one by one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.architectures.group import Structure
from prune.base.errors import UserError
from prune.methods.refill import RefillOptions
from prune.pruning.budget import StateBudget
from prune.pruning.budgets import budgets
from prune.pruning.schedule import ScheduleOptions
from tests.conftest import Compose
from tests.pruning.naive import STRUCTURES, made_up

MICRO = ("dataset=digits", "model=vit_micro")


def planned_for(structure: Structure, rates: Sequence[float], **method: Any) -> list[StateBudget]:
    schedule = ScheduleOptions(states=len(rates), epochs=1, target=0.5, rates=list(rates))
    return budgets(schedule, RefillOptions(name="refill", **method), structure)


def removed_one_by_one(total: int, sizes: Sequence[int], rates: Sequence[Fraction], floor: int) -> list[int]:
    """Units kept: the next one goes from the block with the largest rate·size / (2·gone + 1), the last of equals."""
    gone = [0] * len(sizes)
    for _ in range(total):
        open_blocks = [block for block, size in enumerate(sizes) if gone[block] < size - floor and rates[block]]
        best = max(open_blocks, key=lambda block: (rates[block] * sizes[block] / (2 * gone[block] + 1), block))
        gone[best] += 1
    return [size - lost for size, lost in zip(sizes, gone, strict=True)]


@settings(derandomize=True, max_examples=100, deadline=None)
@given(st.data())
def test_what_goes_is_handed_out_by_highest_averages(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 30), min_size=1, max_size=6))
    relative = data.draw(st.lists(st.sampled_from([0, 1, 2, 5, 0.5]), min_size=len(sizes), max_size=len(sizes)))
    floor = data.draw(st.integers(0, min(sizes)))
    most = sum(size - floor for size, rate in zip(sizes, relative, strict=True) if rate)
    rate = data.draw(st.integers(0, 99)) / 100
    structure = made_up(*((block, "neurons", size, 3) for block, size in enumerate(sizes)))
    total = sum(sizes) - round((1 - rate) * sum(sizes))
    keys = {"block_rates": relative, "min_per_block": floor}
    if not any(relative) or total > most:
        with pytest.raises(UserError):
            planned_for(structure, [0.0, rate], **keys)
        return
    budget = planned_for(structure, [0.0, rate], **keys)[1]
    assert budget.quotas is not None
    expected = removed_one_by_one(total, sizes, [Fraction(str(rate)) for rate in relative], floor)
    assert list(budget.quotas.values()) == expected


@settings(derandomize=True, max_examples=60, deadline=None)
@given(st.sampled_from(sorted(STRUCTURES)), st.data())
def test_quotas_never_grow_and_meet_the_rate(which: str, data: st.DataObject) -> None:
    """With the automatic floor, which falls in late states, and with Refill+."""
    structure = STRUCTURES[which]
    blocks = 1 + max(group.block for group in structure.groups)
    relative = data.draw(st.none() | st.lists(st.integers(1, 4), min_size=blocks, max_size=blocks))
    spread_by = {"scope": "layer"} if relative is None else {"block_rates": relative}
    fillback = data.draw(st.sampled_from([0.0, 0.3]))
    planned = planned_for(structure, [0.0, 0.3, 0.6, 0.9, 0.97], fillback_rate=fillback, **spread_by)
    assert planned[0].quotas == structure.dense
    for budget in planned:
        assert budget.quotas is not None
        assert structure.by_kind(budget.quotas) == budget.kept
        assert all(budget.quotas[group.name] >= budget.kinds[group.kind].floor for group in structure.groups)
        assert budget.macs(structure) == structure.macs(budget.quotas)
    for earlier, later in pairwise(planned):
        assert earlier.quotas is not None and later.quotas is not None
        assert all(later.quotas[name] <= units for name, units in earlier.quotas.items())


def test_equal_rates_are_what_layer_means(compose: Compose) -> None:
    for model in ("vit_micro", "swin_micro"):
        base = ("dataset=digits", f"model={model}")
        blocks = 1 + max(group.block for group in compose(*base).architecture().structure.groups)
        rates = f"method.block_rates=[{','.join(['0.7'] * blocks)}]"
        by_layer, by_rates = compose(*base, "method.scope=layer").budgets(), compose(*base, rates).budgets()
        assert [budget.quotas for budget in by_layer] == [budget.quotas for budget in by_rates]


def test_rates_by_kind_and_the_kinds_left_alone(compose: Compose) -> None:
    last = compose(*MICRO, "method.block_rates={heads: [0,1,1], neurons: [1,1,2]}", "schedule.target=0.5").budgets()[-1]
    assert last.quotas == {
        "blocks.0.attn": 8, "blocks.0.mlp": 120, "blocks.1.attn": 2, "blocks.1.mlp": 120,
        "blocks.2.attn": 2, "blocks.2.mlp": 48,
    }  # fmt: skip
    only = compose(*MICRO, "method.block_rates={heads: [0,1,1]}", "method.targets=[heads]", "schedule.target=0.5").budgets()[-1]
    assert only.quotas is not None
    assert [only.quotas[f"blocks.{block}.mlp"] for block in range(3)] == [192] * 3


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("method.block_rates=[1,1]", "method.block_rates has 2 rates and the model has 3 blocks; give one for each."),
        (
            "method.block_rates={heads: [1,1], neurons: [1,1,1]}",
            "method.block_rates has 2 rates for heads, which 3 blocks have; give one for each.",
        ),
        (
            "method.block_rates={channels: [1,1,1]}",
            "method.block_rates names channels, which this model does not have; it has heads, neurons.",
        ),
        (
            "method.block_rates={heads: [1,1,1]}",
            "method.block_rates has no rates for neurons; give a list for each kind that is pruned.",
        ),
        (
            "method.block_rates={heads: [1,1,1], neurons: [1,1,1]} method.targets=[heads]",
            "method.block_rates names neurons, which method.targets leaves alone; change one of them.",
        ),
        (
            "method.block_rates=[0,0,0]",
            "method.block_rates has no rate above 0 for heads and neurons; a block of rate 0 keeps all its units.",
        ),
        (
            "method.block_rates=[0,1,1]",
            "method.block_rates lets at most 14 of 24 heads go (a block of rate 0 keeps all its units), and state 12 removes "
            "15; lower schedule.target.",
        ),
        (
            "method.block_rates=[1,1,1] method.pools=joint",
            "method.pools=joint ranks all blocks in one list, so method.block_rates must be null.",
        ),
        (
            "method.block_rates=[1,1,-1]",
            "method.block_rates=[1, 1, -1] must be a list in brackets, each a number of at least 0 or a map in braces, each "
            "value a list in brackets, each a number of at least 0 or null.",
        ),
    ],
)  # fmt: skip
def test_rates_that_do_not_fit_are_one_sentence(compose: Compose, overrides: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compose(*MICRO, *re.split(r" (?=method\.)", overrides))
    assert str(error.value) == message
