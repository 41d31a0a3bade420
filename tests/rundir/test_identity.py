"""The same configuration always maps to the same directory, however it was typed; two different ones never share one."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from prune.rundir import identity
from prune.rundir.identity import run_directory, run_id

PINNED = {
    (): "22c6fdaa",
    ("dataset=cifar100", "method=rsst"): "d19f0598",
    ("experiment=demo", "dataset=digit_pairs", "method=refill"): "b96db131",
    ("experiment=demo", "dataset=digits", "method=rsst"): "3f3503cc",
    ("experiment=report_vit_small_70p", "method=rsst", "seed=3"): "f4e54f4a",
    ("method=dense", "optim=adamw", "schedule=cubic"): "b10f50b8",
    ("schedule.targets={heads: 0.5}", "method.targets=[heads]"): "a9b413ed",
    ("method.rewind=epoch:3", "method.fillback_rate=0.1", "method.scope=layer"): "e39f214e",
    ("method=rsst", "method.penalty.ceiling=auto", "method.ramp=0.5", "method.min_per_block=1"): "48edbc9e",
    ("model=vit_micro", "dataset=digits", "schedule.rates=[0,0.2,0.6]", "schedule.states=3"): "6179b708",
    ("method.criterion=taylor", "method.pools=joint", "optim.precision=bf16", "optim.label_smoothing=0.1"): "bdef7d94",
    ("dataset=image_folder", "dataset.root=/nowhere", "dataset.image_size=[64,48]", "model.pretrained=false"): "1ad32b21",
}
"""Ids that runs on users' disks have: a change here orphans them. New keys go into `identity.ADDED_LATER` instead."""


@pytest.mark.parametrize("overrides", PINNED, ids=" ".join)
def test_ids_stay(compose, overrides):
    assert run_id(compose(*overrides)) == PINNED[overrides]


@pytest.mark.parametrize(
    "typed",
    [
        ("optim.weight_decay=0", "optim.weight_decay=0.0"),
        ("method.penalty.exponents=4", "method.penalty.exponents=4.0"),
        ("schedule.target=0.7", "seed=0"),
        ("seed=1", "seed=01"),
        ("dataset.image_size=32", "dataset.image_size=[32,32]"),
        ("dataset.split_seed=0", "optim.betas=[0.9,0.999]"),
        ("schedule.targets={heads: 0.5, neurons: 0.8}", "schedule.targets={neurons: 0.80, heads: 0.5}"),
    ],
)
def test_a_value_typed_another_way_is_the_same_run(compose, typed):
    left, right = (run_id(compose("method=rsst", override)) for override in typed)
    assert left == right


def test_order_and_overrides_that_equal_the_default_do_not_count(compose):
    overrides = ["method=rsst", "dataset=digits", "model=vit_micro", "schedule.states=16", "optim.lr=0.01"]
    assert len({run_id(compose(*order)) for order in list(itertools.permutations(overrides))[::11]}) == 1
    assert run_id(compose(*overrides)) == run_id(compose(*overrides[:3]))


@pytest.mark.parametrize(
    "override",
    ["name=other", "hardware=cpu", "hardware.threads=1", "hardware.compile=true", "checkpoint.keep=last", "logger=wandb",
     "dataset.root=elsewhere"],
)  # fmt: skip
def test_what_cannot_change_a_number_does_not_count(compose, override):
    assert run_id(compose(override)) == run_id(compose())


@pytest.mark.parametrize(
    "override",
    ["seed=1", "optim.precision=bf16", "method.criterion=random", "schedule.target=0.6", "model.drop_rate=0.1",
     "dataset.split_seed=1", "dataset.augment.flip=false", "method.rewind=none", "method.calibration_batches=9",
     "method.targets=[heads]", "schedule.targets={heads: 0.5}", "model.patch_size=8", "schedule.measure=macs",
     "schedule.epochs_last=61", "method.block_rates=[1,1,1,1,1,1,1,1,1,1,1,2]"],
)  # fmt: skip
def test_what_can_change_a_number_counts(compose, override):
    assert run_id(compose(override)) != run_id(compose())


def test_an_image_folder_counts_by_its_real_path(compose, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "images")
    base = ("dataset=image_folder", "dataset.image_size=32")
    ids = {name: run_id(compose(*base, f"dataset.root={tmp_path / name}")) for name in ("images", "link", "other")}
    assert ids["images"] == ids["link"] != ids["other"]


def test_a_key_added_later_is_left_out_while_at_its_neutral_value(compose, monkeypatch):
    before = run_id(compose())
    monkeypatch.setattr(identity, "ADDED_LATER", {"optim.label_smoothing": 0.0})
    neutral, changed = run_id(compose()), run_id(compose("optim.label_smoothing=0.1"))
    assert neutral != before  # the key counted until now; a truly new key would not have been there
    assert changed != neutral
    content = identity.counted(compose())
    assert "label_smoothing" not in content["optim"] and "lr" in content["optim"]


def test_the_directory_tells_what_the_run_is(compose, tmp_path):
    directory = run_directory(compose("name=sweep", "dataset=cifar100", "method=rsst", "seed=7"))
    assert directory.path.parent == Path(tmp_path / "outputs" / "sweep")
    assert directory.path.name.startswith("cifar100-rsst-s7-")
    assert not directory.path.exists()
