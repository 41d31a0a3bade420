"""A job that SLURM requeued while its earlier process lives on, cut off: never two that write."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prune import lock
from prune.base.files import read_json
from prune.rundir.lock import LOST_LOCK, RunLock

CUT_OFF = """
import sys, time
from pathlib import Path
from prune.rundir.lock import RunLock
from prune.rundir.status import Heartbeat
with RunLock(Path(sys.argv[1])) as held, Heartbeat(held.beat, seconds=0.2):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_cut_off_process_leaves_before_the_new_one_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 1.0)
    old = subprocess.Popen([sys.executable, "-c", CUT_OFF, str(path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert old.stdout is not None
    assert old.stdout.readline() == "held\n"
    with RunLock(path):
        assert old.poll() == LOST_LOCK
        assert read_json(path)["pid"] == os.getpid()
    assert read_json(path) is None


def test_a_process_that_is_gone_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock.json"
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setattr(lock, "HEARTBEAT_SECONDS", 100.0)
    old = subprocess.Popen([sys.executable, "-c", CUT_OFF, str(path)], stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    assert old.stdout is not None
    old.stdout.readline()
    old.kill()
    old.wait()
    began = time.monotonic()
    with RunLock(path):
        assert time.monotonic() - began < 5
