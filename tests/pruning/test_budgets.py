"""What each state may keep, for real configurations, against arithmetic done here."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest

from prune.architectures.group import Group, Member, Structure
from prune.base.errors import UserError
from prune.methods.refill import RefillOptions
from prune.pruning.budget import KindBudget
from prune.pruning.budgets import budgets
from prune.pruning.schedule import ScheduleOptions
from tests.conftest import Compose

SMALL = ("dataset=cifar10", "model=vit_small")
MICRO = ("dataset=digits", "model=vit_micro")


def test_the_plain_command_keeps_22_heads_and_5530_neurons(compose: Compose) -> None:
    planned = compose(*SMALL).budgets()
    assert len(planned) == 16
    assert list(planned[0].kinds) == ["heads", "neurons"]
    assert planned[0].kinds["heads"] == KindBudget(rate=0.0, units=72, kept=72, floor=1)
    assert planned[0].kinds["neurons"] == KindBudget(rate=0.0, units=18_432, kept=18_432, floor=1)
    assert planned[-1].kinds["heads"] == KindBudget(rate=0.7, units=72, kept=22, floor=1)
    assert planned[-1].kinds["neurons"] == KindBudget(rate=0.7, units=18_432, kept=5_530, floor=1)
    for state, budget in enumerate(planned):
        left = 0.3 ** (state / 15)
        assert budget.rate == pytest.approx(1 - left)
        assert budget.kept == {"heads": round(left * 72), "neurons": round(left * 18_432)}


@pytest.mark.parametrize("method", ["refill", "rsst"])
@pytest.mark.parametrize("shape", ["geometric", "linear", "cubic", "constant"])
def test_kept_numbers_never_grow(compose: Compose, method: str, shape: str) -> None:
    planned = compose(*MICRO, f"method={method}", f"schedule={shape}", "schedule.target=0.9").budgets()
    for earlier, later in pairwise(planned):
        for kind in ("heads", "neurons"):
            assert later.kept[kind] <= earlier.kept[kind]
            assert later.kinds[kind].floor <= earlier.kinds[kind].floor
    assert planned[-1].kept == {"heads": 2, "neurons": 58}  # a tenth of 24 and of 576


def test_an_explicit_list_overrides_target_and_shape(compose: Compose) -> None:
    listed = "schedule.rates=[0,0.25,0.25,0.5]"
    planned = compose(*MICRO, "schedule.states=4", listed, "schedule.target=0.9", "schedule=cubic").budgets()
    assert [budget.rate for budget in planned] == [0, 0.25, 0.25, 0.5]
    assert [budget.kept["heads"] for budget in planned] == [24, 18, 18, 12]
    assert [budget.kept["neurons"] for budget in planned] == [576, 432, 432, 288]


def test_separate_targets(compose: Compose) -> None:
    planned = compose(*MICRO, "schedule.targets={heads: 0.5, neurons: 0.75}", "schedule=linear").budgets()
    assert planned[-1].kept == {"heads": 12, "neurons": 144}
    assert planned[-1].rate == 0.7
    assert planned[5].kinds["heads"].rate == pytest.approx(0.5 * 5 / 15)
    assert planned[5].kinds["neurons"].rate == pytest.approx(0.75 * 5 / 15)


def test_a_kind_without_a_target_of_its_own_has_the_common_one(compose: Compose) -> None:
    last = compose(*MICRO, "schedule.targets={heads: 0.5}", "schedule.target=0.75").budgets()[-1]
    assert {kind: budget.rate for kind, budget in last.kinds.items()} == {"heads": 0.5, "neurons": 0.75}
    assert last.kept == {"heads": 12, "neurons": 144}


@pytest.mark.parametrize(
    ("targets", "kept"),
    [
        ("[heads]", (7, 576)),
        ("[neurons]", (24, 173)),
        ("[neurons,heads]", (7, 173)),
        ("[heads,heads]", (7, 576)),
        ("all", (7, 173)),
    ],
)
def test_only_targeted_kinds_are_pruned(compose: Compose, targets: str, kept: tuple[int, int]) -> None:
    config = compose(*MICRO, f"method.targets={targets}")
    last = config.budgets()[-1]
    assert last.kept == dict(zip(("heads", "neurons"), kept, strict=True))
    pruned = tuple(kind for kind, budget in last.kinds.items() if budget.rate)
    assert config.method.kinds(config.architecture().structure) == pruned  # in the structure's order, each once


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("method.targets=[channels]", "method.targets names channels, which this model does not have; it has heads, neurons."),
        (
            "method.targets=[heads,channels,filters]",
            "method.targets names channels, filters, which this model does not have; it has heads, neurons.",
        ),
        (
            "schedule.targets={channels: 0.5}",
            "schedule.targets names channels, which this model does not have; it has heads, neurons.",
        ),
    ],
)
def test_kinds_that_the_model_does_not_have_are_refused(compose: Compose, override: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        compose(*MICRO, override)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("method.targets=heads", "method.targets"),  # a kind is given in a list
        ("method.targets=both", "method.targets"),
        ("schedule.targets={heads: 1.5}", "schedule.targets"),
        ("schedule.targets=0.5", "schedule.targets"),
    ],
)
def test_targets_of_the_wrong_form_are_one_sentence(compose: Compose, override: str, key: str) -> None:
    with pytest.raises(UserError, match=rf"^{key}=.* must be ") as error:
        compose(*MICRO, override)
    assert "\n" not in str(error.value)


def test_joint_pools_need_all_kinds(compose: Compose) -> None:
    with pytest.raises(UserError, match=r"method\.pools=joint .*needs method\.targets=all, not \[heads\]"):
        compose(*MICRO, "method.pools=joint", "method.targets=[heads]")


def test_dense_keeps_everything(compose: Compose) -> None:
    for budget in compose(*MICRO, "method=dense").budgets():
        assert budget.rate == 0.0
        assert {kind: of_kind.rate for kind, of_kind in budget.kinds.items()} == {"heads": 0.0, "neurons": 0.0}
        assert budget.kept == {"heads": 24, "neurons": 576}


def test_fillback_keeps_more_of_those_that_would_go(compose: Compose) -> None:
    last = compose(*MICRO, "method=refill", "method.fillback_rate=0.25").budgets()[-1]
    assert last.kept["heads"] == 7 + 4  # a quarter of 17 is 4.25
    assert last.kept["neurons"] == 173 + 101  # a quarter of 403 is 100.75
    assert last.fillback == 0.25
    assert last.rate == 0.7
    assert {kind: of_kind.removed_without_fillback for kind, of_kind in last.kinds.items()} == {"heads": 17, "neurons": 403}


def test_auto_floor_gives_way_where_too_few_are_kept(compose: Compose) -> None:
    """24 heads in 3 blocks: 3 heads are one a block, 2 are not."""
    planned = compose(*MICRO, "schedule.states=3", "schedule.rates=[0,0.875,0.9]").budgets()
    assert [(budget.kept["heads"], budget.kinds["heads"].floor) for budget in planned] == [(24, 1), (3, 1), (2, 0)]
    assert [budget.kinds["neurons"].floor for budget in planned] == [1, 1, 1]


def test_explicit_floors(compose: Compose) -> None:
    last = compose(*MICRO, "method.min_per_block=2").budgets()[-1]
    assert {kind: budget.floor for kind, budget in last.kinds.items()} == {"heads": 2, "neurons": 2}
    assert compose(*MICRO, "method.min_per_block=0").budgets()[-1].kinds["heads"].floor == 0
    with pytest.raises(UserError, match=r"method\.min_per_block=3 .*3 blocks of 8; .*schedule\.target"):
        compose(*MICRO, "method.min_per_block=3")  # nine heads, but seven stay
    with pytest.raises(UserError, match=r"method\.min_per_block=9"):
        compose(*MICRO, "method.min_per_block=9")  # a block has eight


WIDTHS = {"heads": [3, 6, 12, 24], "channels": [10], "neurons": [40, 40, 7]}
"""A model whose blocks differ in width, and whose kinds differ in the number of blocks."""


def uneven() -> Structure:
    groups = [
        Group(f"{block}.{kind}", kind, block, width, macs=1, members=(Member(f"{block}.{kind}.w", 0, 5, "makes"),))
        for block in range(4)
        for kind, widths in WIDTHS.items()
        for width in widths[block : block + 1]
    ]
    return Structure(tuple(groups), fixed_parameters=100, fixed_macs=100)


def planned_for(structure: Structure, rates: list[float], **method: Any) -> list[dict[str, KindBudget]]:
    schedule = ScheduleOptions(states=len(rates), epochs=1, target=0.5, rates=rates)
    return [dict(budget.kinds) for budget in budgets(schedule, RefillOptions(name="refill", **method), structure)]


def test_blocks_of_different_width() -> None:
    """A rate is of all units of a kind, however they lie; a floor of 1 needs as many units as the kind has blocks."""
    rates = [0.0, 0.5, 0.9, 0.95]
    for state, budget in enumerate(planned_for(uneven(), rates)):
        assert list(budget) == ["heads", "channels", "neurons"]
        for kind, widths in WIDTHS.items():
            kept = round((1 - rates[state]) * sum(widths))
            assert budget[kind] == KindBudget(rates[state], sum(widths), kept, floor=int(kept >= len(widths)))
    assert [budget["heads"].floor for budget in planned_for(uneven(), rates)] == [1, 1, 1, 0]
    assert [budget["heads"].kept for budget in planned_for(uneven(), rates)] == [45, 22, 4, 2]


@pytest.mark.parametrize("floor", [0, 1, 2, 3])
def test_explicit_floors_that_fit_blocks_of_different_width(floor: int) -> None:
    planned = planned_for(uneven(), [0.0, 0.5], min_per_block=floor)
    assert {budget.floor for state in planned for budget in state.values()} == {floor}


@pytest.mark.parametrize(
    ("floor", "rates", "message"),
    [
        (4, [0.0, 0.5], "there are heads in 4 blocks of 3 to 24; lower method.min_per_block"),  # the first block has three
        (2, [0.0, 0.5, 0.9], "state 2 keeps 4 heads in 4 blocks of 3 to 24; lower method.min_per_block or schedule.rates"),
        (3, [0.0, 0.8], "state 1 keeps 9 heads in 4 blocks of 3 to 24; lower method.min_per_block or schedule.rates"),
    ],
)
def test_explicit_floors_that_do_not_fit_blocks_of_different_width(floor: int, rates: list[float], message: str) -> None:
    with pytest.raises(UserError) as error:
        planned_for(uneven(), rates, min_per_block=floor)
    assert str(error.value) == f"method.min_per_block={floor} does not fit: {message}."


def test_the_numbers_kept_are_whole_and_closest() -> None:
    for rate in (0.1, 1 / 3, 0.5, 0.77):
        for budget in planned_for(uneven(), [0.0, rate])[1].values():
            assert math.isclose(budget.kept, (1 - rate) * budget.units, abs_tol=0.5)
