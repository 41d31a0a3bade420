"""Where a run finds the images that were decoded for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

import prune
from prune.engine.loaders import load_data
from tests.conftest import Compose
from tests.engine.runs import RunTiny

FOLDER = ("dataset=image_folder", "dataset.image_size=16", "optim.batch_size=8", "model.patch_size=8", "method=dense")


def test_all_sweeps_share_them(compose_tiny: Compose, image_folder: Path, tmp_path: Path) -> None:
    for name in ("one", "other"):
        config = compose_tiny(*FOLDER, f"dataset.root={image_folder}", f"name={name}")
        load_data(config, tmp_path / f"{name}.json", torch.device("cpu"))
    assert len(list((tmp_path / "outputs" / ".cache").glob("*.npy"))) == 1
    assert not list(image_folder.rglob("*.npy"))


def test_a_run_that_was_brought_here_has_them_beside_it(run_tiny: RunTiny, image_folder: Path, tmp_path: Path) -> None:
    run = run_tiny(*FOLDER, f"dataset.root={image_folder}", "schedule.states=2").directory.path
    brought = tmp_path / "brought" / run.name
    shutil.copytree(run, brought)
    outputs = tmp_path / "outputs"
    shutil.rmtree(outputs)
    prune.finetune(prune.load(brought), brought, epochs=0)
    assert len(list((brought.parent / ".cache").glob("*.npy"))) == 1 and not outputs.exists()
