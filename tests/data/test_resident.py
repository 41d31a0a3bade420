"""A folder's images, decoded once: evaluation sees the same bits as when they stream, and no cache is believed unchecked."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.base.errors import UserError
from prune.config import RunConfig
from prune.data import resident as module
from prune.data.base import SPLITS, ArraySplit, Splits
from prune.data.folder import ImageFolder
from prune.data.loading import ResidentLoader
from prune.data.resident import decoded_bytes, is_resident, resident
from prune.data.statistics import new_facts
from prune.data.streaming import StreamingLoader
from prune.engine.loaders import load_data
from tests.data.folders import SIZE, files, pixels, write

CPU = torch.device("cpu")


def decoded(config: RunConfig, folder: Path) -> Splits:
    dataset = ImageFolder(config.dataset)
    return resident(dataset, dataset.load(), folder)


def built(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.npy"))


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
    assert facts == streamed_facts
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


def test_the_second_finds_what_the_first_built(configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, folder = configured(), tmp_path / "cache"
    decoded(config, folder)
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("it was there"))
    decoded(config, folder)
    decoded(configured("dataset.split_seed=3", "seed=5", "dataset.augment.flip=true"), folder)


@pytest.mark.parametrize("how", ["flip", "cut", "empty", "gone", "facts", "swapped"])
def test_a_damaged_cache_is_built_again(configured: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    config, folder = configured(), tmp_path / "cache"
    expected = decoded(config, folder)
    [file] = built(folder)
    data, facts = file.read_bytes(), file.with_suffix(".json")
    if how == "gone":
        file.unlink()
    elif how == "facts":
        facts.write_text("[1]")
    elif how == "swapped":
        facts.write_text(json.dumps({**json.loads(facts.read_text()), "root": "/another/folder"}))
    else:
        flipped = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:]
        file.write_bytes({"flip": flipped, "cut": data[:-20], "empty": b""}[how])
    with caplog.at_level(logging.INFO):
        again = decoded(config, folder)
    assert "decoding" in caplog.text
    assert file.read_bytes() == data and np.array_equal(again.train.images, expected.train.images)


def test_a_folder_that_changed_makes_another_cache(configured: Any, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    decoded(configured(), folder)
    write(root / "train" / "ant" / "another.png", 99)
    found = decoded(configured(), folder)
    assert len(built(folder)) == 2
    assert sum(len(found.of(name)) for name in SPLITS) == len(list(root.rglob("*.png")))


def test_a_copied_folder_has_a_cache_of_its_own(configured: Any, root: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    decoded(configured(), folder)
    shutil.copytree(root, tmp_path / "copy")
    decoded(configured(f"dataset.root={tmp_path / 'copy'}"), folder)
    assert len(built(folder)) == 2


def test_a_broken_image_is_named_and_leaves_no_cache(configured: Any, root: Path, tmp_path: Path) -> None:
    broken = sorted(root.rglob("train/*/*.png"))[3]
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(UserError, match=rf"dataset.root: {broken} cannot be decoded"):
        decoded(configured(), tmp_path / "cache")
    assert not built(tmp_path / "cache") and not list((tmp_path / "cache").glob(".*"))


def test_too_little_room_is_told_before_anything_is_decoded(
    configured: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")(10, 10, 7)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(UserError, match=r"takes \S+ GB and .* has 7e-09 GB left; make room, or set dataset.resident=false"):
        decoded(configured(), tmp_path / "cache")


def test_more_than_the_memory_is_told_with_its_size(configured: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "memory_bytes", lambda: 1000)
    config = configured("dataset.resident=true")
    with pytest.raises(UserError, match=r"dataset.resident=true: the decoded images take \S+ GB and this machine has 1e-06 GB"):
        is_resident(config.dataset, ImageFolder(config.dataset).load())


def test_images_cropped_before_they_are_resized_cannot_be_resident(configured: Any) -> None:
    with pytest.raises(UserError, match=r"dataset.augment.crop_scale=0.3 crops them"):
        configured("dataset.resident=true", "dataset.augment.crop_scale=0.3")


def _process(config: RunConfig, folder: Path, answer: Any) -> None:
    decodes = module._build

    def build(*arguments: Any) -> None:
        answer.put(os.getpid())
        decodes(*arguments)

    module._build = build
    decoded(config, folder)


def test_of_several_processes_one_builds(configured: Any, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    processes = [context.Process(target=_process, args=(configured(), tmp_path / "cache", answer)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    answer.get(timeout=10)
    assert answer.empty()
