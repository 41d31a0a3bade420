"""Rankings against a naive one that removes the worst unit, again and again, by looking at all of them."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.pruning.budget import KindBudget, StateBudget
from prune.pruning.ranking import Scores, rank_joint, rank_separate
from prune.pruning.schedule import number_kept, rates
from prune.architectures.shape import ViTShape
from prune.pruning.units import KINDS, KeepSet
from tests.architectures.vits import MICRO, SMALL, TINY

FEW_BLOCKS = ViTShape((8, 8), 4, channels=1, classes=2, embed_dim=8, depth=2, num_heads=4, mlp_hidden=9)
SHAPES = st.sampled_from([MICRO, TINY, FEW_BLOCKS])
RATE = st.integers(0, 100).map(lambda percent: percent / 100)
FLOOR = st.sampled_from([0, 1, 2, "auto"])
properties = settings(derandomize=True, max_examples=60, deadline=None)

Blocks = list[list[float]]
Units = list[list[int]]


def draw_scores(alive: KeepSet, draw: random.Random, ties: bool) -> tuple[Blocks, Blocks]:
    """Scores of the alive units; with ties, a handful of values only."""

    def block(size: int) -> list[float]:
        return [float(draw.randint(0, 4)) if ties else draw.random() for _ in range(size)]

    heads, neurons = ([block(size) for size in alive.counts(kind)] for kind in KINDS)
    return heads, neurons


def as_scores(heads: Blocks, neurons: Blocks) -> Scores:
    tensors = [tuple(torch.tensor(block, dtype=torch.float64) for block in blocks) for blocks in (heads, neurons)]
    return Scores(*tensors)


def budget_of(shape: ViTShape, rate: float, floor: int | str, fillback: float = 0.0) -> StateBudget:
    """The state's budget, floors limited to what the number kept allows."""

    def kind(per_block: int) -> KindBudget:
        kept = number_kept(rate, shape.depth * per_block, fillback)
        allowed = min(kept // shape.depth, per_block)
        return KindBudget(rate, kept, min(1, allowed) if floor == "auto" else min(int(floor), allowed))

    return StateBudget(rate, kind(shape.num_heads), kind(shape.mlp_hidden), fillback)


def worst_first(blocks: Blocks, alive: Units) -> list[tuple[float, int, int]]:
    """(score, block, index), the first to go first: small scores, and among equals the larger (block, index)."""
    listed = [
        (score, block, unit)
        for block, (scores, units) in enumerate(zip(blocks, alive, strict=True))
        for score, unit in zip(scores, units, strict=True)
    ]
    return sorted(listed, key=lambda entry: (entry[0], -entry[1], -entry[2]))


def naive_global(blocks: Blocks, alive: Units, budget: KindBudget) -> Units:
    left = [list(units) for units in alive]
    for _, block, unit in worst_first(blocks, alive):
        if sum(map(len, left)) > budget.kept and len(left[block]) > budget.floor:
            left[block].remove(unit)
    return left


def naive_layer(blocks: Blocks, alive: Units, budget: KindBudget) -> Units:
    result = []
    for number, (scores, units) in enumerate(zip(blocks, alive, strict=True)):
        quota = budget.kept // len(blocks) + (1 if number < budget.kept % len(blocks) else 0)
        best = sorted(zip(scores, units, strict=True), key=lambda entry: (-entry[0], entry[1]))[:quota]
        result.append(sorted(unit for _, unit in best))
    return result


def parameters_gone(keep: KeepSet, shape: ViTShape) -> int:
    """By the closed form, which test_shape.py checks on models."""
    return shape.parameters().total - shape.parameters(keep.counts("heads"), keep.counts("neurons")).total


@properties
@given(
    SHAPES, RATE, st.sampled_from([0, 1, 2, "auto"]), st.sampled_from(["global", "layer"]), st.booleans(), st.integers(0, 999)
)
def test_separate_is_the_naive_ranking(
    shape: ViTShape, rate: float, floor: int | str, scope: str, ties: bool, seed: int
) -> None:
    alive, budget = KeepSet.dense(shape), budget_of(shape, rate, floor)
    heads, neurons = draw_scores(alive, random.Random(seed), ties)
    keep = rank_separate(as_scores(heads, neurons), alive, budget, scope)
    naive = naive_global if scope == "global" else naive_layer
    lists = alive.to_lists()
    assert keep.to_lists() == {
        "heads": naive(heads, lists["heads"], budget.heads),
        "neurons": naive(neurons, lists["neurons"], budget.neurons),
    }
    for kind, part in (("heads", budget.heads), ("neurons", budget.neurons)):
        counts = keep.counts(kind)  # type: ignore[arg-type]
        assert sum(counts) == part.kept
        assert min(counts) >= part.floor


@properties
@given(
    SHAPES,
    st.floats(0.05, 0.97),
    st.sampled_from(["geometric", "linear", "cubic", "constant"]),
    st.sampled_from(["global", "layer"]),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(0, 999),
)
def test_states_are_nested_and_exact(
    shape: ViTShape, target: float, curve: str, scope: str, fillback: float, seed: int
) -> None:
    """Every rate of a schedule in turn, with new scores in each state, as training would give them."""
    alive, draw = KeepSet.dense(shape), random.Random(seed)
    naive = naive_global if scope == "global" else naive_layer
    for rate in rates(6, target, curve):
        budget = budget_of(shape, rate, "auto", fillback)
        heads, neurons = draw_scores(alive, draw, ties=seed % 2 == 0)
        before = alive.to_lists()
        alive = rank_separate(as_scores(heads, neurons), alive, budget, scope)
        after = alive.to_lists()
        assert after["heads"] == naive(heads, before["heads"], budget.heads)
        assert after["neurons"] == naive(neurons, before["neurons"], budget.neurons)
        assert (sum(alive.counts("heads")), sum(alive.counts("neurons"))) == (budget.heads.kept, budget.neurons.kept)
        for kind in KINDS:
            assert all(set(new) <= set(old) for new, old in zip(after[kind], before[kind], strict=True))


def naive_joint(heads: Blocks, neurons: Blocks, alive: KeepSet, budget: StateBudget, shape: ViTShape) -> dict[str, Units]:
    """Remove the worst by density until the next does not fit, passing over those that a floor protects."""
    lists = alive.to_lists()
    left = {kind: [list(units) for units in lists[kind]] for kind in KINDS}
    # Exact fractions: what separate ranking would remove, times (1 - fillback), in whole parameters.
    gone_heads = shape.heads - number_kept(budget.rate, shape.heads)
    gone_neurons = shape.neurons - number_kept(budget.rate, shape.neurons)
    full = gone_heads * shape.head_parameters + gone_neurons * shape.neuron_parameters
    allowed = Fraction(full) * (1 - Fraction(str(budget.fillback))) - parameters_gone(alive, shape)
    listed = [("heads", *entry) for entry in worst_first(heads, lists["heads"])]
    listed += [("neurons", *entry) for entry in worst_first(neurons, lists["neurons"])]
    listed.sort(key=lambda entry: (entry[1], KINDS.index(entry[0]) * -1))  # stable: neurons before heads among equals
    for kind, _, block, unit in listed:
        if len(left[kind][block]) <= (budget.heads if kind == "heads" else budget.neurons).floor:
            continue
        cost = shape.head_parameters if kind == "heads" else shape.neuron_parameters
        if cost > allowed:
            break
        allowed -= cost
        left[kind][block].remove(unit)
    return left


@properties
@given(SHAPES, RATE, FLOOR, st.sampled_from([0.0, 0.1, 0.9]), st.booleans(), st.integers(0, 999))
def test_joint_is_the_naive_ranking(
    shape: ViTShape, rate: float, floor: int | str, fillback: float, ties: bool, seed: int
) -> None:
    alive, budget = KeepSet.dense(shape), budget_of(shape, rate, floor, fillback)
    heads, neurons = draw_scores(alive, random.Random(seed), ties)
    keep = rank_joint(as_scores(heads, neurons), alive, budget, shape)
    assert keep.to_lists() == naive_joint(heads, neurons, alive, budget, shape)
    assert min(keep.counts("heads")) >= budget.heads.floor
    assert min(keep.counts("neurons")) >= budget.neurons.floor


@properties
@given(SHAPES, st.floats(0.05, 0.95), st.sampled_from(["geometric", "linear", "constant"]), st.integers(0, 999))
def test_joint_states_are_nested_and_spend_their_budget(shape: ViTShape, target: float, curve: str, seed: int) -> None:
    alive, draw = KeepSet.dense(shape), random.Random(seed)
    for rate in rates(6, target, curve):
        budget = budget_of(shape, rate, 0)
        heads, neurons = draw_scores(alive, draw, ties=False)
        before, expected = alive.to_lists(), naive_joint(heads, neurons, alive, budget, shape)
        alive = rank_joint(as_scores(heads, neurons), alive, budget, shape)
        assert alive.to_lists() == expected
        for kind in KINDS:
            assert all(set(new) <= set(old) for new, old in zip(alive.to_lists()[kind], before[kind], strict=True))
        separate = shape.parameters().total - (
            shape.parameters().other
            + shape.depth * 2 * shape.embed_dim
            + budget.heads.kept * shape.head_parameters
            + budget.neurons.kept * shape.neuron_parameters
        )
        # Nothing binds (no floor), so what is left over is less than the unit that did not fit.
        assert 0 <= separate - parameters_gone(alive, shape) < max(shape.head_parameters, shape.neuron_parameters)


def test_joint_fillback_is_not_short_by_a_rounding() -> None:
    """Ten neurons may go and nine tenths of them stay: 170 parameters × (1 - 0.9) pays for exactly one neuron of 17."""
    budget = StateBudget(0.5, KindBudget(0.0, 8, 0), KindBudget(10 / 18, 17, 0), fillback=0.9)
    densities = as_scores([[9.0] * 4] * 2, [[1.0] * 9] * 2)
    keep = rank_joint(densities, KeepSet.dense(FEW_BLOCKS), budget, FEW_BLOCKS)
    assert keep.to_lists()["neurons"] == [list(range(9)), list(range(8))]


def test_vit_small_at_seventy_percent() -> None:
    """All 18,504 units of the full-size model, scores with many ties."""
    alive, budget = KeepSet.dense(SMALL), budget_of(SMALL, 0.7, "auto")
    heads, neurons = draw_scores(alive, random.Random(7), ties=True)
    keep = rank_separate(as_scores(heads, neurons), alive, budget, "global")
    assert (sum(keep.counts("heads")), sum(keep.counts("neurons"))) == (22, 5_530)
    listed = worst_first(neurons, alive.to_lists()["neurons"])[-5_530:]
    assert {(block, unit) for _, block, unit in listed} == {
        (block, unit) for block, units in enumerate(keep.to_lists()["neurons"]) for unit in units
    }


def test_ties_go_by_block_and_index() -> None:
    alive = KeepSet.dense(FEW_BLOCKS)
    equal = as_scores([[1.0] * 4] * 2, [[1.0] * 9] * 2)
    keep = rank_separate(equal, alive, StateBudget(0.5, KindBudget(0.5, 5, 0), KindBudget(0.5, 9, 0)), "global")
    assert keep.to_lists() == {"heads": [[0, 1, 2, 3], [0]], "neurons": [list(range(9)), []]}
    keep = rank_separate(equal, alive, StateBudget(0.5, KindBudget(0.5, 5, 2), KindBudget(0.5, 9, 3)), "global")
    assert keep.to_lists() == {"heads": [[0, 1, 2], [0, 1]], "neurons": [[0, 1, 2, 3, 4, 5], [0, 1, 2]]}


def test_a_floor_saves_a_block_that_global_ranking_would_empty() -> None:
    scores = as_scores([[0.1, 0.2, 0.3, 0.4], [5.0, 6.0, 7.0, 8.0]], [[1.0] * 9] * 2)
    everything = KindBudget(0, 18, 0)
    free = rank_separate(scores, KeepSet.dense(FEW_BLOCKS), StateBudget(0.5, KindBudget(0.5, 4, 0), everything), "global")
    held = rank_separate(scores, KeepSet.dense(FEW_BLOCKS), StateBudget(0.5, KindBudget(0.5, 4, 1), everything), "global")
    assert free.to_lists()["heads"] == [[], [0, 1, 2, 3]]
    assert held.to_lists()["heads"] == [[3], [1, 2, 3]]


@pytest.mark.parametrize("scope", ["global", "layer"])
def test_state_zero_keeps_everything(scope: str) -> None:
    alive = KeepSet.dense(MICRO)
    heads, neurons = draw_scores(alive, random.Random(0), ties=False)
    assert rank_separate(as_scores(heads, neurons), alive, budget_of(MICRO, 0.0, "auto"), scope) == alive
    assert rank_joint(as_scores(heads, neurons), alive, budget_of(MICRO, 0.0, "auto"), MICRO) == alive
