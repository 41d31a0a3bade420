"""CIFAR's on-disk format, with few and random images."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torchvision.datasets import CIFAR10, CIFAR100


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
