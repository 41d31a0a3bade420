"""The plan: what is new, resumable, running or done, and where the output goes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from prune.base.files import write_json
from prune.engine.cell import run_cell
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from prune.sweep.plan import make_plan, print_plan
from prune.sweep.work import flops_left, macs_per_epoch
from tests.conftest import Compose


def test_standing_follows_the_run(compose_tiny: Compose) -> None:
    config = compose_tiny()
    (cell,) = make_plan([config])
    assert (cell.standing, cell.position, cell.epochs_left) == ("new", (0, 0), 6)
    assert not cell.directory.path.exists(), "planning creates nothing"

    assert run_cell(config).status == "done"
    (cell,) = make_plan([config])
    assert (cell.standing, cell.epochs_left, cell.flops_left) == ("done", 0, 0)

    # As if it had been killed in state 1.
    directory = run_directory(config)
    lines = directory.metrics.read_text().splitlines(keepends=True)
    directory.metrics.write_text("".join(lines[:3]))
    write_json(directory.status, {**json.loads(directory.status.read_text()), "status": "running"})
    (cell,) = make_plan([config])
    assert (cell.standing, cell.position, cell.epochs_left) == ("resumable", (1, 1), 3)
    assert cell.flops_left == flops_left(config, 3)

    with RunLock(directory.lock):
        (cell,) = make_plan([config])
        assert cell.standing == "running"
        assert not cell.to_start


def test_the_same_cell_twice_is_one_run(compose_tiny: Compose) -> None:
    assert len(make_plan([compose_tiny(), compose_tiny("name=demo"), compose_tiny("seed=1")])) == 2


def test_hours_follow_the_stated_throughput(compose_tiny: Compose) -> None:
    (unknown,) = make_plan([compose_tiny()])
    (known,) = make_plan([compose_tiny("hardware.throughput_tflops=0.001")])
    assert unknown.hours is None
    assert known.flops_left is not None
    assert known.hours == pytest.approx(known.flops_left / 1e9 / 3600)


def test_the_table_says_where_the_output_goes(compose_tiny: Compose, tmp_path: Path) -> None:
    text = io.StringIO()
    print_plan(make_plan([compose_tiny("seed=0"), compose_tiny("seed=1")]), Console(file=text, width=160))
    shown = text.getvalue()
    assert "2 runs: 2 new" in shown
    assert f"Output: {tmp_path / 'outputs' / 'demo'}" in shown
    assert "hardware.throughput_tflops" in shown


def test_all_epochs_are_counted(compose: Compose) -> None:
    config = compose("model=vit_micro", "dataset=digits", "schedule.states=4", "schedule.epochs=5", "schedule.epochs_first=9")
    (cell,) = make_plan([config])
    assert cell.epochs_left == len(macs_per_epoch(config)) == 9 + 3 * 5
