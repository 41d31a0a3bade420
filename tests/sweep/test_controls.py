"""`experiment=controls`: which cells it makes of a sweep's runs, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.base.errors import UserError
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.rundir.counts import budgets_of
from prune.rundir.reader import read_run
from prune.sweep.controls import check_typed, control_cells
from tests.conftest import Compose
from tests.engine.runs import finished, stop_at
from tests.sweep.sweeps import launch

PHASES = "method.phases=[{from_state: 1, method: {name: dense}}, {from_state: 2, method: {name: refill, rewind: init}}]"


@pytest.fixture
def tiny(compose_tiny: Compose) -> Compose:
    return lambda *overrides: compose_tiny("name=sweep", *overrides)


def cells(compose: Compose, *overrides: str) -> list[RunConfig]:
    return control_cells(compose("experiment=controls", "name=sweep", *overrides))


def about(cell: RunConfig) -> tuple[str, str | None, str]:
    part = cell.method.parts[-1]
    return part.name, getattr(part, "criterion", None), part.rewind


def test_each_run_has_its_controls_at_its_own_counts(tiny: Compose, compose: Compose) -> None:
    refill, phases = (finished(run_cell(tiny(*keys))) for keys in (("method=refill", "seed=3"), ("method=phases", PHASES)))
    finished(run_cell(tiny("method=dense")))  # nothing to control
    finished(run_cell(tiny("method=scratch")))  # a control itself
    found = cells(compose, "hardware=local", "checkpoint.keep=last")
    assert [(*about(cell), cell.method.name, cell.seed) for cell in found] == [
        ("refill", "random", "init", "phases", 0),
        ("refill", "magnitude", "reinit", "phases", 0),
        ("scratch", None, "reinit", "scratch", 0),
        ("refill", "random", "none", "refill", 3),
        ("refill", "magnitude", "reinit", "refill", 3),
        ("scratch", None, "reinit", "scratch", 3),
    ]
    for cell in found:
        source = refill if cell.seed == 3 else phases
        assert cell.method.parts[-1].counts == str(source.path)
        assert (cell.name, cell.schedule.states, cell.optim.batch_size, cell.controls) == ("sweep", 3, 128, None)
        assert (cell.hardware.launcher, cell.checkpoint.keep) == ("local", "last")
        assert [budget.quotas for budget in budgets_of(cell)][-1] == read_run(source.path).states[-1]["groups"]
    assert [about(cell)[:2] for cell in cells(compose, "controls=[scratch]")] == [("scratch", None)] * 2
    finished(run_cell(cells(compose, "controls=[random]")[1]))
    assert len(cells(compose)) == 6  # a control has no controls


def test_runs_without_an_end_wait_and_a_sweep_without_runs_is_told(
    tiny: Compose, compose: Compose, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UserError, match=r"sweep is not a folder"):
        cells(compose)
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 1, 3)
        assert run_cell(tiny("method=refill")).status == "preempted"
    with pytest.raises(UserError, match=r"sweep holds no finished run that prunes, so there is nothing to control\.$"):
        cells(compose)
    assert "is not finished, so its controls are left out" in caplog.text


def test_phases_are_controlled_as_a_whole(tiny: Compose, compose: Compose) -> None:
    """A phase that prunes nothing changes nothing; the small models lose the kinds that any phase prunes."""
    listed = "{from_state: 1, method: {name: refill, targets: [heads], rewind: reinit}}, {from_state: 2, method: {name: dense}}"
    finished(run_cell(tiny("method=phases", f"method.phases=[{listed}]")))
    kinds = (
        "{from_state: 1, method: {name: refill, targets: [heads]}}, {from_state: 2, method: {name: rsst, targets: [neurons]}}"
    )
    both = finished(run_cell(tiny("method=phases", f"method.phases=[{kinds}]", "seed=1")))
    found = cells(compose)
    assert [(cell.seed, cell.method.name, about(cell)[0]) for cell in found] == [
        (0, "phases", "dense"), (0, "scratch", "scratch"),
        (1, "phases", "rsst"), (1, "phases", "rsst"), (1, "scratch", "scratch"),
    ]  # fmt: skip
    assert [cell.method.parts[0].targets for cell in found if cell.method.name == "scratch"] == [
        ["heads"],
        ["heads", "neurons"],
    ]
    assert [budget.quotas for budget in budgets_of(found[-1])] == [line["groups"] for line in read_run(both.path).states]


def test_what_the_runs_say_is_not_typed() -> None:
    check_typed(["experiment=controls", "name=sweep", "hardware=slurm", "hardware.gpus=0", "+logger.project=x"])
    with pytest.raises(UserError, match=r"^experiment=controls has optim.lr from the sweep's runs; leave out optim.lr=1\.$"):
        check_typed(["experiment=controls", "optim.lr=1"])


def test_the_command_plans_them_beside_the_runs(tiny: Compose, tmp_path: Path) -> None:
    finished(run_cell(tiny("method=refill")))
    done = launch(tmp_path, "experiment=controls", "name=sweep", "plan=true")
    assert done.returncode == 0, done.stderr
    assert "3 runs: 3 new. To compute: 12 epochs" in done.stdout and "digits-scratch-s0-" in done.stdout
    wrong = launch(tmp_path, "controls=[random]", "name=sweep")
    assert wrong.returncode == 1 and wrong.stderr.startswith("error: controls are started by experiment=controls, with name=")
