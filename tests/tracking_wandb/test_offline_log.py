"""Reading `.wandb` files back."""

from __future__ import annotations

from pathlib import Path

import pytest

from prune.engine.tracker import make_tracker
from prune.tracking_wandb.offline_log import BLOCK, chunks, last_step, log_files
from tests.tracking_wandb.runs import ALL_STEPS, STATES, make_config, make_directory, offline_steps, train

pytest_plugins = ["tests.tracking_wandb.fixtures"]
pytestmark = pytest.mark.usefixtures("wandb_environment")


def test_a_log_cut_at_any_byte_is_read_up_to_there(tmp_path: Path) -> None:
    config = make_config()
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    train(tracker, directory, range(STATES))
    tracker.finish("done")
    (path,) = log_files(directory.wandb)
    whole = path.read_bytes()
    everything = list(chunks(whole))
    for cut in range(0, len(whole), 97):
        part = list(chunks(whole[:cut]))
        assert part == everything[: len(part)]
    assert last_step(directory.wandb) == ALL_STEPS[-1]


def test_a_log_longer_than_a_block(tmp_path: Path) -> None:
    config = make_config(schedule__epochs=150)
    directory = make_directory(tmp_path, config)
    tracker = make_tracker(config, directory)
    for epoch in range(149):
        tracker.epoch({"state": 0, "epoch": epoch, "val_loss": 1.0 / (epoch + 1)})
    tracker.finish("failed")
    (path,) = log_files(directory.wandb)
    assert path.stat().st_size > 2 * BLOCK
    assert offline_steps(directory) == list(range(1, 150))
