"""What analyses may cost: passes over their images, and batches that do not grow with the number of images."""

from __future__ import annotations

import pytest
import torch

from prune.base.registries import ANALYSES
from tests.analysis.subjects import MODELS, random_images, subject

SEARCHING = ("sensitivity", "importance")
"""They silence units one by one: their passes grow with the number of units."""

MOST_PASSES = 6
MOST_AT_ONCE = 256


@pytest.mark.parametrize("family", MODELS)
@pytest.mark.parametrize("name", [name for name in ANALYSES.table if name not in SEARCHING])
def test_at_most_six_passes_over_the_images_of_a_state(name: str, family: str) -> None:
    count = 2 * MOST_AT_ONCE + 10
    looked_at = subject(family, random_images(count))
    seen: list[int] = []
    for model in {id(s.model): s.model for s in (looked_at.now, looked_at.dense, looked_at.before)}.values():
        model.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    analysis = ANALYSES.load(name)()
    if analysis.refuses(looked_at) is None:
        with torch.no_grad():
            analysis.measure(looked_at)
    assert sum(seen) <= MOST_PASSES * count
    assert max(seen, default=0) <= MOST_AT_ONCE


@pytest.mark.parametrize("name", [name for name in ANALYSES.table if name != "errors"])
def test_what_is_kept_does_not_grow_with_the_number_of_images(name: str) -> None:
    """But for the predictions of `errors`, which are one number an image."""
    sizes = []
    for count in (40, 80):
        found = ANALYSES.load(name)().measure(subject("vit", random_images(count)))
        sizes.append({key: value.shape for key, value in found.items() if hasattr(value, "shape")})
    assert sizes[0] == sizes[1]
