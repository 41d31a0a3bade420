"""Loss and accuracy of a model on a split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from prune.data.base import ArraySplit
from prune.data.digits import Digits
from tests.conftest import Compose
from tests.engine.states import first_state


def test_evaluation_is_the_mean_over_every_image_once(compose_tiny: Compose, tmp_path: Path) -> None:
    """Loss and accuracy of a real run, whatever the batch size, against one pass over scikit-learn's digits."""
    config = compose_tiny("method=dense", "hardware.eval_batch_size=50")
    _, state = first_state(config, tmp_path)
    splits = Digits(config.dataset).load()
    assert isinstance(splits.train, ArraySplit)
    mean, std = splits.train.images.mean() / 255, splits.train.images.std() / 255
    for name in ("val", "test"):
        split = splits.of(name)
        images = torch.from_numpy((split.images / 255 - mean) / std).to(torch.float32)
        with torch.no_grad():
            chances = torch.softmax(state.model.eval()(images).double(), dim=1).numpy()
        right = [chance.argmax() == label for chance, label in zip(chances, split.labels, strict=True)]
        losses = [-np.log(chance[label]) for chance, label in zip(chances, split.labels, strict=True)]
        found = state.measure(name)
        loss, accuracy = found.loss, found.accuracy
        assert accuracy == pytest.approx(100 * sum(right) / len(right))
        assert loss == pytest.approx(sum(losses) / len(losses), rel=1e-5)  # float32 logits and sums


def test_top_5_is_among_the_five_largest_logits_and_only_above_20_classes(compose_tiny: Compose, tmp_path: Path) -> None:
    config = compose_tiny("method=dense", "dataset=digit_pairs", "dataset.pairs_train=2", "dataset.pairs_val=1")
    _, state = first_state(config, tmp_path)
    right = []
    for images, labels in state.loader.evaluation("test", 50):
        with torch.no_grad():
            logits = state.model.eval()(images)
        right += [label in np.argsort(row)[-5:] for row, label in zip(logits.numpy(), labels.tolist(), strict=True)]
    found = state.measure("test")
    assert found.top5 == pytest.approx(100 * sum(right) / len(right))
    assert found.accuracy < found.top5 < 100
    (tmp_path / "data.json").unlink()
    _, few = first_state(compose_tiny("method=dense"), tmp_path)
    assert few.measure("test").top5 is None
