"""The plan: what is new, resumable, running or done, and where the output goes."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import prune
from prune.base.files import write_json, write_jsonl
from prune.base.machine import cpu_model
from prune.cli import main
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.rundir.directory import RunDirectory
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from prune.sweep.plan import PlannedCell, make_plan, print_plan
from prune.sweep.work import flops_left, macs_per_epoch
from tests.conftest import Compose
from tests.sweep.sweeps import write_run


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


HERE = f"cpu ({cpu_model()})"


def finished(config: RunConfig, device: str = HERE, seconds: float = 2.0, epochs: int = 6, **start: Any) -> RunDirectory:
    """The files of a run on a device that took so many seconds for every epoch but the first, which took far longer."""
    about = {"device": device, "threads": 1, "version": prune.__version__, **start}
    directory = write_run(config, epochs, status="done" if epochs == 6 else "running", starts=[about])
    write_jsonl(directory.metrics, [
        {"state": n // 2, "epoch": n % 2, "seconds": seconds if n else 100.0, "val_accuracy": 50.0} for n in range(epochs)
    ])  # fmt: skip
    write_jsonl(directory.states, [
        {"state": n, "parameters": 9, "macs": 9, "val_accuracy_best": 50.0, "test_accuracy_best": 50.0, "seconds": 2 * seconds}
        for n in range(epochs // 2)
    ])  # fmt: skip
    return directory


def shown(plan: list[PlannedCell]) -> str:
    text = io.StringIO()
    print_plan(plan, Console(file=text, width=160))
    return text.getvalue()


def test_hours_are_those_of_an_earlier_run_in_proportion_to_macs(compose_tiny: Compose) -> None:
    earlier = finished(compose_tiny("seed=7", "name=before"))
    (pruned,), (dense,) = make_plan([compose_tiny()]), make_plan([compose_tiny("method=dense")])
    # The run pruned as `pruned` will: five epochs of two seconds, and a first one of state 0 as long as the second.
    zero, one, two = (budget_macs(compose_tiny(), state) for state in range(3))
    per_mac = 10.0 / (zero + 2 * one + 2 * two)
    assert pruned.hours == pytest.approx(per_mac * 2 * (zero + one + two) / 3600)
    assert dense.hours == pytest.approx(per_mac * 6 * zero / 3600)
    assert f"Hours: at the speed of before/{earlier.path.name} ({HERE}, 1 thread)." in shown([pruned, dense])


def budget_macs(config: RunConfig, state: int) -> int:
    """MACs of the model of a state, group by group."""
    structure = config.architecture().structure
    total = structure.fixed_macs
    for kind, kept in config.budgets()[state].kept.items():
        (cost,) = {group.macs for group in structure.of(kind)}
        total += kept * cost
    return total


@pytest.mark.parametrize(
    "override", ["model.depth=3", "dataset.val_fraction=0.2", "optim.batch_size=64", "optim.precision=bf16", "device"]
)
def test_other_models_data_and_devices_tell_nothing(compose_tiny: Compose, override: str) -> None:
    if override == "device":
        finished(compose_tiny("seed=7"), device="cpu (another one)")
    else:
        finished(compose_tiny("seed=7", override))
    (cell,) = make_plan([compose_tiny()])
    assert cell.hours is None
    stated = compose_tiny("hardware.throughput_tflops=0.001")
    (cell,) = make_plan([stated])
    assert cell.flops_left is not None
    assert cell.hours == pytest.approx(cell.flops_left / 1e9 / 3600)
    assert "Hours: at hardware.throughput_tflops=0.001." in shown([cell])


def test_the_first_cell_that_runs_tells_the_others(compose_tiny: Compose) -> None:
    first, second = compose_tiny(), compose_tiny("seed=1")
    assert make_plan([second])[0].hours is None
    finished(first, epochs=1)
    (cell,) = make_plan([second])
    zero, one, two = (budget_macs(second, state) for state in range(3))
    assert cell.hours == pytest.approx(100.0 * 2 * (zero + one + two) / zero / 3600), "its only epoch is all there is"
    finished(first, epochs=3)
    (cell,) = make_plan([second])
    assert cell.hours == pytest.approx(4.0 * 2 * (zero + one + two) / (zero + one) / 3600), "later epochs are better"


def test_on_a_cluster_the_newest_runs_device_counts_and_is_named(compose_tiny: Compose) -> None:
    hardware = compose_tiny().hardware.model_copy(update={"launcher": "slurm", "gpus": 1, "device": "auto"})
    config = compose_tiny().model_copy(update={"hardware": hardware})
    for age, (seed, device, seconds) in enumerate([(7, HERE, 9.0), (8, "NVIDIA H100", 1.0), (9, "NVIDIA A100", 3.0)]):
        metrics = finished(compose_tiny(f"seed={seed}"), device, seconds).metrics
        os.utime(metrics, (1e9 - age, 1e9 - age))
    (cell,) = make_plan([config])
    zero, one, two = (budget_macs(compose_tiny(), state) for state in range(3))
    assert cell.hours == pytest.approx(5.0 * 2 * (zero + one + two) / (zero + 2 * one + 2 * two) / 3600)
    assert "(NVIDIA H100, 1 thread)" in shown([cell])


def test_nothing_known_is_said_once_and_never_a_question_mark(compose_tiny: Compose) -> None:
    text = shown(make_plan([compose_tiny("seed=0"), compose_tiny("seed=1")]))
    sentence = "no earlier run of this model and data here; they are told when the first epoch has ended"
    assert text.count(sentence) == 1
    assert "?" not in text
    assert re.search(r"digits-refill-s0-\w+ +new .* – *\n", text)


def test_hours_of_some_of_the_cells(compose_tiny: Compose) -> None:
    finished(compose_tiny("seed=7"), seconds=3600.0)
    text = shown(make_plan([compose_tiny(), compose_tiny("model.depth=3")]))
    assert re.search(r"FLOPs, [\d.]+ hours \(of 1 of 2 runs\)\.", text)
    assert "Hours unknown" in text


def test_status_tells_how_long_the_rest_takes(compose_tiny: Compose, capsys: pytest.CaptureFixture[str]) -> None:
    first = finished(compose_tiny(), seconds=3600.0)
    write_run(compose_tiny("seed=1"), status="queued")
    assert main(["status", str(first.path.parent)]) == 0
    assert re.search(rf"To go: about [\d.]+ hours, at the speed of demo/{first.path.name}", capsys.readouterr().out)


@pytest.mark.parametrize("version", ["0.1.9", None])
def test_a_run_that_another_version_finished_is_named(compose_tiny: Compose, version: str | None) -> None:
    directory = finished(compose_tiny(), version=version)
    ours = finished(compose_tiny("seed=1"))
    text = shown(make_plan([compose_tiny(), compose_tiny("seed=1")]))
    named = version or "an earlier version"
    assert f"done by {named}" in text
    assert f"1 finished run was made by another version of this program than this one ({prune.__version__}): " in text
    assert f"{directory.path.name} ({named})" in text
    assert f"{ours.path.name} (" not in text
    assert "another name (name=…) or delete its folder" in text


def test_the_table_says_where_the_output_goes(compose_tiny: Compose, tmp_path: Path) -> None:
    text = shown(make_plan([compose_tiny("seed=0"), compose_tiny("seed=1")]))
    assert "2 runs: 2 new" in text
    assert f"Output: {tmp_path / 'outputs' / 'demo'}" in text
    assert "hardware.throughput_tflops" in text


def test_all_epochs_are_counted(compose: Compose) -> None:
    config = compose("model=vit_micro", "dataset=digits", "schedule.states=4", "schedule.epochs=5", "schedule.epochs_first=9")
    (cell,) = make_plan([config])
    assert cell.epochs_left == len(macs_per_epoch(config)) == 9 + 3 * 5


def test_what_counts_do_not_fix_is_about_so_much(compose_tiny: Compose) -> None:
    assert "about" not in shown(make_plan([compose_tiny()]))
    both = shown(make_plan([compose_tiny(), compose_tiny("method.pools=joint")]))
    assert len(re.findall(r"about \d\.\d\de\+\d\d", both)) == 2  # that run, and the total
