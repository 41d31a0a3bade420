"""From splits to batches: normalised, in a known order, augmented in training and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prune.base.errors import UserError
from prune.data.base import ArraySplit, DataFacts, Splits
from prune.data.draws import draw_batch
from prune.data.loading import PADDING_LABEL, ResidentLoader, all_crops, augment_batch
from prune.data.options import Augment
from prune.data.recipe import NO_RECIPE, ImageRecipe

CPU = torch.device("cpu")
BOTH = Augment(crop_padding=2, flip=True)


def coloured(count: int, seed: int, size: tuple[int, int] = (6, 8)) -> ArraySplit:
    """Random images whose channels have different means and spreads, so that mixing channels up shows."""
    draw = np.random.default_rng(seed)
    channels = [draw.integers(low, high, (count, *size)) for low, high in ((0, 60), (100, 256), (40, 50))]
    return ArraySplit(np.stack(channels, axis=1).astype(np.uint8), draw.integers(0, 5, count))


SPLITS = Splits(coloured(103, 0), coloured(31, 1), coloured(20, 2), [str(label) for label in range(5)])


def moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = images.astype(np.float64) / 255
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def loader(augment: Augment = BOTH, seed: int = 0, batch_size: int = 10, recipe: ImageRecipe = NO_RECIPE) -> ResidentLoader:
    assert isinstance(SPLITS.train, ArraySplit)
    mean, std = moments(SPLITS.train.images)
    facts = DataFacts(mean.tolist(), std.tolist(), SPLITS.classes, None)
    return ResidentLoader(SPLITS, facts, batch_size, seed, CPU, augment, recipe)


def normalised(split: ArraySplit) -> Tensor:
    """What the model should see of each image, worked out in float64."""
    assert isinstance(SPLITS.train, ArraySplit)
    mean, std = moments(SPLITS.train.images)
    values = (split.images / 255 - mean[:, None, None]) / std[:, None, None]
    return torch.from_numpy(values).to(torch.float32)


def found_in(image: Tensor, candidates: Tensor) -> list[int]:
    # float32 roundings of the normalisation; different images differ by a grey level, 4/255 of a std or more.
    return [i for i, candidate in enumerate(candidates) if torch.allclose(image, candidate, rtol=0, atol=1e-4)]


def joined(batches: Iterator[tuple[Any, ...]]) -> tuple[Tensor, Tensor]:
    images, labels, *_ = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


# ---- normalisation ------------------------------------------------------------------------------------------------------


def test_training_images_have_mean_zero_and_std_one() -> None:
    plain = loader(Augment(), batch_size=103)
    images, _ = joined(plain.training(0, 0, 0))
    assert len(images) == 103
    # Sums of float32 numbers.
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


# ---- augmentation -------------------------------------------------------------------------------------------------------


def naive_variants(image: np.ndarray, padding: int, flip: bool) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the padded image and its mirror, pixel by pixel: bytes → (top, left, mirrored)."""
    _, height, width = image.shape
    result = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = np.zeros_like(image)
            for y in range(height):
                for x in range(width):
                    row, column = y + top - padding, x + left - padding
                    if 0 <= row < height and 0 <= column < width:
                        crop[:, y, x] = image[:, row, column]
            result[crop.tobytes()] = (top, left, False)
            if flip:
                mirrored = np.zeros_like(crop)
                for x in range(width):
                    mirrored[:, :, x] = crop[:, :, width - 1 - x]
                result[mirrored.tobytes()] = (top, left, True)
    return result


@pytest.mark.parametrize("augment", [BOTH, Augment(crop_padding=1), Augment(flip=True), Augment()])
def test_each_image_is_one_of_its_naive_variants(augment: Augment) -> None:
    """And every crop and both mirror images come up as often as chance says."""
    image = coloured(1, 3).images[0]
    variants = naive_variants(image, augment.crop_padding, augment.flip)
    number = (2 * augment.crop_padding + 1) ** 2 * (1 + augment.flip)
    assert len(variants) == number
    count = 200 * number
    crops = all_crops(image[None], augment.crop_padding, CPU)
    batch = augment_batch(crops, draw_batch(torch.zeros(count, dtype=torch.int64), augment, 0, (0, 0, 0)))
    assert batch.dtype == torch.uint8
    drawn = Counter(variants[one.numpy().tobytes()] for one in batch)
    assert len(drawn) == number
    # 200 draws of each are expected; five standard deviations, sqrt(200) = 14, off would be a bias.
    assert all(abs(times - 200) < 5 * 200**0.5 for times in drawn.values())


def test_each_image_keeps_its_own_pixels() -> None:
    images = coloured(30, 4).images
    index = torch.randperm(30, generator=torch.Generator().manual_seed(2))[:20]
    batch = augment_batch(all_crops(images, 2, CPU), draw_batch(index, BOTH, 1, (0, 0, 0)))
    for original, found in zip(images[index.numpy()], batch, strict=True):
        assert found.numpy().tobytes() in naive_variants(original, 2, True)


def test_each_image_is_mirrored_in_half_the_epochs_whatever_the_others_are() -> None:
    epochs, plain, flipping = 60, normalised(SPLITS.train), loader(Augment(flip=True))  # type: ignore[arg-type]
    mirrored = torch.full((epochs, len(plain)), torch.nan)
    for epoch in range(epochs):
        images, _ = joined(flipping.training(0, epoch, 0))
        order = flipping.order(0, epoch).flatten()
        mirrored[epoch, order] = (images - plain[order].flip(3)).abs().amax((1, 2, 3)).lt(1e-4).float()
    shown = mirrored.isfinite().sum(0)
    assert all((mirrored.nansum(0) - shown / 2).abs() < 5 * (shown / 4).sqrt())  # five standard deviations of a fair coin
    # Number of mirrored images in an epoch: of independent coins, it has a variance of a quarter of them.
    assert 0.50 < mirrored.nansum(1).var() / 25 < 1.72  # chi-square with 59 degrees of freedom: 99.9 % lie between


def test_training_is_augmented_as_seed_state_epoch_and_step_say() -> None:
    plain = normalised(SPLITS.train)  # type: ignore[arg-type]
    first, labels = joined(loader().training(1, 2, 0))
    again, _ = joined(loader().training(1, 2, 0))
    assert torch.equal(first, again)
    order = loader().order(1, 2).flatten()
    moved = sum(not torch.allclose(image, plain[index], rtol=0, atol=1e-4) for image, index in zip(first, order, strict=True))
    assert moved > 80  # of 100; one in 25·2 stays as it is
    assert torch.equal(labels, torch.from_numpy(SPLITS.train.labels)[order])
    for other in (loader(seed=1).training(1, 2, 0), loader().training(0, 2, 0), loader().training(1, 1, 0)):
        assert not torch.equal(first, joined(other)[0])


def test_val_test_and_calibration_images_are_never_augmented() -> None:
    augmenting = loader()
    for name in ("val", "test", "train"):
        images, labels = joined(augmenting.evaluation(name, 8))
        real = labels != PADDING_LABEL
        split = SPLITS.of(name)
        # float32 roundings of the normalisation.
        torch.testing.assert_close(images[real], normalised(split), rtol=1e-5, atol=1e-5)
        assert labels[real].tolist() == split.labels.tolist()
    train = normalised(SPLITS.train)  # type: ignore[arg-type]
    images, labels = joined(augmenting.calibration(1, 4))
    assert len(images) == 40
    for image, label in zip(images, labels, strict=True):
        [index] = found_in(image, train)
        assert SPLITS.train.labels[index] == label


# ---- order --------------------------------------------------------------------------------------------------------------


def test_an_epoch_shows_each_image_at_most_once() -> None:
    orders = {(state, epoch): loader().order(state, epoch) for state in range(3) for epoch in range(3)}
    for order in orders.values():
        assert order.shape == (10, 10)
        assert len(order.unique()) == 100
        assert set(order.flatten().tolist()) <= set(range(103))
    assert len({tuple(order.flatten().tolist()) for order in orders.values()}) == 9
    assert not torch.equal(loader(seed=1).order(0, 0), orders[0, 0])
    assert torch.equal(loader().order(0, 0), orders[0, 0])
    left_out = {frozenset(range(103)) - set(order.flatten().tolist()) for order in orders.values()}
    assert len(left_out) > 5  # not always the same three


@pytest.mark.parametrize("start", [0, 3, 9, 10])
def test_an_epoch_can_be_entered_at_any_step(start: int) -> None:
    whole = list(loader().training(2, 1, 0))
    torch.manual_seed(123)  # whatever torch's default generator is at
    part = list(loader().training(2, 1, start))
    assert len(part) == 10 - start
    for (images, labels, _), (expected, wanted, _) in zip(part, whole[start:], strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, wanted)


@pytest.mark.parametrize("batch_size", [1, 7, 31, 64])
def test_evaluation_covers_a_split_once_in_batches_of_one_shape(batch_size: int) -> None:
    batches = list(loader().evaluation("val", batch_size))
    assert len({tuple(images.shape) for images, _ in batches}) == 1
    assert len(batches[0][1]) <= batch_size
    labels = torch.cat([labels for _, labels in batches])
    assert labels[labels != PADDING_LABEL].tolist() == SPLITS.val.labels.tolist()


def test_calibration_is_drawn_for_each_state() -> None:
    first, again, other = (joined(loader().calibration(state, 3))[0] for state in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(joined(loader(seed=1).calibration(1, 3))[0], first)
    images, _ = joined(loader().calibration(1, 1000))
    assert len(images) == 103  # every training image once, if that many batches are asked for
    train = normalised(SPLITS.train)  # type: ignore[arg-type]
    assert sorted(index for image in images for index in found_in(image, train)) == list(range(103))


def test_a_batch_larger_than_the_data_is_refused() -> None:
    assert loader(batch_size=103).steps_per_epoch == 1
    with pytest.raises(UserError, match=r"optim\.batch_size=104 .*103 images"):
        loader(batch_size=104)
