"""Images in folders: which split a file belongs to, what is decoded, and how it is augmented."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from prune.config import RunConfig
from prune.data.base import SPLITS, FileSplit
from prune.data.folder import ImageFolder
from prune.data.loading import PADDING_LABEL
from prune.data.statistics import data_facts
from prune.data.streaming import StreamingLoader
from prune.base.errors import UserError
from tests.conftest import Compose

SIZE = 8
CLASSES = ("ant", "bee", "cat")


def write(path: Path, seed: int, size: tuple[int, int] = (SIZE, SIZE)) -> None:
    """A random image (height, width); PNG keeps its pixels as they are."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


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


def files(config: RunConfig) -> dict[str, FileSplit]:
    splits = ImageFolder(config.dataset).load()
    return {name: splits.of(name) for name in SPLITS}


def names(split: FileSplit) -> list[str]:
    return ["/".join(path.parts[-3:]) for path in split.paths]


def loader(config: RunConfig, tmp_path: Path, batch_size: int = 6, workers: int = 0, seed: int = 0) -> StreamingLoader:
    dataset = ImageFolder(config.dataset)
    splits = dataset.load()
    facts = data_facts(tmp_path / "data.json", dataset, splits, workers)
    options: Any = config.dataset
    return StreamingLoader(splits, facts, batch_size, seed, torch.device("cpu"), options, workers)


def joined(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, labels = zip(*batches, strict=True)
    return torch.cat(images), torch.cat(labels)


# ---- which file is in which split -----------------------------------------------------------------------------------------


def test_validation_is_split_off_train(configured: Any, root: Path) -> None:
    splits = files(configured("dataset.val_fraction=0.25"))
    assert [len(splits[name]) for name in SPLITS] == [45, 15, 12]
    train, val = names(splits["train"]), names(splits["val"])
    assert sorted(train + val) == sorted(f"train/{name}/{number:03d}.png" for name in CLASSES for number in range(20))
    assert set(names(splits["test"])) == {f"test/{name}/{number:03d}.png" for name in CLASSES for number in range(4)}
    for split in splits.values():
        assert [CLASSES[label] for label in split.labels] == [path.parent.name for path in split.paths]
    assert np.bincount(splits["val"].labels).tolist() == [5, 5, 5]
    again, other = files(configured("dataset.val_fraction=0.25", "seed=5")), files(configured("dataset.split_seed=1"))
    assert names(again["val"]) == val
    assert names(other["val"]) != val


def test_a_lone_val_folder_is_the_test_split(configured: Any, root: Path) -> None:
    """ImageNet's and Tiny-ImageNet's labelled `val` is what papers report."""
    (root / "test").rename(root / "val")
    splits = files(configured())
    assert set(names(splits["test"])) == {f"val/{name}/{number:03d}.png" for name in CLASSES for number in range(4)}
    assert all(name.startswith("train/") for name in names(splits["val"]))


def test_three_folders_are_used_as_they_are(configured: Any, root: Path) -> None:
    write(root / "val" / "bee" / "x.png", 99)
    splits = files(configured())
    assert names(splits["val"]) == ["val/bee/x.png"]
    assert splits["val"].labels.tolist() == [1]
    assert len(splits["train"]) == 60


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda root: root.rename(root.with_name("elsewhere")), r"dataset\.root=.*does not exist"),
        (lambda root: (root / "train").rename(root / "training"), r"dataset\.root=.*no train/ folder"),
        (lambda root: (root / "test").rename(root / "held-out"), r"dataset\.root=.*neither a test/ nor a val/"),
        (lambda root: (root / "test" / "ant").rename(root / "test" / "dog"), r"classes that train/ lacks: dog"),
        (lambda root: [path.unlink() for path in root.rglob("*.png")], r"dataset\.root: .*train holds no images"),
    ],
)
def test_folders_that_do_not_fit_are_refused(configured: Any, root: Path, break_it: Any, message: str) -> None:
    config = configured()
    break_it(root)
    with pytest.raises(UserError, match=message):
        ImageFolder(config.dataset).load()


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


# ---- what is decoded ----------------------------------------------------------------------------------------------------


def pixels(split: FileSplit) -> np.ndarray:
    """All images of a split (n, 3, h, w), decoded here."""
    return np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in split.paths])


def normalised(config: RunConfig, split: FileSplit) -> Tensor:
    train = pixels(files(config)["train"]).astype(np.float64) / 255
    mean, std = train.mean((0, 2, 3))[:, None, None], train.std((0, 2, 3))[:, None, None]
    return torch.from_numpy((pixels(split) / 255 - mean) / std).to(torch.float32)


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
    for (images, labels), (expected, wanted) in zip(spread + entered, alone + alone[4:], strict=True):
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
