"""Dense and pruned on the same images, in one pass over them; calibration only where there are enough."""

from __future__ import annotations

import pytest
import torch

from prune.analysis.errors import Errors
from tests.analysis.subjects import MODELS, pixels_of, random_images, subject


@pytest.mark.parametrize("family", MODELS)
def test_accuracies_and_losses_are_those_of_one_batch(family: str) -> None:
    looked_at = subject(family, random_images(30))
    found = Errors().measure(looked_at)
    images, labels = pixels_of(looked_at.images)
    for name, snapshot in (("now", looked_at.now), ("dense", looked_at.dense)):
        with torch.no_grad():
            logits = snapshot.model(images)
        assert found[f"accuracy.{name}"] == pytest.approx(100 * (logits.argmax(1) == labels).double().mean().item())
        assert found[f"loss.{name}"] == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item(), rel=1e-5)
    assert "ece.now" not in found


def test_from_a_thousand_images_on_calibration_is_measured() -> None:
    assert "ece.now" not in Errors().measure(subject("vit", random_images(999)))
    found = Errors().measure(subject("vit", random_images(1000)))
    assert 0 < found["ece.now"] < 1 and 0 < found["ece.dense"] < 1


def test_state_0_is_its_own_dense_model() -> None:
    found = Errors().measure(subject("vit", state=0))
    assert found["accuracy.now"] == found["accuracy.dense"]
