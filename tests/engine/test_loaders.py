"""Where a run finds the images that were decoded for it, and which data it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

import prune
from prune.base.errors import UserError
from prune.base.registries import DATASETS
from prune.data.base import ArraySplit, Splits
from prune.data.digits import Digits
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


class Odd(Digits):
    """Digits that are not what a data set must give; what is done to them is in `change`."""

    change: ClassVar[Callable[[ArraySplit], ArraySplit]]

    def load(self) -> Splits:
        splits = super().load()
        return replace(splits, val=type(self).change(splits.val))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda split: replace(split, labels=split.labels - 1), "must be int64 and from 0 to 9, and are int64 and from -1"),
        (lambda split: replace(split, labels=split.labels + 1), "and are int64 and from 1 to 10"),
        (lambda split: replace(split, labels=split.labels.astype(float)), "and are float64 and from 0.0 to 9.0"),
        (lambda split: replace(split, images=split.images / 255), "images of the val split must be uint8"),
        (lambda split: replace(split, images=split.images[1:]), "and as many as its"),
    ],
)
def test_data_that_would_be_misread_are_refused_before_anything_is_kept(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: Any, told: str
) -> None:
    monkeypatch.setattr(Odd, "change", staticmethod(change), raising=False)
    monkeypatch.setitem(DATASETS.table, "digits", f"{__name__}:Odd")
    with pytest.raises(UserError, match=told) as refused:
        load_data(compose_tiny(), tmp_path / "data.json", torch.device("cpu"))
    assert str(refused.value).startswith("dataset.name=digits: ")
    assert not (tmp_path / "data.json").exists()
