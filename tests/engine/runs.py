"""What a run leaves, and runs that are told to stop in the middle of a step."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
import torch

from prune.engine.cell import Outcome
from prune.engine.state import PruningState
from prune.engine.watch import Watcher
from prune.rundir.checkpoint import read_tensors
from prune.rundir.directory import RunDirectory
from tests.faults.resume import Said

RunTiny = Callable[..., Outcome]
"""The fixture `run_tiny`."""


def finished(outcome: Outcome) -> RunDirectory:
    """The directory of a run that is done."""
    assert outcome.status == "done", outcome.error
    return outcome.directory


def final(directory: RunDirectory, state: int) -> dict[str, torch.Tensor]:
    """The model that ended a state."""
    return read_tensors(directory.state(state) / "final.safetensors")


def equal(left: dict[str, Any], right: dict[str, Any]) -> bool:
    """Whether two models are the same bits."""
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


def stop_at(
    monkeypatch: pytest.MonkeyPatch, state: int, epoch: int, step: int, number: signal.Signals = signal.SIGTERM
) -> None:
    """Send this process a signal once, while the given step is in progress."""
    at = [-1, -1]
    begins = Watcher.epoch_begins

    def epoch_begins(self: Watcher, state: PruningState, epoch: int) -> None:
        at[:] = [state.index, epoch]
        begins(self, state, epoch)

    def step_done(self: Watcher, done: int) -> None:
        if [*at, done] == [state, epoch, step]:
            os.kill(os.getpid(), number)

    monkeypatch.setattr(Watcher, "epoch_begins", epoch_begins)
    monkeypatch.setattr(Watcher, "step", step_done)


def interrupted(run_tiny: RunTiny, monkeypatch: pytest.MonkeyPatch) -> RunDirectory:
    """A tiny RSST run that was told to stop in step 3 of state 2, epoch 1."""
    with monkeypatch.context() as patch:
        stop_at(patch, 2, 1, 3)
        outcome = run_tiny("method=rsst")
    assert outcome.status == "preempted"
    return outcome.directory


def said(run: Callable[[], Outcome], text: str) -> Outcome:
    """Run, and have this be said once in the log."""
    with Said() as log:
        outcome = run()
    assert sum(text in line for line in log.lines) == 1, log.lines
    return outcome
