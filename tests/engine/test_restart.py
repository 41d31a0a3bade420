"""Killed, asked to stop, damaged, full: a run started again ends as one that was never disturbed."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from prune.engine.cell import Outcome, run_cell
from prune.rundir.checkpoint import load_last
from prune.base.files import read_json, read_jsonl
from prune.rundir.directory import RunDirectory
from prune.engine.watch import Watcher
from tests.conftest import TINY_RUN, compose_config
from tests.engine.durability import differences, kill_and_resume, run_to_end

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An RSST run that was never disturbed."""
    outcome = run_cell(compose_config(tmp_path_factory.mktemp("whole"), *TINY_RUN, "method=rsst"))
    assert outcome.ok
    return outcome.directory.path


def stop_at(monkeypatch, state: int, epoch: int, step: int, number: signal.Signals = signal.SIGTERM) -> None:
    """Send this process a signal once, while the given step is in progress."""
    at = [-1, -1]
    begins = Watcher.epoch_begins

    def epoch_begins(self, state, epoch) -> None:
        at[:] = [state.index, epoch]
        begins(self, state, epoch)

    def step_done(self, done: int) -> None:
        if [*at, done] == [state, epoch, step]:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Watcher, "epoch_begins", epoch_begins)
    monkeypatch.setattr(Watcher, "step", step_done)


@pytest.mark.parametrize(
    ("state", "epoch", "step", "number"),
    [
        (0, 0, 1, signal.SIGTERM),  # the very first step
        (0, 1, 9, signal.SIGINT),  # the last step of a state
        (1, 0, 4, signal.SIGUSR2),  # while units are marked, Adam's moments under way
        (2, 1, 3, signal.SIGTERM),  # after a removal in the middle of a state
    ],
)
def test_asked_to_stop_it_saves_between_two_steps_and_goes_on_exactly(run_tiny, whole, monkeypatch, state, epoch, step, number):
    stop_at(monkeypatch, state, epoch, step, number)
    stopped = run_tiny("method=rsst")
    assert stopped.status == "preempted"
    assert read_json(stopped.directory.status)["status"] == "preempted"
    progress = load_last(stopped.directory)
    assert (progress.state, progress.epoch, progress.step) == (state, epoch, step)
    monkeypatch.undo()
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, stopped.directory.path) == []


def test_asked_to_stop_with_saves_spaced_out_it_still_saves(run_tiny, whole, monkeypatch):
    stop_at(monkeypatch, 1, 1, 2)
    stopped = run_tiny("method=rsst", "checkpoint.every_seconds=1e6")
    progress = load_last(stopped.directory)
    assert (progress.state, progress.epoch, progress.step) == (1, 1, 2)
    monkeypatch.undo()
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, stopped.directory.path) == []


def interrupted(run_tiny, monkeypatch) -> RunDirectory:
    stop_at(monkeypatch, 2, 1, 3)
    outcome: Outcome = run_tiny("method=rsst")
    monkeypatch.undo()
    assert outcome.status == "preempted"
    return outcome.directory


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut_short, empty, flip_a_byte])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(run_tiny, whole, monkeypatch, damage):
    directory = interrupted(run_tiny, monkeypatch)
    damage(directory.last)
    assert run_tiny("method=rsst").status == "done"
    assert "last.pt is damaged" in directory.log.read_text()
    assert "resuming at state 2, epoch 1, step 0" in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_without_any_whole_checkpoint_the_newest_complete_state_is_used(run_tiny, whole, monkeypatch):
    directory = interrupted(run_tiny, monkeypatch)
    empty(directory.last)
    directory.previous.unlink()
    assert run_tiny("method=rsst").status == "done"
    assert "going on from the final model of state 1" in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_a_damaged_state_model_is_not_used_either(run_tiny, whole, monkeypatch):
    directory = interrupted(run_tiny, monkeypatch)
    directory.last.unlink()
    directory.previous.unlink()
    flip_a_byte(directory.state(1) / "final.safetensors")
    assert run_tiny("method=rsst").status == "done"
    assert "going on from the final model of state 0" in directory.log.read_text()
    assert differences(whole, directory.path) == []


def test_half_written_lines_are_put_right(run_tiny, whole, monkeypatch):
    directory = interrupted(run_tiny, monkeypatch)
    with directory.metrics.open("a") as file:
        file.write('{"state": 2, "epo')
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, directory.path) == []


def test_a_full_disk_is_explained_and_the_run_goes_on_later(run_tiny, whole, monkeypatch, tmp_path):
    directory = interrupted(run_tiny, monkeypatch)
    before = directory.last.read_bytes()
    limit = len(before) // 2  # lines and status fit, a checkpoint does not: the kernel refuses the write

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    command = [sys.executable, "launch.py", *TINY_RUN, "method=rsst", f"outputs={tmp_path / 'outputs'}"]
    result = subprocess.run(command, cwd=ROOT, preexec_fn=limited, capture_output=True, text=True)
    assert result.returncode == 1
    assert "is full" in result.stderr and "goes on from it once there is room" in result.stderr
    assert "Traceback" not in result.stderr
    assert directory.last.read_bytes() == before
    assert not list(directory.checkpoints.glob("*.tmp"))
    assert read_json(directory.status)["status"] == "failed"
    assert run_tiny("method=rsst").status == "done"
    assert differences(whole, directory.path) == []


def test_what_a_killed_process_was_writing_is_removed(run_tiny, monkeypatch):
    directory = interrupted(run_tiny, monkeypatch)
    left = [directory.checkpoints / ".last.pt.4711.tmp", directory.state(0) / ".best.safetensors.4711.tmp"]
    for path in left:
        path.write_bytes(b"half a file")
    assert run_tiny("method=rsst").status == "done"
    assert not any(path.exists() for path in left)


def test_sigkill_at_random_moments(tmp_path):
    overrides = [*TINY_RUN, "method=rsst", "schedule.epochs=6"]
    whole = run_to_end(tmp_path / "whole", overrides)
    killed = kill_and_resume(tmp_path / "killed", overrides, kills=3, longest=1.0)
    assert differences(whole, killed) == []


def test_sigkill_with_images_streamed_by_workers(tmp_path, image_folder):
    folder = ("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=16", "hardware.workers=2")
    augment = ("dataset.augment.crop_padding=2", "dataset.augment.crop_scale=0.5")
    overrides = [*TINY_RUN, *folder, *augment, "method=refill", "optim.batch_size=8"]
    whole = run_to_end(tmp_path / "whole", overrides)
    killed = kill_and_resume(tmp_path / "killed", overrides, kills=2, longest=1.5)
    assert differences(whole, killed) == []


def test_a_finished_run_started_again_changes_nothing(run_tiny):
    directory = run_tiny("method=refill").directory

    def snapshot() -> dict[str, tuple[int, bytes]]:
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in directory.path.rglob("*") if p.is_file()}

    before = snapshot()
    assert run_tiny("method=refill").status == "already done"
    assert snapshot() == before


def test_threads_of_the_first_start_are_kept_and_a_change_is_flagged(run_tiny, monkeypatch):
    directory = interrupted(run_tiny, monkeypatch)
    outcome = run_tiny("method=rsst", "hardware.threads=2")
    assert outcome.ok and outcome.directory == directory  # hardware does not count for the identity
    status = read_json(directory.status)
    assert [start["threads"] for start in status["starts"]] == [1, 2]
    assert "from 1 to 2" in status["flags"][0]


def test_every_start_says_what_it_ran_on(run_tiny):
    status = read_json(run_tiny("method=dense").directory.status)
    (start,) = status["starts"]
    assert set(start) >= {"time", "commit", "torch", "device", "precision", "threads"}


def test_changed_images_are_noticed_when_a_run_goes_on(compose_tiny, image_folder, monkeypatch):
    config = compose_tiny("dataset=image_folder", f"dataset.root={image_folder}", "dataset.image_size=8", "optim.batch_size=8")
    stop_at(monkeypatch, 0, 1, 1)
    assert run_cell(config).status == "preempted"
    monkeypatch.undo()
    next(iter((image_folder / "train").glob("*/*.jpg"))).unlink()
    outcome = run_cell(config)
    assert outcome.status == "failed" and "has changed since this run began" in outcome.error


def test_lines_of_the_files(run_tiny):
    directory = run_tiny("method=rsst").directory
    metrics, states = read_jsonl(directory.metrics), read_jsonl(directory.states)
    assert [(line["state"], line["epoch"]) for line in metrics] == [(s, e) for s in range(3) for e in range(2)]
    assert set(metrics[0]) == {"state", "epoch", "lr", "penalty", "train_loss", "train_accuracy", "val_loss", "val_accuracy",
                               "parameters", "seconds", "images_per_second"}  # fmt: skip
    assert set(states[0]) == {"state", "rate", "heads_kept", "neurons_kept", "parameters", "macs", "val_accuracy_pruned",
                              "val_accuracy_before_removal", "val_accuracy_after_removal", "marked_norm_ratio", "best_epoch",
                              "val_accuracy_best", "val_accuracy_final", "test_accuracy_best", "test_accuracy_final",
                              "seconds"}  # fmt: skip
    assert states[0]["val_accuracy_pruned"] is None and states[1]["val_accuracy_pruned"] is not None
    # λ at the epoch's last step: nothing in state 0, the ceiling at the ramp's end, nothing once the units are gone.
    assert [line["penalty"] for line in metrics] == [None, None, 200.0, None, 200.0, None]
