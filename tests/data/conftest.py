"""A folder of images, and configurations that read it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prune.config import RunConfig
from tests.conftest import Compose
from tests.data.folders import CLASSES, SIZE, write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """train/ with 20 images of each of three classes, test/ with 4."""
    folder = tmp_path / "images"
    seed = 0
    for split, count in (("train", 20), ("test", 4)):
        for name in CLASSES:
            for number in range(count):
                write(folder / split / name / f"{number:03d}.png", seed)
                seed += 1
    return folder


@pytest.fixture
def configured(compose: Compose, root: Path) -> Any:
    def make(*overrides: str) -> RunConfig:
        keys = (f"dataset.root={root}", f"dataset.image_size={SIZE}", "model=vit_micro", "dataset.augment.flip=false")
        return compose("dataset=image_folder", *keys, *overrides)

    return make
