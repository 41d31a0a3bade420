"""One cell: what it leaves alone, and how it ends where it cannot go on."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from prune.base.files import read_json
from prune.engine.cell import run_cell
from prune.rundir.identity import run_directory
from prune.rundir.lock import RunLock
from tests.conftest import TINY_RUN, Compose
from tests.engine.durability import ROOT, differences
from tests.engine.runs import RunTiny, finished, interrupted


def test_a_full_disk_is_explained_and_the_run_goes_on_later(
    run_tiny: RunTiny, whole: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
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


def test_a_finished_run_started_again_changes_nothing(run_tiny: RunTiny) -> None:
    directory = finished(run_tiny("method=refill"))

    def snapshot() -> dict[str, tuple[int, bytes]]:
        return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in directory.path.rglob("*") if p.is_file()}

    before = snapshot()
    assert run_tiny("method=refill").status == "already done"
    assert snapshot() == before


def test_a_run_in_use_fails_naming_the_process_and_is_left_alone(compose_tiny: Compose) -> None:
    config = compose_tiny("method=refill")
    directory = run_directory(config)
    directory.path.mkdir(parents=True)
    with RunLock(directory.lock):
        outcome = run_cell(config)
    assert outcome.status == "failed" and str(os.getpid()) in str(outcome.error)
    assert list(directory.path.iterdir()) == []
