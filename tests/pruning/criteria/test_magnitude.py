"""The criteria of weights alone, against a loop over the weights of each unit."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from timm.models.vision_transformer import VisionTransformer

from prune.pruning.keepset import KeepSet
from tests.pruning.criteria.oracle import EVERYTHING, check, densities, numbers, scores, size


def test_magnitude(model: VisionTransformer, keep: KeepSet) -> None:
    """Σ|w| over the rows that make the unit; no bias, nothing of what reads it."""
    check(
        scores("magnitude", model),
        keep,
        lambda block, kind, unit: sum(abs(w) for w in numbers(model, block, kind, unit, "producer")),
    )


def test_group_magnitude(model: VisionTransformer, keep: KeepSet) -> None:
    check(
        scores("group_magnitude", model),
        keep,
        lambda block, kind, unit: sum(w * w for w in numbers(model, block, kind, unit, *EVERYTHING)) ** 0.5,
    )


DENSITIES: dict[str, Callable[[list[float]], float]] = {
    "magnitude": lambda weights: sum(abs(w) for w in weights),
    "group_magnitude": lambda weights: sum(w * w for w in weights),
}


@pytest.mark.parametrize("name", DENSITIES)
def test_densities(name: str, model: VisionTransformer, keep: KeepSet) -> None:
    check(
        densities(name, model),
        keep,
        lambda block, kind, unit: DENSITIES[name](numbers(model, block, kind, unit, *EVERYTHING)) / size(kind),
    )
