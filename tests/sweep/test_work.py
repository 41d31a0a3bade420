"""How much there is to compute, against real data and real runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prune.base.files import read_jsonl
from prune.base.registries import DATASETS
from prune.sweep.work import flops_left, macs_per_epoch
from tests.conftest import Compose
from tests.engine.runs import RunTiny, finished


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


@pytest.mark.parametrize(("ramp", "epochs"), [(0.75, 2), (0.75, 6), (0.3, 4), (0.999, 3), (1, 3), (1e-9, 2), (0.55, 20)])
def test_the_planned_sizes_are_those_of_a_real_run(run_tiny: RunTiny, compose_tiny: Compose, ramp: float, epochs: int) -> None:
    keys = ("method=rsst", f"method.ramp={ramp}", f"schedule.epochs={epochs}", "method.penalty.ceiling=1")
    directory = finished(run_tiny(*keys))
    macs = {line["parameters"]: line["macs"] for line in read_jsonl(directory.states)}
    assert macs_per_epoch(compose_tiny(*keys)) == [macs[line["parameters"]] for line in read_jsonl(directory.metrics)]


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
