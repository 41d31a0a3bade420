"""What is found out about the data at a run's first start: moments, and files that are broken or have changed."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prune.base.errors import UserError
from prune.data.base import ArraySplit
from prune.data.digits import Digits
from tests.conftest import Compose
from tests.data.folders import data_facts, loader, write
from tests.faults.resume import in_time


def test_facts_are_the_training_splits_moments(compose: Compose, tmp_path: Path) -> None:
    config = compose("dataset=digits")
    dataset = Digits(config.dataset)
    splits = dataset.load()
    assert isinstance(splits.train, ArraySplit)
    facts = data_facts(tmp_path / "data.json", dataset, splits, workers=0)
    values = splits.train.images.astype(np.float64) / 255
    assert facts.mean == pytest.approx(values.mean((0, 2, 3)).tolist(), rel=1e-12)
    assert facts.std == pytest.approx(values.std((0, 2, 3)).tolist(), rel=1e-12)
    assert data_facts(tmp_path / "data.json", dataset, splits, workers=0) == facts


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


def bomb(path: Path) -> None:
    """A PNG of a few hundred bytes that claims to be of 60,000 by 60,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + data)


def cut_short(path: Path) -> None:
    write(path, 1, (40, 40))
    path.write_bytes(path.read_bytes()[:700])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    "make",
    [bomb, cut_short, lambda path: path.write_text("no image"), lambda path: path.write_bytes(b""), lambda path: path.mkdir()],
    ids=["bomb", "truncated", "text", "empty", "folder"],
)
@pytest.mark.filterwarnings("ignore:Image size")
def test_a_file_that_is_no_image_is_named_in_one_line(
    configured: Any, root: Path, tmp_path: Path, make: Any, workers: int
) -> None:
    make(root / "train" / "bee" / "odd \x1b[31m.png")
    with pytest.raises(UserError, match=r"dataset\.root: .*bee/odd \\x1b\[31m\.png cannot be decoded \([^\n]+\)\.$"):
        loader(configured(), tmp_path, workers=workers)


def test_a_pipe_among_the_images_is_named_and_not_waited_for(configured: Any, root: Path, tmp_path: Path) -> None:
    os.mkfifo(root / "train" / "bee" / "pipe.png")
    with in_time(30), pytest.raises(UserError, match=r"bee/pipe\.png cannot be decoded \(it is not a file\)\.$"):
        loader(configured(), tmp_path)


def test_a_large_image_is_used_without_a_warning(
    configured: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    write(root / "train" / "bee" / "large.png", 1, (40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # PIL warns of 1,600 pixels, and would refuse more than 2,000
    loader(configured(), tmp_path)
    assert not [warning for warning in recwarn if issubclass(warning.category, Image.DecompressionBombWarning)]


def test_classes_that_changed_since_the_first_start_are_named(configured: Any, root: Path, tmp_path: Path) -> None:
    config = configured()
    loader(config, tmp_path)
    for split in ("train", "test"):
        (root / split / "cat").rename(root / split / "dog")
    with pytest.raises(UserError, match=r"since this run began \(it lacks class cat and it has the new class dog\); restore"):
        loader(config, tmp_path)


@pytest.mark.parametrize("content", ["", "[1]", "{}", '{"mean": 1, "std": [], "classes": [], "fingerprint": null}'])
def test_damaged_facts_are_found_out_again(configured: Any, root: Path, tmp_path: Path, content: str) -> None:
    config = configured()
    loader(config, tmp_path)
    before = (tmp_path / "data.json").read_text()
    (tmp_path / "data.json").write_text(content)
    loader(config, tmp_path)
    assert (tmp_path / "data.json").read_text() == before
