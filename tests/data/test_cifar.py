"""CIFAR is read from its own files, from its archive, and nothing broken is used."""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100

from prune.base.errors import UserError
from prune.data.base import SPLITS
from tests.conftest import Compose
from tests.data.arrays import arrays, keys, load
from tests.data.cifar_files import write_cifar


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
