"""What is found out about the data at a run's first start: moments, and files that are broken or have changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prune.base.errors import UserError
from prune.data.base import ArraySplit
from prune.data.digits import Digits
from prune.data.statistics import data_facts
from tests.conftest import Compose
from tests.data.folders import loader, write


def test_facts_are_the_training_splits_moments(compose: Compose, tmp_path: Path) -> None:
    config = compose("dataset=digits")
    dataset = Digits(config.dataset)
    splits = dataset.load()
    assert isinstance(splits.train, ArraySplit)
    facts = data_facts(tmp_path / "data.json", dataset, splits, workers=0)
    values = splits.train.images.astype(np.float64) / 255
    assert facts.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert facts.std == pytest.approx(values.std((0, 2, 3)).tolist(), rel=1e-12)
    assert data_facts(tmp_path / "data.json", dataset, splits, workers=0) == facts


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_broken_jpeg_is_named_before_training(configured: Any, root: Path, tmp_path: Path, split: str, workers: int) -> None:
    path = root / split / "bee" / "broken.jpg"
    write(path, 1, (40, 40))
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(UserError, match=r"dataset\.root: .*bee/broken\.jpg cannot be decoded"):
        loader(configured(), tmp_path, workers=workers)


def test_a_file_that_is_no_image_is_named(configured: Any, root: Path, tmp_path: Path) -> None:
    (root / "train" / "cat" / "notes.jpg").write_text("not an image")
    with pytest.raises(UserError, match=r"cat/notes\.jpg cannot be decoded"):
        loader(configured(), tmp_path)


def test_content_that_changes_is_noticed(configured: Any, root: Path, tmp_path: Path) -> None:
    loader(configured(), tmp_path)
    loader(configured(), tmp_path)
    write(root / "train" / "ant" / "one-more.png", 77)
    with pytest.raises(UserError, match=r"dataset\.root=.* has changed"):
        loader(configured(), tmp_path)
