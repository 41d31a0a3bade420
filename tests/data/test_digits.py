"""Digits and pairs of them: splits that partition the data, and are pinned."""

from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from prune.data.base import SPLITS, ArraySplit
from tests.conftest import Compose
from tests.data.arrays import arrays, keys, load

DIGITS = {"train": (1203, "c5b1a67041976dc9"), "val": (199, "ae16edb2acd5f9fe"), "test": (395, "1116cfe6211bf614")}
PAIRS = {"train": (6000, "4a5ad2cbfdd8e59e"), "val": (500, "26c9be2fd63ee355"), "test": (1000, "eb71c46b0abec9d8")}
"""Images and digest of each split."""


def digest(split: ArraySplit) -> str:
    return hashlib.sha256(split.images.tobytes() + split.labels.tobytes()).hexdigest()[:16]


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


def test_what_another_number_of_pairs_changes(compose: Compose) -> None:
    """As conf/dataset/digit_pairs.yaml says: pairs of all splits are drawn one after the other."""
    usual = load(compose("dataset=digit_pairs"))

    def changed(key: str) -> list[str]:
        other = load(compose("dataset=digit_pairs", f"dataset.{key}=3"))
        return [name for name in SPLITS if digest(arrays(other, name)) != digest(arrays(usual, name))]

    assert changed("pairs_train") == ["train", "val", "test"]
    assert changed("pairs_val") == ["val", "test"]
    assert changed("pairs_test") == ["test"]
