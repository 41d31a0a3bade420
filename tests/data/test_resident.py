"""Images that live on the device: which do, and that evaluation sees the same bits as when they stream."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.base.errors import UserError
from prune.config import RunConfig
from prune.data import resident as module
from prune.data.base import SPLITS, ArraySplit, DataFacts, Splits
from prune.data.folder import ImageFolder
from prune.data.loading import ResidentLoader
from prune.data.resident import check_memory, decoded_bytes, is_resident, resident
from prune.data.statistics import new_facts
from prune.data.streaming import StreamingLoader
from prune.engine.loaders import load_data
from tests.data.folders import CLASSES, SIZE, files, pixels

CPU = torch.device("cpu")


def decoded(config: RunConfig, folder: Path) -> Splits:
    dataset = ImageFolder(config.dataset)
    return resident(config.dataset, dataset.load(), folder)


def test_the_cache_holds_the_decoded_images_of_each_split(configured: Any, tmp_path: Path) -> None:
    config = configured()
    found, expected = decoded(config, tmp_path / "cache"), files(config)
    for name in SPLITS:
        assert isinstance(found.of(name), ArraySplit) and found.of(name).images.dtype == np.uint8
        assert np.array_equal(found.of(name).images, pixels(expected[name]))
        assert np.array_equal(found.of(name).labels, expected[name].labels)


@pytest.mark.parametrize("size", [SIZE, 6, [5, 7]])
def test_evaluation_sees_the_same_bits_resident_and_streamed(configured: Any, tmp_path: Path, size: Any) -> None:
    keys = (
        f"dataset.image_size={str(size).replace(' ', '')}",
        "model.patch_size=1",
        "hardware.workers=0",
        "optim.batch_size=6",
    )
    one, facts = load_data(configured(*keys, "dataset.resident=true"), tmp_path / "one.json", CPU)
    other, streamed_facts = load_data(configured(*keys, "dataset.resident=false"), tmp_path / "other.json", CPU)
    assert isinstance(one, ResidentLoader) and isinstance(other, StreamingLoader)
    assert facts == replace(streamed_facts, resident=True) and streamed_facts.resident is False
    for name in ("val", "test"):
        for ours, theirs in zip(one.evaluation(name, 5), other.evaluation(name, 5), strict=True):
            assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    for ours, theirs in zip(one.calibration(1, 3), other.calibration(1, 3), strict=True):
        assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])


def test_mean_and_std_of_many_images_come_from_the_same_sample(
    configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune.data.statistics.CHECKED_IMAGES", 7)
    config = configured()
    dataset = ImageFolder(config.dataset)
    streamed = new_facts(tmp_path / "one.json", dataset, dataset.load(), 0)
    assert new_facts(tmp_path / "other.json", dataset, decoded(config, tmp_path / "cache"), 0) == streamed


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), True),
        (("dataset.resident=false",), False),
        (("dataset.resident=true",), True),
        (("dataset.augment.crop_scale=0.5",), False),
        (("dataset.resident_limit_gb=1e-6",), False),
        (("dataset.resident_limit_gb=1e-6", "dataset.resident=true"), True),
    ],
)
def test_auto_is_decided_by_the_data_and_the_keys(configured: Any, overrides: tuple[str, ...], expected: bool) -> None:
    config = configured(*overrides)
    assert is_resident(config.dataset, ImageFolder(config.dataset).load()) is expected


def test_the_limit_is_of_decoded_bytes(configured: Any) -> None:
    config = configured()
    splits = ImageFolder(config.dataset).load()
    bytes_ = decoded_bytes(config.dataset, splits)
    assert bytes_ == sum(len(splits.of(name)) for name in SPLITS) * 3 * SIZE * SIZE
    for limit, expected in ((bytes_, True), (bytes_ - 1, False)):
        assert is_resident(configured(f"dataset.resident_limit_gb={limit / 1e9!r}").dataset, splits) is expected


@pytest.mark.parametrize("began", [True, False, None])
def test_a_run_goes_on_as_it_began(configured: Any, began: bool | None) -> None:
    """`None`: before there was a choice, when all folders streamed."""
    facts = DataFacts([0.5] * 3, [0.5] * 3, list(CLASSES), "digest", began)
    for limit in (1e-6, 4):
        for stated in ("auto", "true", "false"):
            config = configured(f"dataset.resident={stated}", f"dataset.resident_limit_gb={limit}")
            splits = ImageFolder(config.dataset).load()
            assert is_resident(config.dataset, splits, facts) is {"auto": bool(began), "true": True, "false": False}[stated]


def _sizes(config: RunConfig) -> tuple[int, int, int]:
    """Bytes of all images; of what lives on the device; and of both the images and the padded training images."""
    counts = {name: len(split) for name, split in files(config).items()}
    padded = counts["train"] * 3 * (SIZE + 4) ** 2
    images = sum(counts.values()) * 3 * SIZE**2
    return images, padded + (counts["val"] + counts["test"]) * 3 * SIZE**2, images + padded


@pytest.mark.parametrize("stated", ["true", "auto"])
def test_more_than_the_memory_is_told_with_its_size(
    configured: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stated: str
) -> None:
    config = configured(f"dataset.resident={stated}", "dataset.augment.crop_padding=2", "optim.batch_size=6")
    images, _, loading = _sizes(config)
    monkeypatch.setattr(module, "memory_bytes", lambda: loading)
    load_data(config, tmp_path / "fits.json", CPU)
    monkeypatch.setattr(module, "memory_bytes", lambda: loading - 1)
    with pytest.raises(UserError) as told:
        load_data(config, tmp_path / "data.json", CPU)
    assert str(told.value).startswith(
        f"dataset.resident={stated}: the decoded images take {images / 1e9:.3g} GB, for which {loading / 1e9:.3g} GB of memory "
        f"are needed, and this machine has {(loading - 1) / 1e9:.3g} GB; set dataset.resident=false"
    )


def test_the_device_must_hold_the_padded_images(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config = configured("dataset.resident=true", "dataset.augment.crop_padding=2")
    splits, device = ImageFolder(config.dataset).load(), torch.device("cuda:1")
    _, held, _ = _sizes(config)
    properties, asked = namedtuple("properties", "total_memory"), []
    for have in (held, held - 1):
        monkeypatch.setattr(
            torch.cuda, "get_device_properties", lambda which, have=have: asked.append(which) or properties(have)
        )
        if have == held:
            check_memory(config.dataset, splits, device)
        else:
            with pytest.raises(UserError, match=r"are needed, and cuda:1 has \S+ GB; set dataset.resident=false"):
                check_memory(config.dataset, splits, device)
    assert asked == [device, device]


def test_images_cropped_before_they_are_resized_cannot_be_resident(configured: Any) -> None:
    with pytest.raises(UserError, match=r"dataset.augment.crop_scale=0.3 crops them"):
        configured("dataset.resident=true", "dataset.augment.crop_scale=0.3")
