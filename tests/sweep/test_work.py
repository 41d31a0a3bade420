"""How much there is to compute, against real data and real runs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from prune.base.files import read_jsonl
from prune.base.registries import DATASETS
from prune.sweep.work import flops_left, macs_per_epoch
from tests.conftest import CONF, Compose
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


SCALES = {
    "CIFAR": (45_000, ("dataset=cifar10",)),
    "Tiny-ImageNet": (
        90_000,
        ("dataset=image_folder", "dataset.root=images", "dataset.classes=200", "dataset.image_size=64", "model.patch_size=8"),
    ),
    "ImageNet": (
        1_153_050,
        ("dataset=image_folder", "dataset.root=images", "dataset.classes=1000", "dataset.image_size=224", "model.patch_size=16",
         "optim.batch_size=256", "schedule.states=4", "schedule.epochs=30", "schedule.epochs_first=30"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCALES)
def test_what_a_sweep_costs_is_calculated_as_the_page_says(compose: Compose, name: str) -> None:
    """The FLOPs of docs/scaling.md are those of the closed form, and its hours follow from them at 100 TFLOP/s."""
    page = (CONF.parent / "docs/scaling.md").read_text().splitlines()
    run, sweep = ([float(cell.split()[0]) for cell in line.split("|")[2:-1]] for line in page if line.startswith(f"| {name} "))
    images, overrides = SCALES[name]
    work = {}
    for method in ("refill", "rsst"):
        config = compose(*overrides, f"method={method}")
        used = 6 * (images // config.optim.batch_size * config.optim.batch_size)
        macs = macs_per_epoch(config)
        work[method] = sum(macs) * used
    image, epoch, first = 6 * macs[0], macs[0] * used, config.schedule.epochs_of(0) * macs[0] * used
    assert run[:5] == pytest.approx([image, epoch, first, *work.values()], rel=5e-4)  # four digits
    hour = 100e12 * 3600
    assert run[5:] == pytest.approx([first / hour, work["refill"] / hour, work["rsst"] / hour], abs=0.006)  # two decimals
    alone, longest = 32 * sum(work.values()), max(work.values())
    assert sweep == pytest.approx([alone / hour, (alone - 60 * first) / hour, longest / hour], rel=2e-3, abs=0.06)
