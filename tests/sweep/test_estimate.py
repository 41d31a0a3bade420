"""Where the plan knows no hours, the first epoch that ends tells them, once."""

from __future__ import annotations

import pytest

from prune.sweep.entry import run_in_turn
from prune.sweep.estimate import Estimate
from prune.sweep.plan import make_plan
from tests.conftest import Compose


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "prune.sweep.estimate"]


def test_the_first_epoch_of_the_first_cell_tells(compose_tiny: Compose, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="prune")
    configs = [compose_tiny(f"seed={seed}") for seed in (0, 1)]
    plan = make_plan(configs)
    assert [cell.hours for cell in plan] == [None, None]
    assert run_in_turn([(config, ()) for config in configs], Estimate.after(plan)) == 0
    (line,) = told(caplog)
    assert line.startswith("to compute, in all: about ") and "hours, at the speed of demo/digits-refill-s0-" in line
    messages = [record.getMessage() for record in caplog.records]
    epochs = [number for number, message in enumerate(messages) if " epoch " in message and "train loss" in message]
    assert epochs[0] < messages.index(line) < epochs[1]


def test_what_the_plan_knew_is_not_told_again(compose_tiny: Compose, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="prune")
    assert run_in_turn([(compose_tiny("seed=0"), ())]) == 0
    plan = make_plan([compose_tiny("seed=1")])
    assert plan[0].hours is not None
    assert run_in_turn([(compose_tiny("seed=1"), ())], Estimate.after(plan)) == 0
    assert told(caplog) == []


def test_cells_are_looked_at_again_only_once_every_speed_is_known(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan reads every cell's directory: after each epoch of hundreds of cells that would be most of the work."""
    plans: list[int] = []
    monkeypatch.setattr("prune.sweep.estimate.make_plan", lambda cells: plans.append(len(cells)) or make_plan(cells))
    small, large = compose_tiny("seed=0"), compose_tiny("model.depth=3")
    estimate = Estimate.after(make_plan([small, large]))
    assert run_in_turn([(small, ())], estimate) == 0
    assert plans == [] and estimate.unknown == [large]
    assert run_in_turn([(large, ())], estimate) == 0
    assert plans == [2] and estimate.unknown == []
