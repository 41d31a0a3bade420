"""A submitted run that is told to stop: what asks SLURM to start it again, and what happens where that is refused."""

from __future__ import annotations

import json
import signal

import pytest

from prune.engine.cell import Outcome
from prune.sweep import cell_job
from prune.sweep.cell_job import CellJob
from tests.conftest import Compose
from tests.sweep.sweeps import write_run


@pytest.mark.parametrize(
    ("signals", "requeued"),
    [({signal.SIGUSR2}, True), ({signal.SIGTERM, signal.SIGUSR2}, True), ({signal.SIGTERM}, False)],
)
def test_what_asks_for_a_requeue(
    compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch, signals: set[signal.Signals], requeued: bool
) -> None:
    """SLURM's own signal does; SIGTERM alone means scancel or scontrol requeue, where SLURM knows what is next."""
    config = compose_tiny()
    stopped = Outcome(write_run(config, status="preempted"), "preempted", signals=frozenset(signals))
    monkeypatch.setattr(cell_job, "run_cell", lambda *_: stopped)
    called = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: called.append(number))
    try:
        result = CellJob(config, {})()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert bool(called) is requeued
    assert result["status"] == ("failed" if requeued else "preempted"), "a handler that returns has not requeued"


def test_a_refused_requeue_is_written_down(compose_tiny: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose_tiny()
    directory = write_run(config, status="preempted")
    stopped = Outcome(directory, "preempted", signals=frozenset({signal.SIGUSR2}))
    monkeypatch.setattr(cell_job, "run_cell", lambda *_: stopped)

    def refuse(*_: object) -> None:
        raise OSError("scontrol is not here")

    before = signal.signal(signal.SIGUSR2, refuse)
    try:
        CellJob(config, {})()
    finally:
        signal.signal(signal.SIGUSR2, before)
    status = json.loads(directory.status.read_text())
    assert status["status"] == "failed"
    assert "could not be requeued (scontrol is not here)" in status["error"]
