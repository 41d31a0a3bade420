"""Rewind points: what a run's weights were at a moment of state 0, one file each, written once and never changed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from prune.architectures.build import build_model
from prune.base.errors import UserError
from prune.engine.state import PruningState
from prune.methods.refill import Refill
from prune.rundir.checkpoint import read_tensors
from prune.rundir.digests import Digests
from prune.rundir.directory import RunDirectory
from prune.rundir.rewind import RewindPoints
from tests.conftest import Compose
from tests.engine.runs import RunTiny, equal, final, finished, stop_at

STEADY = ("optim.lr_schedule=constant", "optim.warmup_epochs=0")
"""A learning rate that does not look ahead: the first epochs of a longer state are the whole of a shorter one."""


def points(directory: RunDirectory) -> dict[str, str]:
    """The rewind points on disk: file → digest of its bytes."""
    files = directory.checkpoints.glob("rewind*")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, Any]]:
    """(state, the rewind points on disk) at each state's begin, after its rewind, and after each epoch of a Refill run."""
    found: list[tuple[int, Any]] = []
    begin, end_epoch = Refill.prune, Refill.end_epoch

    def look(state: PruningState) -> None:
        found.append((state.index, points(RunDirectory(state.rewind_points.path("init").parents[1]))))

    def watched_begin(self: Refill, state: PruningState) -> None:
        begin(self, state)
        look(state)

    def watched_end(self: Refill, state: PruningState, epoch: int) -> None:
        end_epoch(self, state, epoch)
        look(state)

    monkeypatch.setattr(Refill, "prune", watched_begin)
    monkeypatch.setattr(Refill, "end_epoch", watched_end)
    return found


def test_init_is_the_initial_model_and_never_changes(
    run_tiny: RunTiny, compose_tiny: Compose, seen: list[tuple[int, Any]]
) -> None:
    directory = finished(run_tiny("method=refill", "method.rewind=init"))
    assert len(seen) == 2 + 6
    assert all(found == points(directory) for _, found in seen)
    assert set(points(directory)) == {"rewind-init.safetensors"}
    config = compose_tiny("method=refill")
    assert equal(read_tensors(directory.rewind("init")), build_model(config.architecture(), config.seed).state_dict())


def test_an_epochs_point_is_what_the_weights_were_then_and_never_changes(
    run_tiny: RunTiny, seen: list[tuple[int, Any]]
) -> None:
    longer = finished(run_tiny("method=refill", "method.rewind=epoch:1", "schedule.epochs_first=4", *STEADY))
    assert set(points(longer)) == {"rewind-epoch-001.safetensors"}
    # A method is told of an epoch's end before the point is taken, so epoch 2 of state 0 is the first to see it.
    assert [found for _, found in seen] == [{}] * 2 + [points(longer)] * (2 + 2 * (1 + 2))
    short = finished(run_tiny("method=dense", "schedule.epochs_first=2", *STEADY))
    assert equal(read_tensors(longer.rewind("epoch-001")), final(short, 0))


@pytest.mark.parametrize(("rewind", "file"), [("init", "rewind-init"), ("epoch:1", "rewind-epoch-001")])
def test_a_point_is_read_only(run_tiny: RunTiny, rewind: str, file: str) -> None:
    directory = finished(run_tiny("method=refill", f"method.rewind={rewind}"))
    assert (directory.checkpoints / f"{file}.safetensors").stat().st_mode & 0o777 == 0o444


def test_without_a_rewind_there_is_no_point(run_tiny: RunTiny) -> None:
    assert points(finished(run_tiny("method=refill", "method.rewind=none"))) == {}


def test_a_point_is_written_once(tmp_path: Path) -> None:
    kept = RewindPoints(Digests(RunDirectory(tmp_path), {}))
    assert not kept.has("init")
    kept.write("init", {"weight": torch.ones(2)})
    kept.write("init", {"weight": torch.ones(2)})
    with pytest.raises(UserError, match="what was made again is not the same"):
        kept.write("init", {"weight": torch.zeros(2)})
    assert kept.has("init")
    read = kept.read("init")["weight"]
    assert torch.equal(read, torch.ones(2))
    read.zero_()  # what is read is the reader's own
    assert torch.equal(kept.read("init")["weight"], torch.ones(2))
    assert not kept.has("epoch-003")


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [Path.unlink, flip_a_bit])
def test_a_lost_init_is_made_again_and_a_lost_epoch_is_an_error(
    run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], object]
) -> None:
    for rewind, point in (("init", "init"), ("epoch:1", "epoch-001")):
        overrides = ("method=refill", f"method.rewind={rewind}")
        with monkeypatch.context() as patch:
            stop_at(patch, 1, 1, 3)
            directory = run_tiny(*overrides).directory
        before = read_tensors(directory.rewind(point))
        damage(directory.rewind(point))
        again = run_tiny(*overrides)
        if rewind == "init":
            assert equal(read_tensors(finished(again).rewind(point)), before)
            assert "made again from the configuration" in directory.log.read_text()
        else:
            assert again.status == "failed"
            assert "rewind-epoch-001.safetensors is missing or damaged" in str(again.error)
            assert "cannot be made again; restore it, or set another name" in str(again.error)
