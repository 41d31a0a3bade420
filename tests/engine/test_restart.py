"""Killed, asked to stop, damaged: a run started again ends as one that was never disturbed."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from prune.base.files import read_json
from prune.config import RunConfig
from prune.engine.cell import run_cell
from prune.rundir.checkpoint import load_last, save_last
from tests.conftest import TINY_RUN, Compose
from tests.engine.durability import differences, kill_and_resume, run_to_end
from tests.engine.runs import RunTiny, interrupted, stop_at


@pytest.mark.parametrize(
    ("state", "epoch", "step", "number"),
    [
        (0, 0, 1, signal.SIGTERM),  # the very first step
        (0, 1, 9, signal.SIGINT),  # the last step of a state
        (1, 0, 4, signal.SIGUSR2),  # while units are marked, Adam's moments under way
        (2, 1, 3, signal.SIGTERM),  # after a removal in the middle of a state
    ],
)
def test_asked_to_stop_it_saves_between_two_steps_and_goes_on_exactly(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch, state: int, epoch: int, step: int, number: signal.Signals
) -> None:
    stop_at(monkeypatch, state, epoch, step, number)
    stopped = run_tiny("method=rsst")
    assert stopped.status == "preempted"
    assert read_json(stopped.directory.status)["status"] == "preempted"
    progress = load_last(stopped.directory)
    assert progress is not None
    assert (progress.state, progress.epoch, progress.step) == (state, epoch, step)
    monkeypatch.undo()
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, stopped.directory.path) == []


def test_asked_to_stop_with_saves_spaced_out_it_still_saves(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_at(monkeypatch, 1, 1, 2)
    stopped = run_tiny("method=rsst", "checkpoint.every_seconds=1e6")
    progress = load_last(stopped.directory)
    assert progress is not None
    assert (progress.state, progress.epoch, progress.step) == (1, 1, 2)
    monkeypatch.undo()
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, stopped.directory.path) == []


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, empty, flip_a_byte])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    damage(directory.last)
    assert run_tiny("method=rsst").status == "done"
    assert "last.pt is damaged" in directory.log.read_text()
    assert "resuming at state 2, epoch 1, step 0" in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_without_any_whole_checkpoint_the_newest_complete_state_is_used(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    empty(directory.last)
    directory.previous.unlink()
    assert run_tiny("method=rsst").status == "done"
    assert "going on from the final model of state 1" in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_a_damaged_state_model_is_not_used_either(run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    directory.last.unlink()
    directory.previous.unlink()
    flip_a_byte(directory.state(1) / "final.safetensors")
    assert run_tiny("method=rsst").status == "done"
    assert "going on from the final model of state 0" in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_half_written_lines_are_put_right(run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    with directory.metrics.open("a") as file:
        file.write('{"state": 2, "epo')
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, directory.path) == []


def test_what_a_killed_process_was_writing_is_removed(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = interrupted(run_tiny, monkeypatch)
    left = [directory.checkpoints / ".last.pt.4711.tmp", directory.state(0) / ".best.safetensors.4711.tmp"]
    for path in left:
        path.write_bytes(b"half a file")
    assert run_tiny("method=rsst").status == "done"
    assert not any(path.exists() for path in left)


def test_sigkill_at_random_moments(tmp_path: Path) -> None:
    overrides = [*TINY_RUN, "method=rsst", "schedule.epochs=12"]
    whole = run_to_end(tmp_path / "whole", overrides)
    killed, landed = kill_and_resume(tmp_path / "killed", overrides, kills=3, longest=0.5)
    assert landed >= 2
    assert differences(whole, killed) == []


def test_sigkill_with_images_streamed_by_workers(tmp_path: Path, image_folder: Path) -> None:
    folder = ("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=16", "hardware.workers=2")
    augment = ("dataset.augment.crop_padding=2", "dataset.augment.crop_scale=0.5")
    overrides = [*TINY_RUN, *folder, *augment, "method=refill", "optim.batch_size=8"]
    whole = run_to_end(tmp_path / "whole", overrides)
    killed, landed = kill_and_resume(tmp_path / "killed", overrides, kills=2, longest=1.0)
    assert landed >= 1
    assert differences(whole, killed) == []


@pytest.fixture
def resident(compose_tiny: Compose, image_folder: Path, tmp_path: Path) -> Callable[..., RunConfig]:
    """A run whose images live on the device, because there are few of them."""
    folder = ("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=16", "dataset.augment.crop_padding=2")
    return lambda name: compose_tiny(*folder, "method=refill", "optim.batch_size=8", f"outputs={tmp_path / name}")


def test_resident_images_whose_cache_was_damaged_go_on_exactly(
    resident: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    whole = run_cell(resident("whole")).directory
    assert read_json(whole.data)["resident"] is True
    with monkeypatch.context() as patch:
        stop_at(patch, 1, 0, 2)
        directory = run_cell(resident("other")).directory
    (cache,) = (tmp_path / "other" / ".cache").glob("*.npy")
    flip_a_byte(cache)
    assert run_cell(resident("other")).status == "done"
    assert "its checksum is not that of its images" in directory.log.read_text()
    assert differences(whole.path, directory.path) == []


def test_a_run_that_began_before_images_could_be_resident_goes_on_streaming(
    resident: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("prune.data.resident.is_resident", lambda *_: False)
        whole = run_cell(resident("whole")).directory
        stop_at(patch, 1, 0, 2)
        directory = run_cell(resident("other")).directory
    progress = load_last(directory)
    assert progress is not None and progress.facts["data.json"].pop("resident") is False
    save_last(directory, progress)
    assert run_cell(resident("other")).status == "done"
    assert "resident" not in read_json(directory.data) and "streamed" in directory.log.read_text()
    assert not (tmp_path / "other" / ".cache").exists()
    assert differences(whole.path, directory.path) == []


def test_changed_images_are_noticed_when_a_run_goes_on(
    compose_tiny: Compose, image_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose_tiny("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=8", "optim.batch_size=8")
    stop_at(monkeypatch, 0, 1, 1)
    assert run_cell(config).status == "preempted"
    monkeypatch.undo()
    next(iter((image_folder / "train").glob("*/*.jpg"))).unlink()
    outcome = run_cell(config)
    assert outcome.status == "failed" and "has changed since this run began" in str(outcome.error)
