"""The plan: what is new, resumable, running or done, and how much there is to compute."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from prune.engine.cell import run_cell
from prune.base.registries import DATASETS
from prune.base.files import write_json
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from prune.sweep.plan import make_plan, print_plan
from prune.sweep.work import epochs_in_all, flops_left, macs_per_epoch
from tests.conftest import Compose


def test_flops_are_three_passes_of_two_per_mac(compose: Compose) -> None:
    config = compose("dataset=cifar10", "model=vit_small", "schedule.states=2", "schedule.epochs=1", "optim.batch_size=125")
    dense, pruned = macs_per_epoch(config)
    assert dense == 1_420_309_248
    assert pruned < 0.35 * dense
    assert flops_left(config) == 6 * 45_000 * (dense + pruned)
    assert flops_left(config, 1) == 6 * 45_000 * pruned
    assert flops_left(config, 2) == 0


def test_only_whole_batches_count(compose: Compose) -> None:
    config = compose("dataset=cifar10", "schedule.states=2", "schedule.epochs=1", "optim.batch_size=128")
    assert flops_left(config) == 6 * (45_000 // 128 * 128) * sum(macs_per_epoch(config))


def test_a_soft_method_pays_for_its_marked_units_until_they_go(compose: Compose) -> None:
    keys = ("model=vit_micro", "dataset=digits", "schedule.states=2", "schedule.epochs=4")
    refill, rsst = compose(*keys, "method=refill"), compose(*keys, "method=rsst", "method.ramp=0.75")
    dense, pruned = macs_per_epoch(refill)[0], macs_per_epoch(refill)[-1]
    assert macs_per_epoch(rsst) == [dense] * 4 + [dense] * 3 + [pruned]
    assert macs_per_epoch(compose(*keys, "method=dense")) == [dense] * 8


@pytest.mark.parametrize("name", ["digits", "digit_pairs"])
def test_known_numbers_of_images_are_the_real_ones(compose: Compose, name: str) -> None:
    config = compose(f"dataset={name}", "model=vit_micro")
    dataset = DATASETS.load(name)(config.dataset)
    assert dataset.training_images() == pytest.approx(len(dataset.load().train), abs=1)


def test_images_in_folders_are_counted(compose: Compose, tmp_path: Path) -> None:
    root = tmp_path / "images"
    for split, count in (("train", 20), ("test", 3)):
        for label in ("a", "b"):
            (root / split / label).mkdir(parents=True)
            for number in range(count):
                (root / split / label / f"{number}.png").touch()
    config = compose("dataset=image_folder", f"dataset.root={root}", "dataset.val_fraction=0.1")
    assert DATASETS.load("image_folder")(config.dataset).training_images() == 36
    shutil.rmtree(root)
    assert DATASETS.load("image_folder")(config.dataset).training_images() is None
    assert flops_left(config) is None


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
    assert epochs_in_all(config) == len(macs_per_epoch(config)) == 24
