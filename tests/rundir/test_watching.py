"""Runs that are looked at again and again: read when they have changed, and right when they have not."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from prune.base.files import append_jsonl, write_json
from prune.rundir import watching
from prune.rundir.reader import RunRecord, Unreadable
from prune.rundir.status import now
from prune.rundir.watching import Looks
from tests.conftest import Compose
from tests.sweep.sweeps import write_run


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The folders that are read, in order."""
    found: list[Path] = []
    look = watching.look
    monkeypatch.setattr(watching, "look", lambda folder: found.append(folder) or look(folder))
    return found


def test_a_run_is_read_again_when_one_of_its_files_has_changed(compose_tiny: Compose, read: list[Path]) -> None:
    directory, other = (write_run(compose_tiny(f"seed={seed}"), 1, status="running") for seed in (0, 1))
    looks = Looks()
    for _ in range(3):
        for run in (directory, other):
            looks.look(run.path)
    assert read == [directory.path, other.path]
    append_jsonl(directory.metrics, {"state": 0, "epoch": 1, "val_accuracy": 77.0, "seconds": 1.0})
    seen = looks.look(directory.path)
    assert isinstance(seen, RunRecord) and seen.metrics[-1]["val_accuracy"] == 77.0
    write_json(directory.status, {"status": "failed", "error": "x", "heartbeat": now()})
    seen = looks.look(directory.path)
    assert isinstance(seen, RunRecord) and seen.status["status"] == "failed"
    directory.config.unlink()
    assert isinstance(looks.look(directory.path), Unreadable)
    looks.look(other.path)
    assert read == [directory.path, other.path] + [directory.path] * 3


def test_a_process_that_is_gone_is_seen_by_its_heartbeat_alone(
    compose_tiny: Compose, read: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = write_run(compose_tiny(), 1, status="running")
    looks = Looks()
    seen = looks.look(directory.path)
    assert isinstance(seen, RunRecord) and seen.status["status"] == "running"
    later = datetime.now(timezone.utc) + timedelta(minutes=2)
    monkeypatch.setattr("prune.rundir.status.age", lambda moment: (later - datetime.fromisoformat(moment)).total_seconds())
    seen = looks.look(directory.path)
    assert isinstance(seen, RunRecord) and seen.status["status"] == "lost"
    assert len(read) == 1
