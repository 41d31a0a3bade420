"""The built-in datasets: splits that partition the data, are pinned, and are read from CIFAR's on-disk format."""

from __future__ import annotations

import hashlib
import pickle
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits
from torchvision.datasets import CIFAR10, CIFAR100

from prune.config import RunConfig
from prune.base.registries import DATASETS
from prune.data.base import SPLITS, ArraySplit, Splits
from prune.data.splitting import stratified
from prune.base.errors import UserError
from tests.conftest import Compose


def load(config: RunConfig) -> Splits:
    return DATASETS.load(config.dataset.name)(config.dataset).load()


def arrays(splits: Splits, name: str) -> ArraySplit:
    split = splits.of(name)
    assert isinstance(split, ArraySplit)
    assert split.images.dtype == np.uint8
    assert split.labels.dtype == np.int64
    return split


def digest(split: ArraySplit) -> str:
    return hashlib.sha256(split.images.tobytes() + split.labels.tobytes()).hexdigest()[:16]


def keys(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images]


@settings(derandomize=True, max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=200), st.floats(0.01, 0.99), st.integers(0, 5))
def test_stratified_takes_the_share_of_each_class(listed: list[int], fraction: float, seed: int) -> None:
    labels = np.array(listed)
    rest, part = stratified(labels, fraction, seed)
    assert sorted([*rest, *part]) == list(range(len(labels)))
    assert list(rest) == sorted(rest)
    assert list(part) == sorted(part)
    for label, total in Counter(listed).items():
        taken = sum(labels[index] == label for index in part)
        assert taken == (0 if total == 1 else min(max(1, round(fraction * total)), total - 1))
    again = stratified(labels, fraction, seed)
    assert np.array_equal(again[0], rest)
    assert np.array_equal(again[1], part)


DIGITS = {"train": (1203, "c5b1a67041976dc9"), "val": (199, "ae16edb2acd5f9fe"), "test": (395, "1116cfe6211bf614")}
PAIRS = {"train": (6000, "4a5ad2cbfdd8e59e"), "val": (500, "26c9be2fd63ee355"), "test": (1000, "eb71c46b0abec9d8")}
"""Images and digest of each split."""


def test_digits_are_a_partition_of_scikit_learns(compose: Compose) -> None:
    source = load_digits()
    # Its values run from 0 to 16; ours from 0 to 255.
    images = np.rint(source.images * 255 / 16).astype(np.uint8)
    every = Counter(zip(keys(images), source.target.tolist(), strict=True))
    splits = load(compose("dataset=digits"))
    found: Counter[Any] = Counter()
    for name in SPLITS:
        split = arrays(splits, name)
        assert split.images.shape == (DIGITS[name][0], 1, 8, 8)
        found.update(zip(keys(split.images), split.labels.tolist(), strict=True))
        share = np.bincount(split.labels, minlength=10) / len(split)
        assert (abs(share - 0.1) < 0.02).all()  # stratified: each class as often as in the whole set
    assert found == every
    assert splits.classes == [str(digit) for digit in range(10)]


@pytest.mark.parametrize(("dataset", "pins"), [("digits", DIGITS), ("digit_pairs", PAIRS)])
def test_splits_are_stable(compose: Compose, dataset: str, pins: dict[str, tuple[int, str]]) -> None:
    """The very bytes: a change here changes every result ever published with these datasets."""
    splits = load(compose(f"dataset={dataset}", "seed=7"))
    assert {name: (len(splits.of(name)), digest(arrays(splits, name))) for name in SPLITS} == pins
    other = load(compose(f"dataset={dataset}", "dataset.split_seed=1"))
    assert all(digest(arrays(other, name)) != pins[name][1] for name in SPLITS)


def test_digits_of_one_pair_come_from_the_same_split(compose: Compose) -> None:
    single, pairs = load(compose("dataset=digits")), load(compose("dataset=digit_pairs"))
    for name, per_class in (("train", 60), ("val", 5), ("test", 10)):
        digits, split = arrays(single, name), arrays(pairs, name)
        label_of = dict(zip(keys(digits.images), digits.labels.tolist(), strict=True))
        elsewhere = {key for other in SPLITS if other != name for key in keys(arrays(single, other).images)}
        assert split.images.shape == (100 * per_class, 1, 8, 16)
        lefts, rights = (keys(np.ascontiguousarray(half)) for half in np.split(split.images, 2, axis=3))
        assert all(key not in elsewhere for key in [*lefts, *rights])
        expected = [10 * label_of[left] + label_of[right] for left, right in zip(lefts, rights, strict=True)]
        assert split.labels.tolist() == expected
        assert np.bincount(split.labels).tolist() == [per_class] * 100
    assert pairs.classes == [f"{number:02d}" for number in range(100)]


def test_the_number_of_pairs_is_a_key(compose: Compose) -> None:
    splits = load(compose("dataset=digit_pairs", "dataset.pairs_train=3", "dataset.pairs_val=1", "dataset.pairs_test=2"))
    assert [len(splits.of(name)) for name in SPLITS] == [300, 100, 200]


# ---- CIFAR --------------------------------------------------------------------------------------------------------------


def write_cifar(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch, per_class: int | None = None
) -> dict[str, tuple[np.ndarray, list[int]]]:
    """A small archive in CIFAR's on-disk format, unpacked under `root`; torchvision is told its checksums.

    Each file holds `per_class` images of each class (default: a few hundred images in all).
    """
    kind, fine = (CIFAR10, "labels") if name == "cifar10" else (CIFAR100, "fine_labels")
    classes = 10 if name == "cifar10" else 100
    folder = root / kind.base_folder
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    content = {split: (np.empty((0, 3072), np.uint8), list[int]()) for split in ("train", "test")}
    size = classes * (per_class or (20 if name == "cifar10" else 10))

    def write(file: str, value: dict[str, Any]) -> list[str]:
        data = pickle.dumps(value)
        (folder / file).write_bytes(data)
        return [file, hashlib.md5(data).hexdigest()]

    lists: dict[str, list[list[str]]] = {"train": [], "test": []}
    for split, files in (("train", kind.train_list), ("test", kind.test_list)):
        for file, _ in files:
            labels = [number % classes for number in range(size)]
            pixels = draw.integers(0, 256, (size, 3072), dtype=np.uint8)
            coarse = {"coarse_labels": [0] * size} if name == "cifar100" else {}
            lists[split].append(write(file, {"data": pixels, fine: labels, **coarse}))
            before = content[split]
            content[split] = (np.concatenate([before[0], pixels]), before[1] + labels)
    key = kind.meta["key"]
    meta = write(kind.meta["filename"], {key: [f"class {number}" for number in range(classes)]})
    monkeypatch.setattr(kind, "train_list", lists["train"])
    monkeypatch.setattr(kind, "test_list", lists["test"])
    monkeypatch.setattr(kind, "meta", {"filename": meta[0], "key": key, "md5": meta[1]})
    return content


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_is_read_from_its_files(compose: Compose, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = write_cifar(tmp_path / "data", name, monkeypatch)
    splits = load(compose(f"dataset={name}", f"dataset.root={tmp_path / 'data'}"))
    train, val, test = (arrays(splits, split) for split in SPLITS)
    total = len(content["train"][1])
    assert (len(train), len(val), len(test)) == (total * 9 // 10, total // 10, len(content["test"][1]))

    def pairs(pixels: np.ndarray, labels: list[int]) -> Counter[Any]:
        # The format: 1,024 bytes of red, then green, then blue, row by row.
        return Counter(zip(keys(pixels.reshape(-1, 3, 32, 32)), labels, strict=True))

    found = pairs(train.images, train.labels.tolist()) + pairs(val.images, val.labels.tolist())
    assert found == pairs(*content["train"])
    assert set(keys(train.images)).isdisjoint(keys(val.images))
    assert pairs(test.images, test.labels.tolist()) == pairs(*content["test"])
    assert (np.bincount(val.labels) == total // 10 / len(splits.classes)).all()
    assert splits.classes[3] == "class 3"


def test_cifar_is_unpacked_from_its_archive_without_network(
    compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user without network puts the archive's file there, and that is enough."""
    content = write_cifar(tmp_path / "unpacked", "cifar10", monkeypatch)
    root = tmp_path / "data"
    root.mkdir()
    archive = root / "cifar-10-python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(tmp_path / "unpacked" / CIFAR10.base_folder, CIFAR10.base_folder)
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing-listens-here")
    splits = load(compose("dataset=cifar10", f"dataset.root={root}"))
    assert len(splits.train) + len(splits.val) == len(content["train"][1])


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_without_network_and_data_one_sentence_says_what_to_do(
    compose: Compose, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = CIFAR10 if name == "cifar10" else CIFAR100
    monkeypatch.setattr(kind, "url", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(UserError) as error:
        load(compose(f"dataset={name}", f"dataset.root={tmp_path / 'data'}"))
    text = str(error.value)
    assert "\n" not in text
    for part in (name, str(tmp_path / "data"), kind.filename, "dataset=digits", "dataset=digit_pairs"):
        assert part in text


def test_a_broken_archive_is_not_used(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar(tmp_path / "data", "cifar10", monkeypatch)
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/nothing-listens-here")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    batch = tmp_path / "data" / CIFAR10.base_folder / "data_batch_2"
    batch.write_bytes(batch.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"cifar10 is not under dataset\.root="):
        load(compose("dataset=cifar10", f"dataset.root={tmp_path / 'data'}"))
