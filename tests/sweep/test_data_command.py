"""`prune data fetch`, and jobs that must not download."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path

import pytest

import prune.architectures.build
from prune.base.errors import UserError
from prune.cli import main
from prune.data.cifar import CIFAR
from prune.data.fetching import download_lock
from prune.sweep.data_command import decode_images
from prune.sweep.fetch import fetch_first
from tests.conftest import Compose


def test_datasets_that_ship_with_the_package_need_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", "digits", "digit_pairs", "--root", str(tmp_path / "data")]) == 0
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "name a dataset (such as cifar10) or give --weights MODEL."),
        (["imagenet"], "dataset.name='imagenet' is not known"),
        (["--weights", "vit_colossal"], "model.name='vit_colossal' is not a timm model"),
    ],
)
def test_mistakes_are_one_sentence(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "fetch", *arguments]) == 1
    errors = capsys.readouterr().err.splitlines()[-1]
    assert errors.startswith(f"error: {sentence}")


def test_each_thing_is_fetched_from_the_root_that_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(CIFAR, "fetch", lambda self: fetched.append(f"{self.options.name} {self.options.root}"))
    monkeypatch.setattr(prune.architectures.build, "timm_weights", lambda name: fetched.append(name))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    root = tmp_path / "data"
    assert main(["data", "fetch", "cifar10", "cifar100", "--root", str(root), "--weights", "vit_tiny_patch16_224"]) == 0
    assert fetched == [f"cifar10 {root}", f"cifar100 {root}", "vit_tiny_patch16_224"]


def test_the_launchers_list_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []
    monkeypatch.setattr(CIFAR, "fetch", lambda self: fetched.append(self.options.root))
    needs = tmp_path / "needs.json"
    needs.write_text(json.dumps([{"dataset": {"name": "cifar10", "root": "/a", "image_size": 32, "classes": 10}}]))
    assert main(["data", "fetch", "--needs", str(needs)]) == 0
    assert fetched == ["/a"]


def test_images_that_jobs_will_share_are_decoded_before_they_start(
    compose: Compose, image_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keys = ("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=8", "model.pretrained=false")
    caplog.set_level("INFO", logger="prune.sweep.fetch")
    fetch_first([compose(*keys, f"seed={seed}") for seed in range(3)])
    assert caplog.messages == ["decoding images that many jobs will share, where that has not been done yet"]
    assert len(list((tmp_path / "outputs" / ".cache").glob("*.npy"))) == 1
    broken = next(image_folder.glob("train/*/*.jpg"))
    broken.write_bytes(b"no image")
    with pytest.raises(UserError, match=rf"dataset.root: {broken} cannot be decoded"):
        fetch_first([compose(*keys)])


def test_the_memory_that_counts_is_that_of_the_machine_that_trains(
    compose: Compose, image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prune.data.resident.memory_bytes", lambda: 1)  # a login node's
    config = compose("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=8", "dataset.resident=true")
    decode_images(config.dataset.model_dump(mode="json"), tmp_path / "cache")
    assert len(list((tmp_path / "cache").glob("*.npy"))) == 1


def test_a_sweep_without_needs_starts_no_process(compose: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[object] = []
    monkeypatch.setattr("prune.sweep.fetch.subprocess.run", lambda *arguments, **_: started.append(arguments))
    fetch_first([compose("dataset=digits", "model=vit_micro"), compose("dataset=digit_pairs", "model=vit_micro")])
    assert started == []


def test_what_cannot_be_fetched_stops_the_sweep(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody listens there
    with pytest.raises(UserError, match=r"cifar10 is not under dataset\.root=\S+ and could not be downloaded"):
        fetch_first([compose("dataset=cifar10", "model=vit_micro", f"dataset.root={tmp_path / 'data'}")])


def test_jobs_do_not_download(compose: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRUNE_OFFLINE", "1")
    config = compose("dataset=cifar10", f"dataset.root={tmp_path / 'data'}")
    with pytest.raises(UserError, match="a submitted job does not download"):
        CIFAR(config.dataset).load()
    assert not (tmp_path / "data").exists()


def test_one_download_at_a_time(tmp_path: Path) -> None:
    order: list[str] = []
    asked = threading.Event()

    def second() -> None:
        asked.set()
        with download_lock(tmp_path):
            order.append("second")

    with download_lock(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        asked.wait()
        with (tmp_path / ".download.lock").open("w") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # what the second one waits for is held
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    with (tmp_path / ".download.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
