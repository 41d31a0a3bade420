"""Images that are decoded when needed: what the model is given of them, and how they are augmented."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prune.data.base import SPLITS
from prune.data.loading import PADDING_LABEL
from tests.data.folders import SIZE, files, joined, loader, normalised, pixels, write

AUGMENTED = ("dataset.augment.flip=true", "dataset.augment.crop_padding=2")


def test_val_test_and_calibration_images_are_never_augmented(configured: Any, tmp_path: Path) -> None:
    config = configured(*AUGMENTED, "dataset.augment.crop_scale=0.3")
    stream, splits = loader(config, tmp_path), files(config)
    for name in SPLITS:
        images, labels = joined(stream.evaluation(name, 7))
        real = labels != PADDING_LABEL
        # float32 roundings of the normalisation.
        torch.testing.assert_close(images[real], normalised(config, splits[name]), rtol=1e-5, atol=1e-5)
        assert labels[real].tolist() == splits[name].labels.tolist()
    plain = normalised(config, splits["train"])
    images, labels = joined(stream.calibration(0, 3))
    assert len(images) == 18
    for image, label in zip(images, labels, strict=True):
        [index] = [i for i, one in enumerate(plain) if torch.allclose(image, one, atol=1e-4)]
        assert splits["train"].labels[index] == label


def test_training_without_augmentation_has_mean_zero_and_std_one(configured: Any, tmp_path: Path) -> None:
    images, _ = joined(loader(configured(), tmp_path, batch_size=54).training(0, 0, 0))
    # Sums of float32 numbers.
    assert images.mean((0, 2, 3)).tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert images.std((0, 2, 3), correction=0).tolist() == pytest.approx([1, 1, 1], abs=1e-5)


def variants(image: np.ndarray, padding: int) -> dict[bytes, tuple[int, int, bool]]:
    """Every crop of the image padded with black, and its mirror: bytes → (top, left, mirrored)."""
    padded = np.zeros((3, SIZE + 2 * padding, SIZE + 2 * padding), np.uint8)
    for y in range(SIZE):
        for x in range(SIZE):
            padded[:, y + padding, x + padding] = image[:, y, x]
    result = {}
    for top in range(2 * padding + 1):
        for left in range(2 * padding + 1):
            crop = padded[:, top : top + SIZE, left : left + SIZE]
            result[crop.tobytes()] = (top, left, False)
            result[np.stack([crop[:, :, SIZE - 1 - x] for x in range(SIZE)], axis=2).tobytes()] = (top, left, True)
    return result


def test_crop_and_flip_against_naive_variants(configured: Any, tmp_path: Path) -> None:
    config = configured(*AUGMENTED)
    stream, split = loader(config, tmp_path), files(config)["train"]
    train = pixels(split).astype(np.float64) / 255
    mean, std = train.mean((0, 2, 3))[:, None, None], train.std((0, 2, 3))[:, None, None]
    originals, drawn = pixels(split), Counter[tuple[int, int, bool]]()
    for epoch in range(10):
        images, _ = joined(stream.training(1, epoch, 0))
        back = np.rint((images.numpy() * std + mean) * 255).astype(np.uint8)
        for index, image in zip(stream.order(1, epoch).flatten().tolist(), back, strict=True):
            drawn[variants(originals[index], 2)[image.tobytes()]] += 1
    assert sum(drawn.values()) == 540
    assert len(drawn) > 45  # of 50 variants, 540 draws
    mirrored = sum(times for (_, _, flipped), times in drawn.items() if flipped)
    assert abs(mirrored - 270) < 5 * (540 / 4) ** 0.5  # five standard deviations of a fair coin
    for axis in (0, 1):
        shifts = Counter(key[axis] for key in drawn.elements())
        assert all(abs(shifts[shift] - 108) < 5 * (540 * 0.2 * 0.8) ** 0.5 for shift in range(5))


def test_an_images_augmentation_depends_on_nothing_but_its_place(configured: Any, tmp_path: Path) -> None:
    """Neither on worker processes, nor on where the epoch is entered, nor on what was drawn before."""
    config = configured(*AUGMENTED, "dataset.augment.crop_scale=0.3")
    alone = list(loader(config, tmp_path).training(1, 2, 0))
    torch.manual_seed(99)
    spread = list(loader(config, tmp_path, workers=2).training(1, 2, 0))
    entered = list(loader(config, tmp_path).training(1, 2, 4))
    assert len(alone) == len(spread) == 9
    for (images, labels, _), (expected, wanted, _) in zip(spread + entered, alone + alone[4:], strict=True):
        assert torch.equal(images, expected)
        assert torch.equal(labels, wanted)
    for other in (loader(config, tmp_path).training(1, 3, 0), loader(config, tmp_path, seed=1).training(1, 2, 0)):
        assert not torch.equal(next(other)[0], alone[0][0])


def test_images_are_cut_in_the_middle_and_resized(configured: Any, root: Path, tmp_path: Path) -> None:
    for path in [*root.rglob("test/*/*.png")]:
        path.unlink()
    write(root / "test" / "ant" / "wide.png", 5, (16, 40))
    write(root / "test" / "bee" / "tall.png", 6, (48, 24))
    config = configured()
    stream = loader(config, tmp_path)
    images, _ = joined(stream.evaluation("test", 2))
    train = pixels(files(config)["train"]).astype(np.float64) / 255
    mean, std = train.mean((0, 2, 3))[:, None, None], train.std((0, 2, 3))[:, None, None]
    found = np.rint((images.numpy() * std + mean) * 255).astype(np.uint8)
    for image, file, box in zip(found, ("ant/wide", "bee/tall"), ((12, 0, 28, 16), (0, 12, 24, 36)), strict=True):
        middle = Image.open(root / "test" / f"{file}.png").crop(box)
        expected = np.asarray(middle.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
        assert np.array_equal(image, expected)
