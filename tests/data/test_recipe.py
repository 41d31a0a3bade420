"""What a recipe does to training batches, resident and streamed: each part in its place, from its own draws, exactly again."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.base.seeding import generator
from prune.data.erasing import draw_boxes
from prune.data.loading import Loader, ResidentLoader, TrainingBatch
from prune.data.mixing import draw_mix
from prune.data.options import Augment
from prune.data.recipe import NO_RECIPE, ErasingOptions, ImageRecipe, MixOptions, RandAugmentOptions
from tests.data import test_loading
from tests.data.folders import loader

MIXED = ImageRecipe(mix=MixOptions(mixup=0.8, cutmix=1.0))
ERASED = ImageRecipe(erasing=ErasingOptions(prob=0.6))
CHANGED = ImageRecipe(randaugment=RandAugmentOptions(ops=2, magnitude=20))
ALL = ImageRecipe(mix=MIXED.mix, erasing=ERASED.erasing, randaugment=CHANGED.randaugment)


def resident(recipe: ImageRecipe) -> ResidentLoader:
    return test_loading.loader(Augment(), recipe=recipe)


@pytest.fixture
def streamed(configured: Any, tmp_path: Path) -> Any:
    return lambda recipe, **options: loader(configured(), tmp_path, recipe=recipe, **options)


@pytest.fixture(params=["resident", "streamed"])
def make(request: pytest.FixtureRequest) -> Any:
    return resident if request.param == "resident" else request.getfixturevalue("streamed")


def batches(loader: Loader, start: int = 0) -> list[TrainingBatch]:
    return list(loader.training(2, 1, start))


def test_erasing_sets_its_boxes_to_the_mean_and_leaves_the_rest(make: Any) -> None:
    plain, erased = batches(make(NO_RECIPE)), batches(make(ERASED))
    for step, (before, after) in enumerate(zip(plain, erased, strict=True)):
        size = before.images.shape[2:]
        boxes = draw_boxes(0.6, len(before.images), (size[0], size[1]), generator(0, "erasing", 2, 1, step))
        assert torch.equal(before.labels, after.labels) and after.mixed is None
        for image, other, (top, bottom, left, right) in zip(before.images, after.images, boxes.tolist(), strict=True):
            image[:, top:bottom, left:right] = 0
            assert torch.equal(image, other)


def test_a_mixed_batch_has_its_partners_pixels_and_labels(make: Any) -> None:
    plain, found = batches(make(NO_RECIPE)), batches(make(MIXED))
    kinds = set()
    for step, (before, after) in enumerate(zip(plain, found, strict=True)):
        size = before.images.shape[2:]
        partners, mix = draw_mix(MIXED.mix, len(before.images), (size[0], size[1]), generator(0, "mix", 2, 1, step))
        assert mix is not None and after.mixed is not None and after.mixed.share == mix.share
        kinds.add(mix.box is None)
        assert torch.equal(after.labels, before.labels) and torch.equal(after.mixed.labels, before.labels[partners])
        own, other = before.images, before.images[partners]
        if mix.box is None:
            assert torch.allclose(after.images, mix.share * own + (1 - mix.share) * other, rtol=0, atol=1e-5)
        else:
            top, bottom, left, right = mix.box
            own[:, :, top:bottom, left:right] = other[:, :, top:bottom, left:right]
            assert torch.equal(after.images, own)
    assert kinds == {True, False}


def test_randaugment_changes_images_and_nothing_else(make: Any) -> None:
    plain, changed = batches(make(NO_RECIPE)), batches(make(CHANGED))
    assert all(torch.equal(before.labels, after.labels) for before, after in zip(plain, changed, strict=True))
    differs = torch.cat([(a.images != b.images).flatten(1).any(1) for a, b in zip(plain, changed, strict=True)])
    assert 0.5 < differs.float().mean() < 1  # both rounds may leave an image as it is


def test_an_epoch_with_all_of_it_can_be_entered_at_any_step(make: Any) -> None:
    whole = batches(make(ALL))
    torch.manual_seed(9)
    for (images, labels, mixed), expected in zip(batches(make(ALL), 3), whole[3:], strict=True):
        assert torch.equal(images, expected.images) and torch.equal(labels, expected.labels)
        assert mixed is not None and expected.mixed is not None and torch.equal(mixed.labels, expected.mixed.labels)


def test_global_generators_are_not_read(make: Any) -> None:
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)
        random.seed(seed)
        found.append(torch.cat([batch.images for batch in batches(make(ALL))]))
    assert torch.equal(*found)


def test_calibration_and_evaluation_see_images_as_they_are(make: Any) -> None:
    plain, changed = make(NO_RECIPE), make(ALL)
    for one, other in zip(plain.calibration(1, 2), changed.calibration(1, 2), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])
    for one, other in zip(plain.evaluation("val", 8), changed.evaluation("val", 8), strict=True):
        assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_workers_change_an_image_as_the_main_process_does(streamed: Any) -> None:
    for one, other in zip(batches(streamed(CHANGED)), batches(streamed(CHANGED, workers=2)), strict=True):
        assert torch.equal(one.images, other.images)
