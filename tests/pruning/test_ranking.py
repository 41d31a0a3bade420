"""Rankings against a naive one that removes the worst unit, again and again, by looking at all of them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prune.architectures.group import Structure
from prune.pruning.budget import KindBudget, StateBudget
from prune.pruning.keepset import KeepSet
from prune.pruning.ranking import Scores, choose, joint_budget
from prune.pruning.schedule import rates
from prune.pruning.shares import by_width
from tests.architectures.vits import SMALL
from tests.pruning.naive import (
    FEW_BLOCKS,
    NAIVE,
    STRUCTURES,
    Blocks,
    Units,
    allowed_by_budget,
    as_scores,
    budget_of,
    by_kind,
    cost,
    draw_scores,
    lists_of,
    made_up,
    naive_joint,
    parameters_gone,
    worst_first,
)

WHICH = st.sampled_from(sorted(STRUCTURES))
RATE = st.integers(0, 100).map(lambda percent: percent / 100)
FLOOR = st.sampled_from([0, 1, 2, "auto"])
properties = settings(derandomize=True, max_examples=100, deadline=None)


def check_separate(
    keep: KeepSet, scores: dict[str, Blocks], alive: KeepSet, structure: Structure, budget: StateBudget, scope: str
) -> None:
    """The naive ranking's units; exactly as many as the budget says; at least the floors."""
    assert list(keep) == [group.name for group in structure.groups]
    for kind in structure.kinds:
        sizes = [group.count for group in structure.of(kind)]
        found = lists_of(keep, structure, kind)
        assert found == NAIVE[scope](scores[kind], lists_of(alive, structure, kind), sizes, budget.kinds[kind])
        assert sum(map(len, found)) == budget.kinds[kind].kept
        assert min(map(len, found)) >= budget.kinds[kind].floor


def ranked(scores: Scores, alive: KeepSet, structure: Structure, budget: StateBudget, scope: str) -> KeepSet:
    """By one list a kind, or each kind spread over its blocks by width."""
    return choose(
        scores, alive, structure, budget if scope == "global" else replace(budget, shares=by_width(structure)), "separate"
    )


def rank_joint(densities: Scores, alive: KeepSet, structure: Structure, budget: StateBudget) -> KeepSet:
    return choose(densities, alive, structure, budget, "joint")


def is_within(keep: KeepSet, alive: KeepSet) -> bool:
    return all(set(keep[name].tolist()) <= set(alive[name].tolist()) for name in alive)


@properties
@given(WHICH, RATE, FLOOR, st.sampled_from(["global", "layer"]), st.booleans(), st.integers(0, 999))
def test_separate_is_the_naive_ranking(which: str, rate: float, floor: int | str, scope: str, ties: bool, seed: int) -> None:
    structure = STRUCTURES[which]
    alive, budget = KeepSet.dense(structure), budget_of(structure, rate, floor)
    scores = draw_scores(alive, structure, random.Random(seed), ties)
    keep = ranked(as_scores(scores, structure), alive, structure, budget, scope)
    check_separate(keep, scores, alive, structure, budget, scope)


@properties
@given(
    WHICH,
    st.floats(0.05, 0.97),
    st.sampled_from(["geometric", "linear", "cubic", "constant"]),
    st.sampled_from([("global", "auto"), ("layer", 0)]),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(0, 999),
)
def test_states_are_nested_and_exact(
    which: str, target: float, curve: str, scope_and_floor: tuple[str, int | str], fillback: float, seed: int
) -> None:
    """Every rate of a schedule in turn, with new scores in each state, as training would give them."""
    structure, (scope, floor) = STRUCTURES[which], scope_and_floor
    alive, draw = KeepSet.dense(structure), random.Random(seed)
    for rate in rates(6, target, curve):
        budget = budget_of(structure, rate, floor, fillback)
        scores = draw_scores(alive, structure, draw, ties=seed % 2 == 0)
        before = alive
        alive = ranked(as_scores(scores, structure), before, structure, budget, scope)
        check_separate(alive, scores, before, structure, budget, scope)
        assert is_within(alive, before)


@properties
@given(
    st.sampled_from(["micro", "tiny", "few blocks"]),
    st.floats(0.05, 0.97),
    st.sampled_from(["geometric", "linear", "cubic", "constant"]),
    st.sampled_from([0.0, 0.1, 0.5]),
    st.integers(0, 999),
)
def test_equal_blocks_are_nested_by_layer_when_the_automatic_floor_gives_way(
    which: str, target: float, curve: str, fillback: float, seed: int
) -> None:
    structure = STRUCTURES[which]
    alive, draw = KeepSet.dense(structure), random.Random(seed)
    for rate in rates(6, target, curve):
        budget = budget_of(structure, rate, "auto", fillback)
        scores = draw_scores(alive, structure, draw, ties=seed % 2 == 0)
        before = alive
        alive = ranked(as_scores(scores, structure), before, structure, budget, "layer")
        check_separate(alive, scores, before, structure, budget, "layer")
        assert is_within(alive, before)
        for kind, of_kind in budget.kinds.items():
            blocks = len(structure.of(kind))
            shares = [of_kind.kept // blocks + (block < of_kind.kept % blocks) for block in range(blocks)]
            assert [len(units) for units in lists_of(alive, structure, kind)] == shares


def test_each_block_keeps_its_share_of_its_own_width() -> None:
    """Half of 2, 4 and 7 heads: 1, 2 and, of the six kept, the other three; the best of each block by its own scores."""
    structure = made_up((0, "heads", 2, 1), (1, "heads", 4, 1), (2, "heads", 7, 1))
    budget = StateBudget(0.5, {"heads": KindBudget(0.5, 13, 6, 0)})
    scores = {"heads": [[5.0, 6.0], [0.4, 0.1, 0.3, 0.2], [70.0, 10.0, 60.0, 20.0, 50.0, 30.0, 40.0]]}
    keep = ranked(as_scores(scores, structure), KeepSet.dense(structure), structure, budget, "layer")
    assert lists_of(keep, structure, "heads") == [[1], [0, 2], [0, 2, 4]]


@properties
@given(WHICH, RATE, FLOOR, st.sampled_from([0.0, 0.1, 0.9]), st.booleans(), st.integers(0, 999))
def test_joint_is_the_naive_ranking(which: str, rate: float, floor: int | str, fillback: float, ties: bool, seed: int) -> None:
    structure = STRUCTURES[which]
    alive, budget = KeepSet.dense(structure), budget_of(structure, rate, floor, fillback)
    scores = draw_scores(alive, structure, random.Random(seed), ties)
    keep = rank_joint(as_scores(scores, structure), alive, structure, budget)
    assert list(keep) == [group.name for group in structure.groups]
    assert by_kind(keep, structure) == naive_joint(scores, alive, budget, structure)[0]
    for group in structure.groups:
        assert len(keep[group.name]) >= budget.kinds[group.kind].floor


@properties
@given(WHICH, st.floats(0.05, 0.95), st.sampled_from(["geometric", "linear", "constant"]), st.integers(0, 999))
def test_joint_states_are_nested_and_spend_their_budget(which: str, target: float, curve: str, seed: int) -> None:
    structure = STRUCTURES[which]
    alive, draw = KeepSet.dense(structure), random.Random(seed)
    for rate in rates(6, target, curve):
        budget = budget_of(structure, rate, 0)
        scores = draw_scores(alive, structure, draw, ties=False)
        before, (expected, unspent) = alive, naive_joint(scores, alive, budget, structure)
        alive = rank_joint(as_scores(scores, structure), before, structure, budget)
        assert by_kind(alive, structure) == expected
        assert is_within(alive, before)
        # Nothing binds (no floor), so what is left over is less than the unit that did not fit.
        left_over = allowed_by_budget(budget, structure) - parameters_gone(alive, structure)
        assert 0 <= left_over < max(cost(group) for group in structure.groups)
        assert left_over == unspent


@properties
@given(WHICH, RATE, st.sampled_from([0.0, 0.1, 0.9]))
def test_the_joint_budget_is_what_separate_ranking_removes(which: str, rate: float, fillback: float) -> None:
    structure = STRUCTURES[which]
    budget = budget_of(structure, rate, 0, fillback)
    assert joint_budget(budget, structure) == int(allowed_by_budget(budget, structure))
    if which in ("micro", "tiny", "few blocks"):  # all units of a kind cost the same, so the counts fix the parameters
        plain = budget_of(structure, rate, 0)
        scores = draw_scores(KeepSet.dense(structure), structure, random.Random(0), ties=False)
        keep = choose(as_scores(scores, structure), KeepSet.dense(structure), structure, plain)
        assert joint_budget(plain, structure) == parameters_gone(keep, structure)


def test_a_cheap_unit_after_one_that_does_not_fit_stays() -> None:
    """The longest prefix, not the fullest knapsack: 30 parameters may go, the second to go costs 25."""
    structure = made_up((0, "heads", 2, 10), (1, "heads", 2, 25))
    # On average a head costs 17.5: two of them are 35, of which a seventh stays.
    budget = StateBudget(0.5, {"heads": KindBudget(0.5, 4, 2, 0)}, fillback=1 / 7)
    assert joint_budget(budget, structure) == 30
    scores = {"heads": [[0.1, 0.3], [0.2, 0.4]]}
    keep = rank_joint(as_scores(scores, structure), KeepSet.dense(structure), structure, budget)
    assert lists_of(keep, structure, "heads") == [[1], [0, 1]]


def test_joint_fillback_is_not_short_by_a_rounding() -> None:
    """Ten neurons may go and nine tenths of them stay: 170 parameters × (1 - 0.9) pays for exactly one neuron of 17."""
    structure = FEW_BLOCKS.structure
    budget = StateBudget(0.5, {"heads": KindBudget(0.0, 8, 8, 0), "neurons": KindBudget(10 / 18, 18, 17, 0)}, fillback=0.9)
    densities = as_scores({"heads": [[9.0] * 4] * 2, "neurons": [[1.0] * 9] * 2}, structure)
    keep = rank_joint(densities, KeepSet.dense(structure), structure, budget)
    assert lists_of(keep, structure, "neurons") == [list(range(9)), list(range(8))]


def test_vit_small_at_seventy_percent() -> None:
    """All 18,504 units of the full-size model, scores with many ties."""
    structure = SMALL.structure
    alive, budget = KeepSet.dense(structure), budget_of(structure, 0.7, "auto")
    scores = draw_scores(alive, structure, random.Random(7), ties=True)
    keep = choose(as_scores(scores, structure), alive, structure, budget)
    assert structure.by_kind(keep.counts()) == {"heads": 22, "neurons": 5_530}
    listed = worst_first(scores["neurons"], lists_of(alive, structure, "neurons"))[-5_530:]
    assert {(block, unit) for _, block, unit in listed} == {
        (block, unit) for block, units in enumerate(lists_of(keep, structure, "neurons")) for unit in units
    }


def of_few_blocks(
    heads: Blocks, neurons: Blocks, kept_heads: tuple[int, int], kept_neurons: tuple[int, int]
) -> dict[str, Units]:
    """Global ranking where (kept, floor) are given for both kinds."""
    structure = FEW_BLOCKS.structure
    budget = StateBudget(
        0.5, {"heads": KindBudget(0.5, 8, *kept_heads), "neurons": KindBudget(0.5, 18, *kept_neurons)}
    )  # fmt: skip
    scores = as_scores({"heads": heads, "neurons": neurons}, structure)
    return by_kind(choose(scores, KeepSet.dense(structure), structure, budget), structure)


def test_ties_go_by_block_and_index() -> None:
    equal = ([[1.0] * 4] * 2, [[1.0] * 9] * 2)
    assert of_few_blocks(*equal, (5, 0), (9, 0)) == {"heads": [[0, 1, 2, 3], [0]], "neurons": [list(range(9)), []]}
    assert of_few_blocks(*equal, (5, 2), (9, 3)) == {
        "heads": [[0, 1, 2], [0, 1]],
        "neurons": [[0, 1, 2, 3, 4, 5], [0, 1, 2]],
    }


def test_joint_ties_go_by_kind_block_and_index() -> None:
    """All densities equal: the last kind's last block loses its last units first."""
    structure = made_up((0, "heads", 2, 10), (0, "neurons", 3, 10), (1, "heads", 2, 10), (1, "neurons", 3, 10))
    budget = StateBudget(0.5, {"heads": KindBudget(0.5, 4, 2, 0), "neurons": KindBudget(0.5, 6, 3, 0)})
    equal = as_scores({"heads": [[1.0] * 2] * 2, "neurons": [[1.0] * 3] * 2}, structure)
    keep = rank_joint(equal, KeepSet.dense(structure), structure, budget)
    assert by_kind(keep, structure) == {"heads": [[0, 1], [0, 1]], "neurons": [[0], []]}


def test_a_floor_saves_a_block_that_global_ranking_would_empty() -> None:
    scores = ([[0.1, 0.2, 0.3, 0.4], [5.0, 6.0, 7.0, 8.0]], [[1.0] * 9] * 2)
    assert of_few_blocks(*scores, (4, 0), (18, 0))["heads"] == [[], [0, 1, 2, 3]]
    assert of_few_blocks(*scores, (4, 1), (18, 0))["heads"] == [[3], [1, 2, 3]]


@pytest.mark.parametrize("which", STRUCTURES)
def test_state_zero_keeps_everything(which: str) -> None:
    structure = STRUCTURES[which]
    alive, budget = KeepSet.dense(structure), budget_of(structure, 0.0, "auto")
    scores = as_scores(draw_scores(alive, structure, random.Random(0), ties=False), structure)
    assert choose(scores, alive, structure, budget) == alive
    assert ranked(scores, alive, structure, budget, "layer") == alive
    assert rank_joint(scores, alive, structure, budget) == alive
