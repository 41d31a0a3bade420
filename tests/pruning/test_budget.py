"""What each state may keep, for real configurations, against arithmetic done here."""

from __future__ import annotations

from itertools import pairwise

import pytest

from prune.pruning.budget import KindBudget, budgets, rates_of
from prune.base.errors import UserError
from tests.conftest import Compose

SMALL = ("dataset=cifar10", "model=vit_small")
MICRO = ("dataset=digits", "model=vit_micro")


def test_the_plain_command_keeps_22_heads_and_5530_neurons(compose: Compose) -> None:
    planned = budgets(compose(*SMALL))
    assert len(planned) == 16
    assert planned[0].heads == KindBudget(0.0, 72, 1)
    assert planned[0].neurons == KindBudget(0.0, 18_432, 1)
    assert planned[-1].heads == KindBudget(0.7, 22, 1)
    assert planned[-1].neurons == KindBudget(0.7, 5_530, 1)
    for state, budget in enumerate(planned):
        left = 0.3 ** (state / 15)
        assert budget.rate == pytest.approx(1 - left)
        assert budget.heads.kept == round(left * 72)
        assert budget.neurons.kept == round(left * 18_432)


@pytest.mark.parametrize("method", ["refill", "rsst"])
@pytest.mark.parametrize("shape", ["geometric", "linear", "cubic", "constant"])
def test_kept_numbers_never_grow(compose: Compose, method: str, shape: str) -> None:
    planned = budgets(compose(*MICRO, f"method={method}", f"schedule={shape}", "schedule.target=0.9"))
    for earlier, later in pairwise(planned):
        assert later.heads.kept <= earlier.heads.kept
        assert later.neurons.kept <= earlier.neurons.kept
        assert later.heads.floor <= earlier.heads.floor
    assert (planned[-1].heads.kept, planned[-1].neurons.kept) == (2, 58)  # a tenth of 24 and of 576


def test_an_explicit_list_overrides_target_and_shape(compose: Compose) -> None:
    listed = "schedule.rates=[0,0.25,0.25,0.5]"
    planned = budgets(compose(*MICRO, "schedule.states=4", listed, "schedule.target=0.9", "schedule=cubic"))
    assert [budget.rate for budget in planned] == [0, 0.25, 0.25, 0.5]
    assert [budget.heads.kept for budget in planned] == [24, 18, 18, 12]
    assert [budget.neurons.kept for budget in planned] == [576, 432, 432, 288]


def test_separate_targets(compose: Compose) -> None:
    planned = budgets(compose(*MICRO, "schedule.target_heads=0.5", "schedule.target_neurons=0.75", "schedule=linear"))
    assert (planned[-1].heads.kept, planned[-1].neurons.kept) == (12, 144)
    assert planned[-1].rate == 0.7
    assert planned[5].heads.rate == pytest.approx(0.5 * 5 / 15)
    assert planned[5].neurons.rate == pytest.approx(0.75 * 5 / 15)


@pytest.mark.parametrize(("targets", "kept"), [("head", (7, 576)), ("mlp", (24, 173)), ("both", (7, 173))])
def test_only_targeted_kinds_are_pruned(compose: Compose, targets: str, kept: tuple[int, int]) -> None:
    last = budgets(compose(*MICRO, f"method.targets={targets}"))[-1]
    assert (last.heads.kept, last.neurons.kept) == kept


def test_dense_keeps_everything(compose: Compose) -> None:
    config = compose(*MICRO, "method=dense")
    planned = rates_of(config)
    assert planned.overall == planned.heads == planned.neurons == [0.0] * 16
    assert {(budget.heads.kept, budget.neurons.kept) for budget in budgets(config)} == {(24, 576)}


def test_fillback_keeps_more_of_those_that_would_go(compose: Compose) -> None:
    last = budgets(compose(*MICRO, "method=refill", "method.fillback_rate=0.25"))[-1]
    assert last.heads.kept == 7 + 4  # a quarter of 17 is 4.25
    assert last.neurons.kept == 173 + 101  # a quarter of 403 is 100.75
    assert last.fillback == 0.25
    assert last.rate == 0.7


def test_auto_floor_gives_way_where_too_few_are_kept(compose: Compose) -> None:
    """24 heads in 3 blocks: 3 heads are one a block, 2 are not."""
    planned = budgets(compose(*MICRO, "schedule.states=3", "schedule.rates=[0,0.875,0.9]"))
    assert [(budget.heads.kept, budget.heads.floor) for budget in planned] == [(24, 1), (3, 1), (2, 0)]
    assert [budget.neurons.floor for budget in planned] == [1, 1, 1]


def test_explicit_floors(compose: Compose) -> None:
    last = budgets(compose(*MICRO, "method.min_per_block=2"))[-1]
    assert (last.heads.floor, last.neurons.floor) == (2, 2)
    assert budgets(compose(*MICRO, "method.min_per_block=0"))[-1].heads.floor == 0
    with pytest.raises(UserError, match=r"method\.min_per_block=3 .*schedule\.target"):
        compose(*MICRO, "method.min_per_block=3")  # nine heads, but seven stay
    with pytest.raises(UserError, match=r"method\.min_per_block=9"):
        compose(*MICRO, "method.min_per_block=9")  # a block has eight
