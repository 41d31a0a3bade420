"""The file of decoded images: built once, noticed when it is damaged or out of date, and never half there."""

from __future__ import annotations

import errno
import fcntl
import io
import logging
import multiprocessing
import os
import random
import shutil
import signal
from collections import namedtuple
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prune.base.errors import UserError
from prune.base.trouble import in_words
from prune.config import RunConfig
from prune.data import cache as module
from prune.data.cache import decoded_images
from tests.data.folders import write
from tests.faults import damages
from tests.faults.sweeps import in_a_child


def paths_of(config: RunConfig) -> list[Path]:
    return sorted(Path(config.dataset.root or "").rglob("*.png"))


def decoded(config: RunConfig, folder: Path) -> np.ndarray:
    with decoded_images(paths_of(config), config.dataset, folder) as pixels:  # type: ignore[arg-type]
        return np.array(pixels)


def read(config: RunConfig) -> np.ndarray:
    """What must be in it."""
    return np.stack([np.asarray(Image.open(path)).transpose(2, 0, 1) for path in paths_of(config)])


def built(folder: Path) -> Path:
    (file,) = folder.glob("*.npy")
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def must_not_build(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    @contextmanager
    def context() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(module, "_build", lambda *_: pytest.fail("it was there"))
            yield

    return context


@pytest.mark.parametrize("batch", [256, 5], ids=["in this process", "by workers"])
def test_it_holds_the_images_in_order(
    configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, batch: int, must_not_build: Any
) -> None:
    monkeypatch.setattr(module, "BATCH", batch)
    config = configured()
    assert np.array_equal(decoded(config, folder), read(config))
    with must_not_build():
        assert np.array_equal(decoded(config, folder), read(config))
    assert np.array_equal(np.load(built(folder)), read(config))


def test_what_does_not_change_the_pixels_shares_it(configured: Any, folder: Path, must_not_build: Any) -> None:
    decoded(configured(), folder)
    with must_not_build():
        decoded(configured("dataset.split_seed=3", "seed=5", "dataset.augment.flip=true", "dataset.val_fraction=0.3"), folder)


@pytest.mark.parametrize("keys", [("dataset.image_size=6",), ("dataset.channels=1",)])
def test_another_size_has_one_of_its_own(configured: Any, folder: Path, keys: tuple[str, ...]) -> None:
    decoded(configured(), folder)
    found = decoded(configured(*keys, "model.patch_size=2"), folder)
    assert len(list(folder.glob("*.npy"))) == 2
    assert found.shape[1:] == ((1, 8, 8) if "channels" in keys[0] else (3, 6, 6))


def test_a_folder_copied_or_put_in_the_place_of_another_is_decoded(configured: Any, root: Path, folder: Path) -> None:
    decoded(configured(), folder)
    copy = Path(shutil.copytree(root, root.with_name("copy")))
    for number, path in enumerate(copy.rglob("*.png")):
        write(path, 1000 + number)
    other = configured(f"dataset.root={copy}")
    assert np.array_equal(decoded(other, folder), read(other))
    shutil.rmtree(root)
    copy.rename(root)
    assert np.array_equal(decoded(configured(), folder), read(configured()))


@pytest.mark.parametrize("how", ["added", "removed", "changed in place"])
def test_a_change_of_the_images_is_noticed_and_the_old_file_goes(configured: Any, root: Path, folder: Path, how: str) -> None:
    decoded(configured(), folder)
    path = paths_of(configured())[3]
    if how == "added":
        write(path.with_name("another.png"), 99)
    elif how == "removed":
        path.unlink()
    else:  # and as large as before, as bitmaps always are
        before = path.stat()
        write(path, 99)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert path.stat().st_size == before.st_size
    assert np.array_equal(decoded(configured(), folder), read(configured()))
    built(folder)


def test_pillow_of_another_version_has_one_of_its_own(configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded(configured(), folder)
    monkeypatch.setattr(module.PIL, "__version__", "99.0")
    decoded(configured(), folder)
    assert len(list(folder.glob("*.npy"))) == 2


NAMED = {(".npy", "folder"), (".npy", "unreadable"), (".json", "folder")}
"""What is the user's to put right."""


@pytest.mark.parametrize(
    ("suffix", "damage"),
    [(suffix, damage) for suffix in (".npy", ".json") for damage in damages.of(Path(f"file{suffix}"))],
)
def test_a_damaged_one_is_built_again_or_named(
    configured: Any, root: Path, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, damage: str
) -> None:
    config = configured()
    expected = decoded(config, folder)
    other = configured(f"dataset.root={shutil.copytree(root, tmp_path / 'other')}")
    write(paths_of(other)[0], 7)
    decoded(other, tmp_path / "others")
    file, foreign = built(folder).with_suffix(suffix), built(tmp_path / "others").with_suffix(suffix)
    damages.of(file)[damage](file, foreign, random.Random(0))
    with damages.refusing(file if damage == "unreadable" else None), caplog.at_level(logging.INFO):
        if (suffix, damage) in NAMED:
            with pytest.raises((UserError, PermissionError)) as told:
                decoded(config, folder)
            assert str(file) in (in_words(told.value) or str(told.value))
            return
        assert np.array_equal(decoded(config, folder), expected)
    assert "decoding" in caplog.text
    with caplog.at_level(logging.INFO):
        caplog.clear()
        assert np.array_equal(decoded(config, folder), expected)
    assert "decoding" not in caplog.text


def test_a_broken_image_is_named_and_leaves_nothing(configured: Any, folder: Path) -> None:
    broken = paths_of(configured())[30]
    broken.write_bytes(broken.read_bytes()[:40])
    with pytest.raises(UserError, match=rf"^dataset.root: {broken} cannot be decoded \("):
        decoded(configured(), folder)
    assert [path.suffix for path in folder.iterdir()] == [".lock"]


def test_a_killed_build_leaves_nothing_for_long(configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BATCH", 10)
    decode = module._decoded

    def killed(*arguments: Any) -> Iterator[bytes]:
        parts = decode(*arguments)
        yield next(parts)
        yield next(parts)
        os.kill(os.getpid(), signal.SIGKILL)

    def start() -> None:
        module._decoded = killed  # type: ignore[assignment]  # in the child alone
        decoded(configured(), folder)

    assert in_a_child(start) == -signal.SIGKILL
    assert list(folder.glob(".*.tmp")) and not list(folder.glob("*.npy"))
    assert np.array_equal(decoded(configured(), folder), read(configured()))
    assert not list(folder.glob(".*.tmp"))


def test_too_little_room_is_told_before_anything_is_decoded(
    configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need = read(configured()).nbytes
    for free in (need, need - 1):
        usage = namedtuple("usage", "total used free")(10, 10, free)
        monkeypatch.setattr(module.shutil, "disk_usage", lambda _, usage=usage: usage)
        if free == need:
            decoded(configured(), folder)
            built(folder).unlink()
            continue
        monkeypatch.setattr(module, "_decoded", lambda *_: pytest.fail("it decodes"))
        sentence = rf"takes {need / 1e9:.3g} GB and {folder} has \S+ GB left; make room, or set dataset.resident=false"
        with pytest.raises(UserError, match=sentence):
            decoded(configured(), folder)


def test_a_full_disk_is_told_and_leaves_nothing(configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def parts(*_: Any) -> Iterator[bytes]:
        yield b"some"
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "_decoded", parts)
    with pytest.raises(OSError, match="No space left") as told:
        decoded(configured(), folder)
    assert in_words(told.value) == f"the disk of {told.value.filename} is full (No space left on device)"
    assert Path(told.value.filename).parent == folder and [path.suffix for path in folder.iterdir()] == [".lock"]


def _process(config: RunConfig, folder: Path, answer: Any) -> None:
    build = module._build

    def counted(*arguments: Any) -> None:
        answer.put(os.getpid())
        build(*arguments)

    module._build = counted
    decoded(config, folder)


def test_of_several_processes_one_builds(configured: Any, folder: Path) -> None:
    context = multiprocessing.get_context("fork")
    answer = context.Queue()
    processes = [context.Process(target=_process, args=(configured(), folder, answer)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    answer.get(timeout=10)
    assert answer.empty()


def test_many_may_read_at_the_same_time(configured: Any, folder: Path) -> None:
    decoded(configured(), folder)
    with decoded_images(paths_of(configured()), configured().dataset, folder) as one:
        assert np.array_equal(decoded(configured(), folder), one)  # in this very process: it would wait for itself


def test_where_nothing_can_be_locked_it_is_built_all_the_same(
    configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", flock)
    with caplog.at_level(logging.INFO):
        assert np.array_equal(decoded(configured(), folder), read(configured()))
    assert "cannot be locked" in caplog.text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stdout", "stderr", "shown"), [(0, 1, "stderr"), (1, 0, "stdout"), (1, 1, "stderr"), (0, 0, None)])
def test_progress_is_shown_where_somebody_looks(
    configured: Any, folder: Path, monkeypatch: pytest.MonkeyPatch, stdout: int, stderr: int, shown: str | None
) -> None:
    """Of the launcher's helper standard error is read by the launcher, which is no terminal."""
    streams = {"stdout": Terminal() if stdout else io.StringIO(), "stderr": Terminal() if stderr else io.StringIO()}
    for name, stream in streams.items():
        monkeypatch.setattr(f"sys.{name}", stream)
    decoded(configured(), folder)
    assert [name for name, stream in streams.items() if "decoding images" in stream.getvalue()] == ([shown] if shown else [])
