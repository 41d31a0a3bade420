"""Images in folders: which split a file belongs to, and which folders are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.base.errors import UserError
from prune.data.base import SPLITS, FileSplit
from prune.data.folder import ImageFolder
from tests.data.folders import CLASSES, files, write


def names(split: FileSplit) -> list[str]:
    return ["/".join(path.parts[-3:]) for path in split.paths]


def test_validation_is_split_off_train(configured: Any, root: Path) -> None:
    splits = files(configured("dataset.val_fraction=0.25"))
    assert [len(splits[name]) for name in SPLITS] == [45, 15, 12]
    train, val = names(splits["train"]), names(splits["val"])
    assert sorted(train + val) == sorted(f"train/{name}/{number:03d}.png" for name in CLASSES for number in range(20))
    assert set(names(splits["test"])) == {f"test/{name}/{number:03d}.png" for name in CLASSES for number in range(4)}
    for split in splits.values():
        assert [CLASSES[label] for label in split.labels] == [path.parent.name for path in split.paths]
    assert np.bincount(splits["val"].labels).tolist() == [5, 5, 5]
    again, other = files(configured("dataset.val_fraction=0.25", "seed=5")), files(configured("dataset.split_seed=1"))
    assert names(again["val"]) == val
    assert names(other["val"]) != val


def test_a_lone_val_folder_is_the_test_split(configured: Any, root: Path) -> None:
    """ImageNet's and Tiny-ImageNet's labelled `val` is what papers report."""
    (root / "test").rename(root / "val")
    splits = files(configured())
    assert set(names(splits["test"])) == {f"val/{name}/{number:03d}.png" for name in CLASSES for number in range(4)}
    assert all(name.startswith("train/") for name in names(splits["val"]))


def test_three_folders_are_used_as_they_are(configured: Any, root: Path) -> None:
    write(root / "val" / "bee" / "x.png", 99)
    splits = files(configured())
    assert names(splits["val"]) == ["val/bee/x.png"]
    assert splits["val"].labels.tolist() == [1]
    assert len(splits["train"]) == 60


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: root.rename(root.with_name("elsewhere")), r"dataset\.root=.*does not exist"),
        (lambda root: (root / "train").rename(root / "training"), r"dataset\.root=.*no train/ folder"),
        (lambda root: (root / "test").rename(root / "held-out"), r"dataset\.root=.*neither a test/ nor a val/"),
        (lambda root: (root / "test" / "ant").rename(root / "test" / "dog"), r"classes that train/ lacks: dog"),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], r"dataset\.root: .*train holds no images"),
    ],
)
def test_folders_that_do_not_fit_are_refused(configured: Any, root: Path, break_it: Any, message: str) -> None:
    config = configured()
    break_it(root)
    with pytest.raises(UserError, match=message):
        ImageFolder(config.dataset).load()
