"""Images in folders: which split a file belongs to, and which folders are refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.base.errors import UserError
from prune.data.base import SPLITS, FileSplit
from prune.data.folder import ImageFolder, _count_images
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


def keep_one_class(root: Path) -> None:
    for name in ("bee", "cat"):
        for split in ("train", "test"):
            shutil.rmtree(root / split / name)
    (root / "train" / "bee").mkdir()
    write(root / "train" / ".cache" / "x.png", 1)


def test_hidden_and_empty_folders_are_no_classes(configured: Any, root: Path) -> None:
    """What file browsers, notebooks and other systems leave; nor are their files images, and the data is the same with them."""
    config = configured()
    dataset = ImageFolder(config.dataset)
    before, images, count = dataset.fingerprint(), names(files(config)["train"]), dataset.training_images()
    for split in ("train", "test"):
        (root / split / "empty").mkdir()
        (root / split / "notes").mkdir()
        (root / split / "notes" / "readme.txt").write_text("no image")
        write(root / split / ".ipynb_checkpoints" / "x.png", 1)
        write(root / split / "ant" / "._000.png", 1)
    splits = dataset.load()
    assert splits.classes == list(CLASSES)
    assert names(splits.train) == images
    _count_images.cache_clear()
    assert (dataset.fingerprint(), dataset.training_images()) == (before, count)


@pytest.fixture
def tiny_imagenet(tmp_path: Path) -> Path:
    """Tiny-ImageNet as it is distributed: boxes beside images/, annotations of val/, and test/ without labels."""
    root, seed = tmp_path / "tiny-imagenet-200", 0
    wnids = ["n01443537", "n01629819", "n01641577"]
    (root / "val").mkdir(parents=True)
    (root / "wnids.txt").write_text("\n".join(wnids))
    lines = []
    for label, wnid in enumerate(wnids):
        for number in range(10):
            write(root / "train" / wnid / "images" / f"{wnid}_{number}.png", seed := seed + 1)
        (root / "train" / wnid / f"{wnid}_boxes.txt").write_text(f"{wnid}_0.png\t0\t10\t63\t58\n")
        for number in range(label, 12, 3):
            lines.append(f"val_{number}.png\t{wnid}\t0\t32\t44\t62\n")
            write(root / "val" / "images" / f"val_{number}.png", 100 + number)
    (root / "val" / "val_annotations.txt").write_text("".join(lines))
    for number in range(5):
        write(root / "test" / "images" / f"test_{number}.png", 200 + number)
    return root


def test_tiny_imagenets_own_layout_is_read(configured: Any, tiny_imagenet: Path) -> None:
    config = configured(f"dataset.root={tiny_imagenet}", "dataset.val_fraction=0.2")
    dataset = ImageFolder(config.dataset)
    splits = dataset.load()
    assert splits.classes == ["n01443537", "n01629819", "n01641577"]
    assert [len(splits.of(name)) for name in SPLITS] == [24, 6, 12]
    assert dataset.training_images() == 24
    for split in (splits.train, splits.val):
        assert isinstance(split, FileSplit)
        assert [splits.classes[label] for label in split.labels] == [path.parts[-3] for path in split.paths]
    test = splits.test
    assert isinstance(test, FileSplit)
    assert {path.parts[-3] for path in test.paths} == {"val"}
    assert test.labels.tolist() == [int(path.stem.removeprefix("val_")) % 3 for path in test.paths]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("val_99.png\tn01443537\t0\t0\t1\t1", r"line 13 of .*val_annotations\.txt names no class, or no file"),
        ("val_0.png", r"line 13 of .*val_annotations\.txt names no class"),
        ("val_0.png\tn7\t0", r"val has classes that train/ lacks: n7"),
    ],
)
def test_annotations_that_do_not_fit_are_refused(configured: Any, tiny_imagenet: Path, line: str, message: str) -> None:
    with (tiny_imagenet / "val" / "val_annotations.txt").open("a") as file:
        file.write(f"{line}\n")
    with pytest.raises(UserError, match=message):
        ImageFolder(configured(f"dataset.root={tiny_imagenet}").dataset).load()


def test_an_image_that_points_nowhere_is_named(configured: Any, root: Path) -> None:
    (root / "train" / "bee" / "gone.png").symlink_to("nowhere")
    with pytest.raises(UserError, match=r"dataset\.root: .*bee/gone\.png cannot be read"):
        ImageFolder(configured().dataset).fingerprint()


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: root.rename(root.with_name("elsewhere")), r"dataset\.root=.*does not exist"),
        (lambda root: (root / "train").rename(root / "training"), r"dataset\.root=.*no train/ folder"),
        (lambda root: (root / "test").rename(root / "held-out"), r"dataset\.root=.*neither a test/ nor a val/"),
        (lambda root: (root / "test" / "ant").rename(root / "test" / "dog"), r"classes that train/ lacks: dog"),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], r"dataset\.root: .*train holds no images"),
        (lambda root: keep_one_class(root), r"dataset\.root: .*train has images of one class only, ant; at least two"),
        (lambda root: (root / "train/ant").rename(root / "train/a\x1b[31mnt"), r"train/a\\x1b\[31mnt has a name that cannot"),
        (lambda root: os.rename(root / "train/ant", os.fsencode(root / "train") + b"/\xff"), r"train/\\udcff has a name that"),
    ],
)
def test_folders_that_do_not_fit_are_refused(configured: Any, root: Path, break_it: Any, message: str) -> None:
    config = configured()
    break_it(root)
    with pytest.raises(UserError, match=message):
        ImageFolder(config.dataset).load()
